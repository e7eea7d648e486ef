"""Uploads in parts: a file of any accepted size, sent in parts that are checked one by one and may be sent again.

What was announced is kept in an object beside the future file until the upload is completed or aborted, so that any
process can continue it, whatever happens to Redis. The parts that have arrived are known to the store alone.
"""

import time
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.s3 import UPLOAD_SECONDS, ObjectStoreClient
from stemyard_api.clients.s3_multipart import MultipartClient, StoredPart
from stemyard_api.errors import InvalidRequestError, UploadMissingError, UploadNotFoundError
from stemyard_api.ratelimit.quotas import Quotas
from stemyard_api.schemas.upload_responses import MultipartSlot, PartLink, ReceivedPart, UploadedFile, UploadState
from stemyard_api.services.stored_sources import belongs_to, mint_upload_id
from stemyard_contract.identity import multipart_key, upload_key

PART_BYTES: Final = 16 * 1024 * 1024
"""Size of all parts but the last. S3 takes 10,000 parts of at least 5 MiB; R2 wants them of equal size."""
UPLOAD_PARTS_SECONDS: Final = 24 * 3600
"""Time in which an upload in parts must be completed; the sweep removes older ones."""
_NAMED: Final = 20
"""Missing parts that an error names."""


class _Announced(BaseModel):
    """What was announced, and the store's id of the upload."""

    model_config = ConfigDict(frozen=True)

    store_id: str
    size: int = Field(ge=1)
    part_bytes: int = Field(ge=1)
    expires_at: float

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-self.size // self.part_bytes)

    def part_size(self, number: int) -> int:
        """Return the size of a part; only the last one may be smaller than the others."""
        return min(self.part_bytes, self.size - (number - 1) * self.part_bytes)


