"""Uploads in parts (S3 multipart): begun, listed, completed and aborted by the API; the parts are sent by clients."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from stemyard_api.clients.s3 import UPLOAD_DISPOSITION, UPLOAD_SECONDS, StoreThreads, connect, is_absent, presign
from stemyard_api.settings import Settings
from stemyard_contract.credential_renewal import RenewedKeys

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

_READ_SECONDS: Final = 50
"""Some stores join the parts while the request to complete waits; below the usual 60 s of load balancers."""
_THREADS: Final = 4
_UNSUPPORTED: Final = frozenset({"NotImplemented", "MethodNotAllowed"})
_CHANGED: Final = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall"})
"""Codes of S3: the parts are no longer those that were listed."""


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part that the store has received."""

    number: int
    size: int
    etag: str
    sha256: str | None
    """In base64; None if the store does not keep checksums."""


class MultipartClient:
    """Uploads in parts to one bucket. Calls raise ObjectStoreUnavailableError if the store is unavailable."""

    def __init__(self, settings: Settings, keys: RenewedKeys | None = None) -> None:
        self._bucket, self._keys = settings.r2_bucket, keys
        self._inner = connect(settings, settings.store_endpoint, keys, read_seconds=_READ_SECONDS)
        self._outer = connect(settings, settings.public_store_endpoint, keys, waits=False)
        self._threads = StoreThreads(_THREADS, "multipart")

    async def begin(self, key: str, content_type: str) -> str:
        """Begin an upload to a key; return the store's id of it."""
        return await self._threads.run(self._begin, key, content_type)

    def sign_part(self, key: str, store_id: str, number: int, size: int, sha256: bytes) -> tuple[str, dict[str, str]]:
        """Return a link for PUTs of a part of exactly this size and digest, and the required headers."""
        checksum = b64encode(sha256).decode()
        params = {
            "Bucket": self._bucket,
            "Key": key,
            "UploadId": store_id,
            "PartNumber": number,
            "ContentLength": size,
            "ChecksumSHA256": checksum,
        }
        url = presign(self._outer, self._keys, "upload_part", params, UPLOAD_SECONDS)
        return url, {"Content-Length": str(size), "x-amz-checksum-sha256": checksum}

    async def parts(self, key: str, store_id: str) -> list[StoredPart] | None:
        """Return the parts that have been received, by number; None if the upload was completed or aborted."""
        return await self._threads.run(self._parts, key, store_id)

    async def complete(self, key: str, store_id: str, parts: Sequence[StoredPart]) -> bool:
        """Join these parts to an object; return False if they have changed, or the upload is no longer there.

        False says nothing about the object: it is there if this call, or another, succeeded before.
        """
        return await self._threads.run(self._complete, key, store_id, parts)

    async def abort(self, key: str, store_id: str) -> None:
        """Drop an upload and its parts; succeed if it is no longer there."""
        await self._threads.run(self._abort, key, store_id)

    async def abort_below(self, prefix: str) -> None:
        """Drop all uploads whose keys begin with a prefix, if the store can list them."""
        await self._threads.run(self._abort_below, prefix)

    def close(self) -> None:
        """Close threads and connections."""
        self._threads.close()
        self._inner.close()
        self._outer.close()

    def _begin(self, key: str, content_type: str) -> str:
        return self._inner.create_multipart_upload(
            Bucket=self._bucket,
            Key=key,
            ContentType=content_type,
            ContentDisposition=UPLOAD_DISPOSITION,
            ChecksumAlgorithm="SHA256",
        )["UploadId"]

    def _parts(self, key: str, store_id: str) -> list[StoredPart] | None:
        paginator = self._inner.get_paginator("list_parts")
        try:
            return [
                StoredPart(part["PartNumber"], part["Size"], part["ETag"], part.get("ChecksumSHA256"))
                for page in paginator.paginate(Bucket=self._bucket, Key=key, UploadId=store_id)
                for part in page.get("Parts", [])
            ]
        except ClientError as error:
            if is_absent(error):
                return None
            raise

    def _complete(self, key: str, store_id: str, parts: Sequence[StoredPart]) -> bool:
        given: list[CompletedPartTypeDef] = []
        for part in parts:
            one: CompletedPartTypeDef = {"PartNumber": part.number, "ETag": part.etag}
            given.append(one if part.sha256 is None else {**one, "ChecksumSHA256": part.sha256})
        try:
            self._inner.complete_multipart_upload(
                Bucket=self._bucket, Key=key, UploadId=store_id, MultipartUpload={"Parts": given}
            )
        except ClientError as error:
            if is_absent(error) or error.response.get("Error", {}).get("Code") in _CHANGED:
                return False
            raise
        return True

    def _abort(self, key: str, store_id: str) -> None:
        try:
            self._inner.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=store_id)
        except ClientError as error:
            if not is_absent(error):
                raise

    def _abort_below(self, prefix: str) -> None:
        paginator = self._inner.get_paginator("list_multipart_uploads")
        try:
            pages = list(paginator.paginate(Bucket=self._bucket, Prefix=prefix))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in _UNSUPPORTED:
                raise
            return
        for page in pages:
            for upload in page.get("Uploads", []):
                self._abort(upload["Key"], upload["UploadId"])
