"""Client of the S3 object store: reads, writes, deletions and presigned links. The operator's importer of boto3."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import boto3
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError
from botocore.parsers import ResponseParserError

from stemyard_contract.credential_renewal import KeysUnavailableError, RenewedKeys
from stemyard_contract.object_source import owner_key
from stemyard_operator.circuit_breaker import DependencyGuard
from stemyard_operator.clients.s3_http import ATTEMPTS, CONNECT_SECONDS, READ_SECONDS, BucketHttpClient
from stemyard_operator.clients.s3_presigner import Presigner
from stemyard_operator.config.settings import Settings
from stemyard_operator.errors import ObjectStoreError, ObjectStoreRefusedError, ObjectStoreUnsupportedError
from stemyard_store.connection import client_config
from stemyard_store.credentials import FIRST_KEYS_SECONDS, load_keys, session_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CopySourceTypeDef

DESK_LINK_SECONDS: Final = 15 * 60
"""Maximum lifetime of links that the desk returns."""
_THREADS: Final = 8
_OPEN_SECONDS: Final = 30.0
"""Maximum time between two probes of a store that does not answer."""
_REQUEST_LINK_SECONDS: Final = 60
_ABSENT: Final = frozenset({"404", "NoSuchKey", "NoSuchUpload", "NotFound"})
_REFUSED: Final = frozenset(
    {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidBucketName", "BucketAlreadyExists"}
)
_ALREADY_CREATED: Final = frozenset({"BucketAlreadyOwnedByYou"})
_UNSUPPORTED: Final = frozenset({"NotImplemented", "501", "MethodNotAllowed", "405"})
_NO_RULES: Final = frozenset({"NoSuchLifecycleConfiguration", "NoSuchCORSConfiguration"})
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MultipartUpload:
    """An upload in parts that is neither completed nor aborted."""

    key: str
    store_id: str
    at: float
    """Epoch seconds when it began."""


class ObjectStoreClient:
    """The installation's bucket. Calls raise ObjectStoreError if the store fails; those by boto3 run in threads.

    A store that does not answer would hold every caller for a minute. After a few such calls the others fail at once,
    until one that is let through is answered.
    """

    def __init__(self, settings: Settings) -> None:
        self._name = settings.r2_bucket
        owner = {"installId": settings.stemyard_install_id, "product": "stemyard"}
        self._owner = owner_key(settings.stemyard_install_id), json.dumps(owner).encode()
        given = settings.r2_access_key_id, settings.r2_secret_access_key
        self._keys = None if all(given) else RenewedKeys(partial(load_keys, settings.s3_region))
        session = boto3.Session() if self._keys is None else session_of(self._keys, waits=True)
        self._client = _client(session, settings, settings.endpoint_url)
        # the signature covers the host, so links for clients outside need the public endpoint;
        # the event loop signs them, so this session never waits
        outer = session if self._keys is None else session_of(self._keys, waits=False)
        self._public_client = _client(outer, settings, settings.public_endpoint_url)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="objects")
        self._guard = DependencyGuard(_unavailable, _is_outage, _OPEN_SECONDS)
        self._bucket = BucketHttpClient(self._name, self._sign, self._guard, settings.s3_ca_file)
        region = self._client.meta.region_name
        self._presigner = Presigner(_bucket_url(session, settings), region, _REQUEST_LINK_SECONDS)
        self._credentials: Credentials | ReadOnlyCredentials = Credentials(*given)

    async def close(self) -> None:
        """Close connections and stop the threads without waiting for calls in flight."""
        await self._bucket.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._keys is not None:
            self._keys.close()
        self._client.close()
        self._public_client.close()

    @property
    def up(self) -> bool:
        """Whether the store answers, as far as known."""
        return self._guard.up

    async def prepare(self) -> None:
        """Create the bucket if it is missing, and write the installation's owner object.

        Raises:
            ObjectStoreRefusedError: the bucket cannot be used with these settings; the message names R2_BUCKET.
            ObjectStoreError: the store is unavailable.
        """
        await self._unguarded(self._prepare)

    async def has_owner(self) -> bool:
        """Return whether the installation's owner object is readable; else the absence of another means nothing."""
        key, owner = self._owner
        return await self._bucket.get(key, len(owner)) == owner

    async def get(self, key: str, limit: int) -> bytes | None:
        """Return an object; None if it is absent or longer than `limit` bytes."""
        return await self._bucket.get(key, limit)

    async def size(self, key: str) -> int | None:
        """Return the size of an object in bytes; None if it is absent."""
        return await self._bucket.size(key)

    async def keys(self, prefix: str) -> list[str]:
        """Return all keys below a prefix, in order."""
        return list(await self.sizes(prefix))

    async def sizes(self, prefix: str) -> dict[str, int]:
        """Return the sizes in bytes of all objects below a prefix, by key, in order."""
        found: dict[str, int] = {}
        async for page in self._bucket.pages(prefix):
            found.update(page)
        return dict(sorted(found.items()))

    def pages(self, prefix: str) -> AsyncIterator[dict[str, int]]:
        """Yield the sizes in bytes of all objects below a prefix, by key, page by page."""
        return self._bucket.pages(prefix)

    async def put(self, key: str, content: bytes, content_type: str) -> None:
        """Write an object with this content type."""
        await self._in_thread(
            lambda: self._client.put_object(Bucket=self._name, Key=key, Body=content, ContentType=content_type),
        )

    async def copy(self, source: str, target: str) -> bool:
        """Copy an object and its content type within the bucket; return False if it is absent."""
        return await self._in_thread(self._copy, source, target)

    async def remove(self, target: str) -> None:
        """Delete an object, or all below a prefix that ends with a slash; succeed if there are none."""
        keys = await self.sizes(target) if target.endswith("/") else [target]
        await asyncio.gather(*(self._bucket.remove(key) for key in keys))

    async def multipart_uploads(self, prefix: str) -> list[MultipartUpload]:
        """Return the uploads in parts below a prefix that are neither completed nor aborted.

        Raises:
            ObjectStoreUnsupportedError: the store cannot list them.
        """
        return await self._in_thread(self._multipart_uploads, prefix)

    async def abort(self, upload: MultipartUpload) -> None:
        """Drop an upload in parts; succeed if it is no longer there."""
        await self._in_thread(self._abort, upload)

    def read_link(self, key: str, seconds: int) -> str:
        """Return a presigned link to read an object from inside the cluster.

        It is valid for so many seconds, or as long as temporary credentials if that is shorter; so are the next two.

        Raises:
            ObjectStoreError: there are no credentials now.
        """
        return self._presign(self._client, "get_object", {"Bucket": self._name, "Key": key}, seconds)

    def write_link(self, key: str, seconds: int, headers: Mapping[str, str]) -> str:
        """Return a presigned link to write an object with exactly these headers, which include Content-Length."""
        signed = {name.replace("-", ""): value for name, value in headers.items()}
        parameters = {
            "Bucket": self._name,
            "Key": key,
            **signed,
            "ContentLength": int(headers["Content-Length"]),
        }
        return self._presign(self._client, "put_object", parameters, seconds)

    def public_link(self, key: str, seconds: int) -> str:
        """Return a presigned link to read an object from outside the cluster."""
        return self._presign(self._public_client, "get_object", {"Bucket": self._name, "Key": key}, seconds)

    def _presign(self, client: "S3Client", operation: str, parameters: Mapping[str, Any], seconds: int) -> str:
        valid = self._link_seconds(seconds)
        try:
            return client.generate_presigned_url(operation, Params=parameters, ExpiresIn=valid)
        except CredentialRetrievalError as error:  # the credentials have just expired
            raise ObjectStoreError(str(error)) from error

    def _link_seconds(self, seconds: int) -> int:
        if self._keys is None:
            return seconds
        try:
            return self._keys.current().lifetime(seconds, time.time())
        except KeysUnavailableError as error:
            raise ObjectStoreError(str(error)) from error

    async def lifecycle(self) -> list[dict[str, Any]]:
        """Return the bucket's lifecycle rules in the form of the S3 API.

        Raises:
            ObjectStoreUnsupportedError: the store does not support them; so do the next three methods.
        """
        return await self._in_thread(self._rules, self._client.get_bucket_lifecycle_configuration, "Rules")

    async def set_lifecycle(self, rules: list[dict[str, Any]]) -> None:
        """Replace the bucket's lifecycle rules."""
        put: Any = self._client.put_bucket_lifecycle_configuration
        await self._in_thread(lambda: put(Bucket=self._name, LifecycleConfiguration={"Rules": rules}))

    async def cors(self) -> list[dict[str, Any]]:
        """Return the bucket's CORS rules in the form of the S3 API."""
        return await self._in_thread(self._rules, self._client.get_bucket_cors, "CORSRules")

    async def set_cors(self, rules: list[dict[str, Any]]) -> None:
        """Replace the bucket's CORS rules."""
        put: Any = self._client.put_bucket_cors
        await self._in_thread(lambda: put(Bucket=self._name, CORSConfiguration={"CORSRules": rules}))

    async def _sign(self, method: str, key: str, query: Mapping[str, str]) -> str:
        found = self._credentials if self._keys is None else await self._temporary_credentials(self._keys)
        return self._presigner.sign(method, key, query, found)

    async def _temporary_credentials(self, keys: RenewedKeys) -> Credentials | ReadOnlyCredentials:
        loop = asyncio.get_running_loop()
        try:
            # it blocks until the first ones are there
            latest = await loop.run_in_executor(self._threads, keys.current, FIRST_KEYS_SECONDS)
        except KeysUnavailableError as error:
            raise ObjectStoreError(str(error)) from error
        return ReadOnlyCredentials(latest.access_key, latest.secret_key, latest.token)

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._guard.call():
            return await self._unguarded(function, *args, **kwargs)

    async def _unguarded(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, partial(function, *args, **kwargs))
        except ClientError as error:
            code = _code(error)
            if code in _UNSUPPORTED:
                raise ObjectStoreUnsupportedError(f"the object store does not support this: {error}") from error
            if code in _REFUSED:
                raise ObjectStoreRefusedError(
                    f"the object store refuses bucket R2_BUCKET={self._name}: {error}"
                ) from error
            raise ObjectStoreError(f"object store: {error}") from error
        except (BotoCoreError, ResponseParserError) as error:
            raise ObjectStoreError(f"object store: {error}") from error

    def _prepare(self) -> None:
        try:
            self._client.head_bucket(Bucket=self._name)
        except ClientError as error:
            if _code(error) not in {*_ABSENT, "NoSuchBucket"}:
                raise
            self._create_bucket()
        key, owner = self._owner
        if self._get(key, len(owner)) != owner:
            self._client.put_object(Bucket=self._name, Key=key, Body=owner, ContentType="application/json")

    def _create_bucket(self) -> None:
        try:
            self._client.create_bucket(Bucket=self._name)
        except ClientError as error:
            if _code(error) not in _ALREADY_CREATED:
                raise

    def _rules(self, call: Callable[..., Any], name: str) -> list[dict[str, Any]]:
        try:
            rules = call(Bucket=self._name).get(name)
        except ClientError as error:
            if _code(error) in _NO_RULES:
                return []
            raise
        if rules is None:
            raise ObjectStoreError(f"object store: the response has no {name}")
        return list(rules)

    def _multipart_uploads(self, prefix: str) -> list[MultipartUpload]:
        pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._name, Prefix=prefix)
        return [
            MultipartUpload(upload["Key"], upload["UploadId"], upload["Initiated"].timestamp())
            for page in pages
            for upload in page.get("Uploads", [])
            if upload["Key"].startswith(prefix)
        ]

    def _abort(self, upload: MultipartUpload) -> None:
        try:
            self._client.abort_multipart_upload(Bucket=self._name, Key=upload.key, UploadId=upload.store_id)
        except ClientError as error:
            if _code(error) not in _ABSENT:
                raise

    def _get(self, key: str, limit: int) -> bytes | None:
        try:
            response = self._client.get_object(Bucket=self._name, Key=key)
        except ClientError as error:
            if _code(error) in _ABSENT:
                return None
            raise
        with response["Body"] as body:
            content = body.read(limit + 1)
        return content if len(content) <= limit else None

    def _copy(self, source: str, target: str) -> bool:
        origin: CopySourceTypeDef = {"Bucket": self._name, "Key": source}
        try:
            response = self._client.copy_object(Bucket=self._name, Key=target, CopySource=origin)
        except ClientError as error:
            if _code(error) in _ABSENT:
                return False
            raise
        if "ETag" not in response.get("CopyObjectResult", {}):
            raise ObjectStoreError("object store: the response to a copy is not a CopyObjectResult")
        return True


def _unavailable(why: str) -> ObjectStoreError:
    return ObjectStoreError(f"object store: {why}")


def _is_outage(error: Exception) -> bool:
    return isinstance(error, ObjectStoreError) and error.retryable


def _bucket_url(session: boto3.Session, settings: Settings) -> str:
    """Return the URL of the bucket, path-style or virtual-hosted as boto3 decides by store and name."""
    # unsigned: signing might fetch credentials
    client = _client(session, settings, settings.endpoint_url, signed=False)
    link = client.generate_presigned_url("head_bucket", Params={"Bucket": settings.r2_bucket})
    client.close()
    return link.partition("?")[0]


def _client(session: boto3.Session, settings: Settings, endpoint: str | None, *, signed: bool = True) -> "S3Client":
    return session.client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings.s3_region,
        verify=settings.s3_ca_file,
        aws_access_key_id=settings.r2_access_key_id or None,
        aws_secret_access_key=settings.r2_secret_access_key or None,
        config=client_config(
            endpoint,
            connect_seconds=CONNECT_SECONDS,
            read_seconds=READ_SECONDS,
            connections=_THREADS,
            attempts=ATTEMPTS,
            signed=signed,
        ),
    )


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
