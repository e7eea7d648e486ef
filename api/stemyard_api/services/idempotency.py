"""Idempotency: binds a caller's Idempotency-Key to the track and run it started, for a day.

Without Redis, or when Redis has lost it, the cache key finds the same track again.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.redis import RedisClient, RedisUnavailableError
from stemyard_api.errors import IdempotencyMismatchError, InvalidRequestError
from stemyard_api.schemas.requests import SeparationRequest
from stemyard_contract.handover import Handed

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
_FORM: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")


class IdempotencyRecord(Handed):
    """What a key stands for; without track and run while its first request is being placed."""

    body: str
    """SHA-256 of the request, every default filled in."""
    track_id: str | None = None
    run: int | None = None


@dataclass(frozen=True, slots=True)
class IdempotencyKeys:
    """Keeps bindings. No method fails when Redis does."""

    redis: RedisClient | None

    async def reserve(self, key: str, request: SeparationRequest, principal: Principal) -> IdempotencyRecord | None:
        """Bind a key to a request, and return what it was bound to before, if that has been placed.

        Raises:
            InvalidRequestError: the key is not 1 to 255 printable ASCII characters.
            IdempotencyMismatchError: it stands for another request.
        """
        if not _FORM.fullmatch(key):
            raise InvalidRequestError.for_field(HEADER, "must be 1 to 255 printable ASCII characters")
        wanted = IdempotencyRecord(body=_digest(request.model_dump_json()))
        if self.redis is None:
            return None
        try:
            kept = await self.redis.reserve(principal.key_id, _digest(key), wanted.dump())
            bound = IdempotencyRecord.model_validate_json(kept)
        except (RedisUnavailableError, ValidationError):
            return None
        if bound.body != wanted.body:
            raise IdempotencyMismatchError
        return bound if bound.track_id is not None else None

    async def bind(self, key: str, request: SeparationRequest, principal: Principal, track_id: str, run: int) -> None:
        """Note what a reserved key started."""
        if self.redis is None:
            return
        binding = IdempotencyRecord(body=_digest(request.model_dump_json()), track_id=track_id, run=run)
        try:
            await self.redis.bind(principal.key_id, _digest(key), binding.dump())
        except RedisUnavailableError:
            return


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
