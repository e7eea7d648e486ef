"""The Python client's options are those of the API."""

from stemyard_api.schemas.requests import SOURCE_FIELDS, SeparationRequest
from stemyard_client.options import Options


def test_every_option_of_a_request_is_typed() -> None:
    assert Options.__annotations__.keys() == SeparationRequest.model_fields.keys() - set(SOURCE_FIELDS)
