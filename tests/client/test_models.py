"""The Python client types what the API answers; fields of a later version are attributes without a type."""

import pytest

from stemyard_api.schemas.responses import Completed, Failed, Processing
from stemyard_client.models import Job


@pytest.mark.parametrize("state", [Processing, Completed, Failed])
def test_every_field_of_a_track_is_typed(state: type) -> None:
    assert state.__annotations__.keys() - Job.model_fields.keys() == set()
