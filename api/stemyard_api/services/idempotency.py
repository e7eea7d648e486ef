"""Idempotency: binds a caller's Idempotency-Key to the track and run that it started, for a day.

If Redis is unavailable or has lost the binding, the cache key still leads to the same track.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.redis import RedisClient, RedisUnavailableError
from stemyard_api.errors import IdempotencyMismatchError, InvalidRequestError
from stemyard_api.schemas.requests import SeparationRequest, dump_metadata
from stemyard_contract.handover import WireModel

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
_FORM: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")


def check_idempotency_key(key: str) -> None:
    """Check the value of the header Idempotency-Key.

    Raises:
        InvalidRequestError: it is not 1 to 255 printable ASCII characters.
    """
    if not _FORM.fullmatch(key):
        raise InvalidRequestError.for_field(HEADER, "must be 1 to 255 printable ASCII characters")


class IdempotencyRecord(WireModel):
    """Binding of a key; without track and run while its first request is being placed."""

    body: str
    """SHA-256 of the request with all defaults."""
    track_id: str | None = None
    run: int | None = None


@dataclass(frozen=True, slots=True)
class IdempotencyKeys:
    """Stores bindings. No method fails if Redis is unavailable."""

    redis: RedisClient | None

    async def reserve(self, key: str, request: SeparationRequest, principal: Principal) -> IdempotencyRecord | None:
        """Bind a key to a request; return its earlier binding, if that request has been placed.

        Raises:
            InvalidRequestError: the key is not 1 to 255 printable ASCII characters.
            IdempotencyMismatchError: it is bound to another request.
        """
        check_idempotency_key(key)
        wanted = IdempotencyRecord(body=_body_digest(request))
        if self.redis is None:
            return None
        try:
            stored = await self.redis.reserve(principal.key_id, _digest(key), wanted.dump())
            bound = IdempotencyRecord.model_validate_json(stored)
        except (RedisUnavailableError, ValidationError):
            return None
        if bound.body != wanted.body:
            raise IdempotencyMismatchError
        return bound if bound.track_id is not None else None

    async def bind(self, key: str, request: SeparationRequest, principal: Principal, track_id: str, run: int) -> None:
        """Bind a reserved key to its track and run."""
        if self.redis is None:
            return
        binding = IdempotencyRecord(body=_body_digest(request), track_id=track_id, run=run)
        try:
            await self.redis.bind(principal.key_id, _digest(key), binding.dump())
        except RedisUnavailableError:
            return

    async def release(self, key: str, request: SeparationRequest, principal: Principal) -> None:
        """Free a key that was reserved for a request which was refused; one that is bound to a track remains."""
        if self.redis is None:
            return
        reserved = IdempotencyRecord(body=_body_digest(request))
        try:
            await self.redis.release(principal.key_id, _digest(key), reserved.dump())
        except RedisUnavailableError:
            return


def _body_digest(request: SeparationRequest) -> str:
    # the metadata apart, which may be nested more deeply than pydantic prints
    metadata = "" if request.metadata is None else dump_metadata(request.metadata)
    return _digest(request.model_copy(update={"metadata": None}).model_dump_json() + metadata)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
