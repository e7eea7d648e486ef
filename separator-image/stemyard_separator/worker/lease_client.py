"""Asks the desk for songs, and reports their ends."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from stemyard_contract.handover import Assignment
from stemyard_contract.leasing import DESK_LEASE_PATH, LEASE_WAIT_SECONDS, LeaseRequest
from stemyard_separator.http import HttpClient, HttpError

_TIMEOUT: Final = LEASE_WAIT_SECONDS + 15.0
"""Beyond the desk's wait for a song, it may wait for a write."""
_NOTHING: Final = 204
_REFUSED: Final[Sequence[int]] = (403, 409, 422)


class NoMoreSongsError(Exception):
    """The desk leases this worker no songs: its shape is outdated, or it is not one."""


class LeaseClient:
    """Talks to the desk with the pod's projected token."""

    def __init__(self, url: str, token_path: Path, http: HttpClient) -> None:
        self._url = url.rstrip("/") + DESK_LEASE_PATH
        self._token_path = token_path
        self._http = http

    def ask(self, request: LeaseRequest) -> Assignment | None:
        """Report ends, and return the next song, None if there is none.

        Raises:
            HttpError: the desk did not answer, or not usefully, or there is no token; the request may be repeated.
            NoMoreSongsError: it never will.
        """
        response = self._http.post_json(self._url, request.dump(), self._token(), _TIMEOUT)
        if response.status == _NOTHING:
            return None
        if response.status in _REFUSED:
            raise NoMoreSongsError(f"HTTP {response.status}")
        if not response.is_success:
            raise HttpError(f"HTTP {response.status}")
        try:
            return Assignment.model_validate_json(response.body)
        except ValidationError:
            raise HttpError("its response is not an Assignment") from None

    def _token(self) -> str:
        try:
            return self._token_path.read_text().strip()
        except OSError:
            raise HttpError(f"there is no token at {self._token_path}") from None
