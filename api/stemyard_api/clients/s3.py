"""Object store client (S3): checks whether objects exist and signs links to them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from stemyard_api.errors import MisconfiguredError, UnavailableError
from stemyard_api.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LINK_SECONDS: Final = 7 * 24 * 3600
"""Life of a link to a stem; the longest a SigV4 link can have."""
UPLOAD_SECONDS: Final = 15 * 60
"""Life of a link for an upload."""
_TIMEOUT_SECONDS: Final = 3
_THREADS: Final = 8


class ObjectStoreUnavailableError(UnavailableError):
    """The object store does not answer, or refuses these credentials."""


class ObjectStoreClient:
    """One bucket, seen through two endpoints: pods' for our own calls, clients' for the links they get."""

    def __init__(self, settings: Settings) -> None:
        """Make the clients; nothing is sent.

        Raises:
            MisconfiguredError: the settings name no store, or no credentials for it.
        """
        if not settings.storage_configured:
            raise MisconfiguredError("No object store is configured.")
        self._bucket = settings.r2_bucket
        self._inner = _client(settings, settings.store_endpoint)
        self._outer = _client(settings, settings.public_store_endpoint)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="objects")

    async def size(self, key: str) -> int | None:
        """Return the bytes of the object at this key, None where there is none.

        Raises:
            ObjectStoreUnavailableError: the store does not say.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._size, key)

    async def ping(self) -> None:
        """Ask whether the bucket is there for us.

        Raises:
            ObjectStoreUnavailableError: it is not.
        """
        await asyncio.get_running_loop().run_in_executor(self._threads, self._head_bucket)

    async def delete_below(self, prefix: str) -> int:
        """Delete every object whose key begins with a prefix; return how many there were.

        Raises:
            ObjectStoreUnavailableError: the store does not answer.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._delete_below, prefix)

    def sign_get(self, key: str, disposition: str | None = None) -> str:
        """Return a link that reads an object for LINK_SECONDS, answered with this Content-Disposition."""
        params = {"Bucket": self._bucket, "Key": key}
        if disposition is not None:
            params["ResponseContentDisposition"] = disposition
        return self._outer.generate_presigned_url("get_object", Params=params, ExpiresIn=LINK_SECONDS)

    def sign_put(self, key: str, size: int, content_type: str) -> tuple[str, dict[str, str]]:
        """Return a link for one PUT of exactly this size and type where nothing is yet, and the headers it needs."""
        params = {
            "Bucket": self._bucket,
            "Key": key,
            "ContentLength": size,
            "ContentType": content_type,
            "IfNoneMatch": "*",
        }
        url = self._outer.generate_presigned_url("put_object", Params=params, ExpiresIn=UPLOAD_SECONDS)
        return url, {"Content-Length": str(size), "Content-Type": content_type, "If-None-Match": "*"}

    def close(self) -> None:
        """Let go of threads and connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._inner.close()
        self._outer.close()

    def _size(self, key: str) -> int | None:
        try:
            return self._inner.head_object(Bucket=self._bucket, Key=key)["ContentLength"]
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise ObjectStoreUnavailableError from error
        except BotoCoreError as error:
            raise ObjectStoreUnavailableError from error

    def _delete_below(self, prefix: str) -> int:
        count = 0
        try:
            for page in self._inner.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                keys = [item["Key"] for item in page.get("Contents", [])]
                for key in keys:
                    # one by one: the call for many wants a checksum that not every store takes
                    self._inner.delete_object(Bucket=self._bucket, Key=key)
                count += len(keys)
        except (ClientError, BotoCoreError) as error:
            raise ObjectStoreUnavailableError from error
        return count

    def _head_bucket(self) -> None:
        try:
            self._inner.head_bucket(Bucket=self._bucket)
        except (ClientError, BotoCoreError) as error:
            raise ObjectStoreUnavailableError from error


def _client(settings: Settings, endpoint: str | None) -> "S3Client":
    secret = settings.r2_secret_access_key
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.r2_access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(
            signature_version="s3v4",
            # R2 refuses the checksums that newer clients add on their own
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=_TIMEOUT_SECONDS,
            read_timeout=_TIMEOUT_SECONDS,
            retries={"total_max_attempts": 2, "mode": "standard"},
            s3={"addressing_style": _addressing(endpoint)},
        ),
    )


def _addressing(endpoint: str | None) -> Literal["virtual", "path"]:
    host = urlsplit(endpoint or "").hostname or ""
    return "virtual" if host.endswith(".amazonaws.com") else "path"
