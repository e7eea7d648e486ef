"""Client of the S3 object store: reads, writes, deletions and presigned links. The operator's importer of boto3."""

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from stemyard_contract.object_source import owner_key
from stemyard_operator.clients.s3_http import ATTEMPTS, CONNECT_SECONDS, READ_SECONDS, BucketHttpClient
from stemyard_operator.clients.s3_presigner import Presigner
from stemyard_operator.config.settings import Settings
from stemyard_operator.errors import ObjectStoreError, ObjectStoreRefusedError, ObjectStoreUnsupportedError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LINK_SECONDS: Final = 15 * 60
"""Maximum lifetime of links that the desk returns."""
_THREADS: Final = 8
_REQUEST_LINK_SECONDS: Final = 60
_ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_REFUSED: Final = frozenset(
    {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidBucketName", "BucketAlreadyExists"}
)
_ALREADY_CREATED: Final = frozenset({"BucketAlreadyOwnedByYou"})
_UNSUPPORTED: Final = frozenset({"NotImplemented", "501", "MethodNotAllowed", "405"})
_NO_RULES: Final = frozenset({"NoSuchLifecycleConfiguration", "NoSuchCORSConfiguration"})
P = ParamSpec("P")
T = TypeVar("T")


class ObjectStoreClient:
    """The installation's bucket. Calls raise ObjectStoreError if the store fails; those by boto3 run in threads."""

    def __init__(self, settings: Settings) -> None:
        self._name = settings.r2_bucket
        self._install_id = settings.stemyard_install_id
        self._session = boto3.Session()
        self._client = _client(self._session, settings, settings.endpoint_url)
        # the signature covers the host, so links for clients outside need the public endpoint
        self._public_client = _client(self._session, settings, settings.public_endpoint_url)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="objects")
        self._bucket = BucketHttpClient(self._name, self._sign)
        region = self._client.meta.region_name
        self._presigner = Presigner(_bucket_url(self._session, settings), region, _REQUEST_LINK_SECONDS)
        keys = settings.r2_access_key_id, settings.r2_secret_access_key
        self._credentials = Credentials(*keys) if all(keys) else None

    async def close(self) -> None:
        """Close connections and stop the threads without waiting for calls in flight."""
        await self._bucket.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()
        self._public_client.close()

    async def prepare(self) -> None:
        """Create the bucket if it is missing, and write the installation's owner object.

        Raises:
            ObjectStoreRefusedError: the bucket cannot be used with these settings; the message names R2_BUCKET.
            ObjectStoreError: the store is unavailable.
        """
        await self._in_thread(self._prepare)

    async def get(self, key: str, limit: int) -> bytes | None:
        """Return an object; None if it is absent or longer than `limit` bytes."""
        return await self._bucket.get(key, limit)

    async def size(self, key: str) -> int | None:
        """Return the size of an object in bytes; None if it is absent."""
        return await self._bucket.size(key)

    async def keys(self, prefix: str) -> list[str]:
        """Return all keys below a prefix, in order."""
        return list(await self._bucket.sizes(prefix))

    async def sizes(self, prefix: str) -> dict[str, int]:
        """Return the sizes in bytes of all objects below a prefix, by key, in order."""
        return await self._bucket.sizes(prefix)

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
        keys = await self._bucket.sizes(target) if target.endswith("/") else [target]
        await asyncio.gather(*(self._bucket.remove(key) for key in keys))

    def read_link(self, key: str, seconds: int) -> str:
        """Return a presigned link to read an object from inside the cluster."""
        return self._presign_get(self._client, key, seconds)

    def write_link(self, key: str, seconds: int, headers: Mapping[str, str]) -> str:
        """Return a presigned link to write an object with exactly these headers, which include Content-Length."""
        signed = {name.replace("-", ""): value for name, value in headers.items()}
        parameters = {
            "Bucket": self._name,
            "Key": key,
            **signed,
            "ContentLength": int(headers["Content-Length"]),
        }
        return self._client.generate_presigned_url("put_object", Params=parameters, ExpiresIn=seconds)

    def public_link(self, key: str, seconds: int) -> str:
        """Return a presigned link to read an object from outside the cluster."""
        return self._presign_get(self._public_client, key, seconds)

    def _presign_get(self, client: "S3Client", key: str, seconds: int) -> str:
        parameters = {"Bucket": self._name, "Key": key}
        return client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds)

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
        # fetching temporary credentials may block
        found: Credentials | ReadOnlyCredentials | None = self._credentials
        if found is None:
            found = await self._in_thread(self._environment_credentials)
        return self._presigner.sign(method, key, query, found)

    def _environment_credentials(self) -> Credentials | ReadOnlyCredentials:
        """Return credentials from the environment, such as a workload identity, refreshed if they expire soon."""
        found = self._session.get_credentials()
        if found is None:
            raise NoCredentialsError
        return found.get_frozen_credentials()

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
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
        except BotoCoreError as error:
            raise ObjectStoreError(f"object store: {error}") from error

    def _prepare(self) -> None:
        try:
            self._client.head_bucket(Bucket=self._name)
        except ClientError as error:
            if _code(error) not in {*_ABSENT, "NoSuchBucket"}:
                raise
            self._create_bucket()
        owner = json.dumps({"installId": self._install_id, "product": "stemyard"}).encode()
        key = owner_key(self._install_id)
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
            return list(call(Bucket=self._name)[name])
        except ClientError as error:
            if _code(error) in _NO_RULES:
                return []
            raise

    def _get(self, key: str, limit: int) -> bytes | None:
        try:
            response = self._client.get_object(Bucket=self._name, Key=key)
        except ClientError as error:
            if _code(error) in _ABSENT:
                return None
            raise
        with response["Body"] as body:
            return body.read() if response["ContentLength"] <= limit else None

    def _copy(self, source: str, target: str) -> bool:
        try:
            self._client.copy_object(Bucket=self._name, Key=target, CopySource={"Bucket": self._name, "Key": source})
        except ClientError as error:
            if _code(error) in _ABSENT:
                return False
            raise
        return True


def _bucket_url(session: boto3.Session, settings: Settings) -> str:
    """Return the URL of the bucket, path-style or virtual-hosted as boto3 decides by store and name."""
    # unsigned: signing might fetch credentials
    client = _client(session, settings, settings.endpoint_url, signed=False)
    link = client.generate_presigned_url("head_bucket", Params={"Bucket": settings.r2_bucket})
    client.close()
    return link.partition("?")[0]


def _client(session: boto3.Session, settings: Settings, endpoint: str | None, *, signed: bool = True) -> "S3Client":
    on_aws = endpoint is None or (urlsplit(endpoint).hostname or "").endswith(".amazonaws.com")
    return session.client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.r2_access_key_id or None,
        aws_secret_access_key=settings.r2_secret_access_key or None,
        config=Config(
            signature_version="s3v4" if signed else UNSIGNED,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "virtual" if on_aws else "path"},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=_THREADS,
        ),
    )


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
