"""Object store client (S3): checks whether objects exist and signs links to them."""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

import boto3
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError

from stemyard_api.errors import MisconfiguredError, UnavailableError
from stemyard_api.settings import Settings
from stemyard_contract.credential_renewal import KeysUnavailableError, RenewedKeys
from stemyard_store.connection import client_config
from stemyard_store.credentials import load_keys, session_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

STEM_LINK_SECONDS: Final = 7 * 24 * 3600
"""Lifetime of a link to a stem, the maximum for SigV4."""
UPLOAD_SECONDS: Final = 15 * 60
"""Lifetime of an upload link."""
UPLOAD_DISPOSITION: Final = "attachment"
"""Content-Disposition of uploads: a browser that opens one saves it, whatever its bytes are."""
_TIMEOUT_SECONDS: Final = 3
_ATTEMPTS: Final = 2
_THREADS: Final = 8
_CONNECTIONS: Final = 10

_Arguments = TypeVarTuple("_Arguments")
_Answer = TypeVar("_Answer")


class ObjectStoreUnavailableError(UnavailableError):
    """The object store does not respond, or refuses the credentials."""


class StoreThreads:
    """Threads for calls by boto3, which blocks."""

    def __init__(self, count: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, function: Callable[[*_Arguments], _Answer], *arguments: *_Arguments) -> _Answer:
        """Call a function in a thread.

        Raises:
            ObjectStoreUnavailableError: the store is unavailable.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        except (ClientError, BotoCoreError) as error:
            raise ObjectStoreUnavailableError from error

    def close(self) -> None:
        """Stop without waiting for calls in flight."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class ObjectStoreClient:
    """One bucket at two endpoints: the pods' for the API's own calls, the clients' for signed links."""

    def __init__(self, settings: Settings, keys: RenewedKeys | None = None) -> None:
        """Create the clients without sending anything.

        Args:
            settings: endpoints, bucket and credentials.
            keys: temporary credentials, None if the settings have lasting ones.

        Raises:
            MisconfiguredError: the settings lack the store's endpoint or credentials.
        """
        if not settings.storage_configured:
            raise MisconfiguredError("No object store is configured.")
        self._bucket, self._keys = settings.r2_bucket, keys
        self._inner = connect(settings, settings.store_endpoint, keys)
        self._outer = connect(settings, settings.public_store_endpoint, keys, waits=False)
        self._threads = StoreThreads(_THREADS, "objects")

    async def size(self, key: str) -> int | None:
        """Return the size of an object in bytes, or None if there is none.

        Raises:
            ObjectStoreUnavailableError: the store is unavailable.
        """
        return await self._threads.run(self._size, key)

    async def read(self, key: str) -> bytes | None:
        """Return a small object, None if there is none.

        Raises:
            ObjectStoreUnavailableError: the store is unavailable; so do the next two methods.
        """
        return await self._threads.run(self._read, key)

    async def write(self, key: str, content: bytes) -> None:
        """Write a small object of JSON."""
        await self._threads.run(self._write, key, content)

    async def delete(self, key: str) -> None:
        """Delete an object; succeed if there is none."""
        await self._threads.run(self._delete, key)

    async def ping(self) -> None:
        """Check that the bucket exists and is accessible.

        Raises:
            ObjectStoreUnavailableError: it is not.
        """
        await self._threads.run(self._head_bucket)

    async def delete_below(self, prefix: str) -> int:
        """Delete every object whose key begins with a prefix; return their number.

        Raises:
            ObjectStoreUnavailableError: the store is unavailable.
        """
        return await self._threads.run(self._delete_below, prefix)

    def link_seconds(self, seconds: int) -> int:
        """Return for how many seconds a link signed now is valid if so many are requested.

        Raises:
            ObjectStoreUnavailableError: there are no credentials now.
        """
        return link_seconds(self._keys, seconds)

    def sign_get(self, key: str, disposition: str | None = None, seconds: int = STEM_LINK_SECONDS) -> str:
        """Return a link to an object, valid for `link_seconds(seconds)`; the response has this Content-Disposition."""
        params = {"Bucket": self._bucket, "Key": key}
        if disposition is not None:
            params["ResponseContentDisposition"] = disposition
        return presign(self._outer, self._keys, "get_object", params, seconds)

    def sign_put(self, key: str, size: int, content_type: str) -> tuple[str, dict[str, str]]:
        """Return a link for one PUT of exactly this size and type to an unused key, and its required headers."""
        params = {
            "Bucket": self._bucket,
            "Key": key,
            "ContentLength": size,
            "ContentType": content_type,
            "ContentDisposition": UPLOAD_DISPOSITION,
            "IfNoneMatch": "*",
        }
        return presign(self._outer, self._keys, "put_object", params, UPLOAD_SECONDS), {
            "Content-Length": str(size),
            "Content-Type": content_type,
            "Content-Disposition": UPLOAD_DISPOSITION,
            "If-None-Match": "*",
        }

    def close(self) -> None:
        """Close threads and connections."""
        self._threads.close()
        self._inner.close()
        self._outer.close()

    def _size(self, key: str) -> int | None:
        try:
            return self._inner.head_object(Bucket=self._bucket, Key=key)["ContentLength"]
        except ClientError as error:
            if is_absent(error):
                return None
            raise

    def _read(self, key: str) -> bytes | None:
        try:
            return self._inner.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if is_absent(error):
                return None
            raise

    def _write(self, key: str, content: bytes) -> None:
        self._inner.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType="application/json")

    def _delete(self, key: str) -> None:
        self._inner.delete_object(Bucket=self._bucket, Key=key)

    def _delete_below(self, prefix: str) -> int:
        count = 0
        for page in self._inner.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
            keys = [item["Key"] for item in page.get("Contents", [])]
            for key in keys:
                # one by one: DeleteObjects requires a checksum that not every store supports
                self._delete(key)
            count += len(keys)
        return count

    def _head_bucket(self) -> None:
        self._inner.head_bucket(Bucket=self._bucket)


