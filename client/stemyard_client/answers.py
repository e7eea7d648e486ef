"""Bodies of answers, read up to a limit and as what they should be."""

import time
from typing import Final, TypeVar

import httpx
from pydantic import ValidationError

from stemyard_client.errors import InvalidAnswerError
from stemyard_client.models import Model

M = TypeVar("M", bound=Model)

_LIMIT: Final = 32 << 20
"""Bytes of a body, after decompression; the largest of Stemyard's, a page of a list, has about one million."""
_SECONDS: Final = 120.0
"""Longest time for a body to arrive."""
_OF_THE_TRANSFER: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class Answer:
    """Collects the body of a response as it arrives."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._body = bytearray()
        self._deadline = time.monotonic() + _SECONDS

    def add(self, chunk: bytes) -> None:
        """Take bytes of the body.

        Raises:
            InvalidAnswerError: the body is larger than any of Stemyard's.
            httpx.ReadTimeout: it takes too long.
        """
        self._body += chunk
        if len(self._body) > _LIMIT:
            raise InvalidAnswerError(f"The server's answer has more than {_LIMIT >> 20} MiB: check the URL.")
        if time.monotonic() > self._deadline:
            raise httpx.ReadTimeout(f"the answer has not arrived in {_SECONDS:.0f} seconds")

    def whole(self) -> httpx.Response:
        """Return the response with its body."""
        given = self._response
        headers = [(name, value) for name, value in given.headers.multi_items() if name not in _OF_THE_TRANSFER]
        return httpx.Response(given.status_code, headers=headers, content=bytes(self._body), request=given.request)


def parsed(model: type[M], response: httpx.Response) -> M:
    """Return the body of a response as a model.

    Raises:
        InvalidAnswerError: it is something else.
    """
    try:
        return model.model_validate_json(response.content)
    except ValidationError:
        raise InvalidAnswerError(
            f"The server answered {response.status_code}, and not as Stemyard does: check the URL, "
            "or update the client if the service is newer."
        ) from None