@dataclass(frozen=True, slots=True)
class MultipartUploads:
    """The uploads in parts of all keys. Methods raise ObjectStoreUnavailableError if the store is unavailable."""

    install_id: str
    objects: ObjectStoreClient
    multipart: MultipartClient
    quotas: Quotas
    now: Callable[[], float] = time.time

    async def begin(self, principal: Principal, size: int, content_type: str) -> MultipartSlot:
        """Begin an upload of a file of this size.

        Raises:
            QuotaExceededError: the key has reached its uploads of the day.
        """
        await self.quotas.announce(principal, size)
        upload_id = mint_upload_id(self.install_id, principal.key_id)
        store_id = await self.multipart.begin(self._file(principal, upload_id), content_type)
        announced = _Announced(
            store_id=store_id, size=size, part_bytes=PART_BYTES, expires_at=self.now() + UPLOAD_PARTS_SECONDS
        )
        await self.objects.write(self._record(principal, upload_id), announced.model_dump_json().encode())
        return MultipartSlot(
            upload_id=upload_id,
            size=size,
            part_bytes=announced.part_bytes,
            parts=announced.parts,
            expires_at=announced.expires_at,
        )

    async def links(self, principal: Principal, upload_id: str, digests: Sequence[tuple[int, str]]) -> list[PartLink]:
        """Return links for parts, given their numbers and SHA-256 digests in hexadecimal.

        Raises:
            UploadNotFoundError: this key has no such upload in progress.
            InvalidRequestError: the upload has no part of this number.
        """
        announced = await self._require(principal, upload_id)
        for index, (number, _) in enumerate(digests):
            if number > announced.parts:
                raise InvalidRequestError.for_field(f"parts[{index}].number", f"must be at most {announced.parts}")
        key = self._file(principal, upload_id)
        expires_at = min(self.now() + self.objects.link_seconds(UPLOAD_SECONDS), announced.expires_at)
        links = []
        for number, digest in digests:
            url, headers = self.multipart.sign_part(
                key, announced.store_id, number, announced.part_size(number), bytes.fromhex(digest)
            )
            links.append(PartLink(number=number, url=url, headers=headers, expires_at=expires_at))
        return links

    async def state(self, principal: Principal, upload_id: str) -> UploadState:
        """Return which parts have been received, or that the file is complete, however it was uploaded.

        Raises:
            UploadMissingError: the parts are being joined.
            UploadNotFoundError: this key has no such upload, or it expired, or nothing has been received of it.
        """
        announced = await self._announced(principal, upload_id)
        received = None if announced is None else await self._received(principal, upload_id, announced)
        if announced is None or received is None:
            size = await self._size(principal, upload_id, announced)
            return UploadState(upload_id=upload_id, complete=True, size=size)
        return UploadState(
            upload_id=upload_id,
            complete=False,
            size=announced.size,
            part_bytes=announced.part_bytes,
            parts=announced.parts,
            received=[_shown(part) for part in received],
            expires_at=announced.expires_at,
        )

    async def complete(self, principal: Principal, upload_id: str) -> UploadedFile:
        """Join the parts, all of which must have been received; succeed again if that was done before.

        Raises:
            UploadMissingError: parts are missing, or were replaced meanwhile.
            UploadNotFoundError: this key has no such upload, or it has expired.
        """
        announced = await self._announced(principal, upload_id)
        received = None if announced is None else await self._received(principal, upload_id, announced)
        if announced is not None and received is not None:
            _check_complete(announced, received)
            # False also if another request, or an attempt whose response was lost, has joined them meanwhile
            await self.multipart.complete(self._file(principal, upload_id), announced.store_id, received)
        size = await self._size(principal, upload_id, announced)
        await self.objects.delete(self._record(principal, upload_id))
        return UploadedFile(upload_id=upload_id, size=size)

    async def abort(self, principal: Principal, upload_id: str) -> None:
        """Drop an upload in progress and its parts.

        Raises:
            UploadNotFoundError: this key has no such upload in progress.
        """
        announced = await self._announced(principal, upload_id, expired=True)
        if announced is None:
            raise UploadNotFoundError("There is no such upload in progress.")
        await self.multipart.abort(self._file(principal, upload_id), announced.store_id)
        await self.objects.delete(self._record(principal, upload_id))

    async def _size(self, principal: Principal, upload_id: str, announced: _Announced | None) -> int:
        """Return the size of a file of which no parts are left.

        Raises:
            UploadMissingError: it was announced, and its parts are being joined by another request, or have changed.
            UploadNotFoundError: it was not.
        """
        size = await self.objects.size(self._file(principal, upload_id))
        if size is not None:
            return size
        if announced is not None:
            raise UploadMissingError("The parts are being joined, or were sent again meanwhile; try again shortly.")
        raise UploadNotFoundError("There is no such upload, or it has expired or been aborted.")

    async def _require(self, principal: Principal, upload_id: str) -> _Announced:
        announced = await self._announced(principal, upload_id)
        if announced is None:
            raise UploadNotFoundError("There is no such upload in progress.")
        return announced

    async def _announced(self, principal: Principal, upload_id: str, *, expired: bool = False) -> _Announced | None:
        """Return what was announced; None if that is unknown, or too old."""
        if not belongs_to(upload_id, self.install_id, principal.key_id):
            raise UploadNotFoundError
        content = await self.objects.read(self._record(principal, upload_id))
        if content is None:
            return None
        try:
            announced = _Announced.model_validate_json(content)
        except ValidationError:  # of a newer version
            return None
        return announced if expired or self.now() < announced.expires_at else None

    async def _received(self, principal: Principal, upload_id: str, announced: _Announced) -> list[StoredPart] | None:
        return await self.multipart.parts(self._file(principal, upload_id), announced.store_id)

    def _file(self, principal: Principal, upload_id: str) -> str:
        return upload_key(self.install_id, principal.key_id, upload_id)

    def _record(self, principal: Principal, upload_id: str) -> str:
        return multipart_key(self.install_id, principal.key_id, upload_id)


def _check_complete(announced: _Announced, received: Sequence[StoredPart]) -> None:
    """Check that exactly the announced parts are there; each link is for one size, so others cannot be.

    Raises:
        UploadMissingError: they are not.
    """
    sizes = {part.number: part.size for part in received}
    wanted = {number: announced.part_size(number) for number in range(1, announced.parts + 1)}
    if sizes == wanted:
        return
    missing = [number for number, size in wanted.items() if sizes.get(number) != size]
    named = ", ".join(map(str, missing[:_NAMED])) + (", ..." if len(missing) > _NAMED else "")
    raise UploadMissingError(f"{len(missing)} of {announced.parts} parts have not arrived: {named}.")


def _shown(part: StoredPart) -> ReceivedPart:
    shown = ReceivedPart(number=part.number, size=part.size)
    if part.sha256 is not None:
        shown["sha256"] = b64decode(part.sha256).hex()
    return shown