def open_keys(settings: Settings) -> RenewedKeys | None:
    """Return the temporary credentials of this process, None if the settings have lasting ones; close them."""
    if not settings.storage_configured or settings.r2_secret_access_key is not None:
        return None
    return RenewedKeys(partial(load_keys, settings.s3_region))


def link_seconds(keys: RenewedKeys | None, seconds: int) -> int:
    """Return the lifetime of a link signed now: as requested, but no longer than that of temporary credentials.

    Raises:
        ObjectStoreUnavailableError: there are no credentials now.
    """
    if keys is None:
        return seconds
    try:
        return keys.current().lifetime(seconds, time.time())
    except KeysUnavailableError as error:
        raise ObjectStoreUnavailableError from error


def presign(
    client: "S3Client", keys: RenewedKeys | None, operation: str, params: Mapping[str, Any], seconds: int
) -> str:
    """Return a link for an operation, which is valid for `link_seconds`.

    Raises:
        ObjectStoreUnavailableError: there are no credentials now.
    """
    valid = link_seconds(keys, seconds)
    try:
        return client.generate_presigned_url(operation, Params=params, ExpiresIn=valid)
    except CredentialRetrievalError as error:  # the credentials have just expired
        raise ObjectStoreUnavailableError from error


def is_absent(error: ClientError) -> bool:
    """Return whether an error says that there is no such object or upload."""
    return error.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def connect(
    settings: Settings,
    endpoint: str | None,
    keys: RenewedKeys | None,
    connections: int = _CONNECTIONS,
    read_seconds: float = _TIMEOUT_SECONDS,
    *,
    waits: bool = True,
) -> "S3Client":
    """Return an S3 client for an endpoint; nothing is sent yet.

    Args:
        settings: region and credentials.
        endpoint: base URL of the store.
        keys: temporary credentials, None if the settings have lasting ones.
        connections: maximum number of connections that are kept.
        read_seconds: time for a response to begin, and between its parts.
        waits: whether it may block until there are temporary credentials; not in the event loop.
    """
    secret = settings.r2_secret_access_key
    session = boto3.Session() if keys is None else session_of(keys, waits=waits)
    return session.client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings.s3_region,
        verify=settings.s3_ca_file,
        aws_access_key_id=settings.r2_access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=client_config(
            endpoint,
            connect_seconds=_TIMEOUT_SECONDS,
            read_seconds=read_seconds,
            connections=connections,
            attempts=_ATTEMPTS,
        ),
    )
