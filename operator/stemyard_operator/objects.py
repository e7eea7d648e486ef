"""The operator's way to the object store: reads, removals and presigned links; the only importer of boto3."""

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from stemyard_contract.object_source import owner_key
from stemyard_operator.errors import StoreError, StoreRefusedError
from stemyard_operator.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_THREADS: Final = 8
_CONNECT_SECONDS: Final = 5
_READ_SECONDS: Final = 20
_ATTEMPTS: Final = 3
_BATCH: Final = 1000
_ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_REFUSED: Final = frozenset(
    {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidBucketName", "BucketAlreadyExists"}
)
_OWN_BUCKET: Final = frozenset({"BucketAlreadyOwnedByYou"})

P = ParamSpec("P")
T = TypeVar("T")


class Objects:
    """The installation's bucket. Calls run in threads of their own and raise StoreError when the store fails."""

    def __init__(self, settings: Settings) -> None:
        self._bucket = settings.r2_bucket
        self._install_id = settings.stemyard_install_id
        self._client = _client(settings, settings.endpoint_url)
        # a link is signed for the host that will be asked for it
        self._outer = _client(settings, settings.public_endpoint_url)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="objects")

    def close(self) -> None:
        """End the threads; calls under way are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()
        self._outer.close()

    async def prepare(self) -> None:
        """Make the bucket where it is missing, and write whose it is.

        Raises:
            StoreRefusedError: it cannot be used with these settings; the message names R2_BUCKET.
            StoreError: the store does not answer.
        """
        await self._run(self._prepare)

    async def get(self, key: str, limit: int) -> bytes | None:
        """Return at most `limit` bytes of an object, None where it is absent or longer."""
        return await self._run(self._get, key, limit)

    async def size(self, key: str) -> int | None:
        """Return the bytes of an object, None where it is absent."""
        return await self._run(self._size, key)

    async def keys(self, prefix: str) -> list[str]:
        """Return all keys below a prefix, in order."""
        return await self._run(lambda: sorted(key for page in self._pages(prefix) for key in page))

    async def remove(self, target: str) -> None:
        """Remove an object, or everything below a prefix that ends with a slash; absent ones are fine."""
        await self._run(self._remove_prefix if target.endswith("/") else self._remove, target)

    def link(self, method: str, key: str, seconds: int, size: int | None = None, kind: str | None = None) -> str:
        """Return a presigned link; one for PUT holds for exactly this size and content type."""
        if method == "GET":
            return self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=seconds
            )
        parameters = {"Bucket": self._bucket, "Key": key, "ContentLength": size, "ContentType": kind}
        return self._client.generate_presigned_url("put_object", Params=parameters, ExpiresIn=seconds)

    def public_link(self, key: str, seconds: int) -> str:
        """Return a presigned link by which clients outside can get an object."""
        parameters = {"Bucket": self._bucket, "Key": key}
        return self._outer.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds)

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, partial(function, *args, **kwargs))
        except ClientError as error:
            code = _code(error)
            if code in _REFUSED:
                raise StoreRefusedError(f"the object store refuses bucket R2_BUCKET={self._bucket}: {error}") from error
            raise StoreError(f"object store: {error}") from error
        except BotoCoreError as error:
            raise StoreError(f"object store: {error}") from error

    def _prepare(self) -> None:
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            if _code(error) not in {*_ABSENT, "NoSuchBucket"}:
                raise
            self._create_bucket()
        owner = json.dumps({"installId": self._install_id, "product": "stemyard"}).encode()
        key = owner_key(self._install_id)
        if self._get(key, len(owner)) != owner:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=owner, ContentType="application/json")

    def _create_bucket(self) -> None:
        try:
            self._client.create_bucket(Bucket=self._bucket)
        except ClientError as error:
            if _code(error) not in _OWN_BUCKET:
                raise

    def _get(self, key: str, limit: int) -> bytes | None:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if _code(error) in _ABSENT:
                return None
            raise
        with answer["Body"] as body:
            return body.read() if answer["ContentLength"] <= limit else None

    def _size(self, key: str) -> int | None:
        try:
            return self._client.head_object(Bucket=self._bucket, Key=key)["ContentLength"]
        except ClientError as error:
            if _code(error) in _ABSENT:
                return None
            raise

    def _pages(self, prefix: str) -> Iterator[list[str]]:
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
            yield [entry["Key"] for entry in page.get("Contents", [])]

    def _remove(self, key: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=key)

    def _remove_prefix(self, prefix: str) -> None:
        for page in self._pages(prefix):
            for start in range(0, len(page), _BATCH):
                batch = page[start : start + _BATCH]
                answer = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}
                )
                if answer.get("Errors"):
                    raise StoreError(f"object store: could not remove {answer['Errors'][0]}")


def _client(settings: Settings, endpoint: str | None) -> "S3Client":
    on_aws = endpoint is None or (urlsplit(endpoint).hostname or "").endswith(".amazonaws.com")
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.r2_access_key_id or None,
        aws_secret_access_key=settings.r2_secret_access_key or None,
        config=Config(
            signature_version="s3v4",
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "auto" if on_aws else "path"},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            max_pool_connections=_THREADS,
        ),
    )


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
