"""The operator's way to the object store: reads, removals and presigned links; the only importer of boto3."""

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
from stemyard_operator.config.settings import Settings
from stemyard_operator.errors import ObjectStoreError, ObjectStoreRefusedError, ObjectStoreUnsupportedError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
from urllib.parse import quote

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest

LINK_SECONDS: Final = 15 * 60
"""Longest life of a link that the desk hands out."""
_SERVICE: Final = "s3"
_SAFE: Final = "/~"
"""What S3 leaves as it is in a key, besides letters, digits and `_.-`."""
_THREADS: Final = 8
_SIGNED_SECONDS: Final = 60
_ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_REFUSED: Final = frozenset(
    {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidBucketName", "BucketAlreadyExists"}
)
_OWN_BUCKET: Final = frozenset({"BucketAlreadyOwnedByYou"})
_LACKING: Final = frozenset({"NotImplemented", "501", "MethodNotAllowed", "405"})
_NO_RULES: Final = frozenset({"NoSuchLifecycleConfiguration", "NoSuchCORSConfiguration"})
P = ParamSpec("P")
T = TypeVar("T")


class ObjectStoreClient:
    """The installation's bucket. Calls run in threads of their own and raise StoreError when the store fails."""

    def __init__(self, settings: Settings) -> None:
        self._name = settings.r2_bucket
        self._install_id = settings.stemyard_install_id
        self._session = boto3.Session()
        self._client = _client(self._session, settings, settings.endpoint_url)
        # a link is signed for the host that will be asked for it
        self._outer = _client(self._session, settings, settings.public_endpoint_url)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="objects")
        self._bucket = BucketHttpClient(self._name, self._sign)
        self._presigner = Presigner(_address(self._session, settings), self._client.meta.region_name, _SIGNED_SECONDS)
        given = settings.r2_access_key_id, settings.r2_secret_access_key
        self._credentials = Credentials(*given) if all(given) else None

    async def close(self) -> None:
        """Close connections and end the threads; calls under way are not waited for."""
        await self._bucket.close()
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
        """Return an object, None where it is absent or longer than `limit` bytes."""
        return await self._bucket.get(key, limit)

    async def size(self, key: str) -> int | None:
        """Return the bytes of an object, None where it is absent."""
        return await self._bucket.size(key)

    async def keys(self, prefix: str) -> list[str]:
        """Return all keys below a prefix, in order."""
        return list(await self._bucket.sizes(prefix))

    async def sizes(self, prefix: str) -> dict[str, int]:
        """Return the bytes of all objects below a prefix, by key, in order."""
        return await self._bucket.sizes(prefix)

    async def put(self, key: str, content: bytes, kind: str) -> None:
        """Write an object of this content type."""
        await self._run(
            lambda: self._client.put_object(Bucket=self._name, Key=key, Body=content, ContentType=kind),
        )

    async def copy(self, source: str, target: str) -> bool:
        """Copy an object within the store, its content type included; return False where it is absent."""
        return await self._run(self._copy, source, target)

    async def remove(self, target: str) -> None:
        """Remove an object, or everything below a prefix that ends with a slash; absent ones are fine."""
        keys = await self._bucket.sizes(target) if target.endswith("/") else [target]
        await asyncio.gather(*(self._bucket.remove(key) for key in keys))

    def read_link(self, key: str, seconds: int) -> str:
        """Return a presigned link to get an object."""
        return self._reading(self._client, key, seconds)

    def write_link(self, key: str, seconds: int, headers: Mapping[str, str]) -> str:
        """Return a presigned link to put an object with exactly these headers, the content's length among them."""
        told = {name.replace("-", ""): value for name, value in headers.items()}
        parameters = {
            "Bucket": self._name,
            "Key": key,
            **told,
            "ContentLength": int(headers["Content-Length"]),
        }
        return self._client.generate_presigned_url("put_object", Params=parameters, ExpiresIn=seconds)

    def public_link(self, key: str, seconds: int) -> str:
        """Return a presigned link by which clients outside can get an object."""
        return self._reading(self._outer, key, seconds)

    def _reading(self, client: "S3Client", key: str, seconds: int) -> str:
        parameters = {"Bucket": self._name, "Key": key}
        return client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds)

    async def lifecycle(self) -> list[dict[str, Any]]:
        """Return the bucket's lifecycle rules as S3 has them; like the three below, fails where a store has none.

        Raises:
            StoreLacksError: the store knows no such rules.
        """
        return await self._run(self._rules, self._client.get_bucket_lifecycle_configuration, "Rules")

    async def set_lifecycle(self, rules: list[dict[str, Any]]) -> None:
        """Replace the bucket's lifecycle rules."""
        put: Any = self._client.put_bucket_lifecycle_configuration
        await self._run(lambda: put(Bucket=self._name, LifecycleConfiguration={"Rules": rules}))

    async def cors(self) -> list[dict[str, Any]]:
        """Return the bucket's CORS rules as S3 has them."""
        return await self._run(self._rules, self._client.get_bucket_cors, "CORSRules")

    async def set_cors(self, rules: list[dict[str, Any]]) -> None:
        """Replace the bucket's CORS rules."""
        put: Any = self._client.put_bucket_cors
        await self._run(lambda: put(Bucket=self._name, CORSConfiguration={"CORSRules": rules}))

    async def _sign(self, method: str, key: str, query: Mapping[str, str]) -> str:
        # credentials that have to be fetched first must not hold up everything else
        credentials = self._credentials if self._credentials is not None else await self._run(self._found_credentials)
        return self._presigner.sign(method, key, query, credentials)

    def _found_credentials(self) -> Credentials | ReadOnlyCredentials:
        """Return what the pod's surroundings give, such as a cloud's workload identity; renewed where it is due."""
        found = self._session.get_credentials()
        if found is None:
            raise NoCredentialsError
        return found.get_frozen_credentials()

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, partial(function, *args, **kwargs))
        except ClientError as error:
            code = _code(error)
            if code in _LACKING:
                raise ObjectStoreUnsupportedError(f"the object store does not know this: {error}") from error
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
            if _code(error) not in _OWN_BUCKET:
                raise

    def _rules(self, ask: Callable[..., Any], name: str) -> list[dict[str, Any]]:
        try:
            return list(ask(Bucket=self._name)[name])
        except ClientError as error:
            if _code(error) in _NO_RULES:
                return []
            raise

    def _get(self, key: str, limit: int) -> bytes | None:
        try:
            answer = self._client.get_object(Bucket=self._name, Key=key)
        except ClientError as error:
            if _code(error) in _ABSENT:
                return None
            raise
        with answer["Body"] as body:
            return body.read() if answer["ContentLength"] <= limit else None

    def _copy(self, source: str, target: str) -> bool:
        try:
            self._client.copy_object(Bucket=self._name, Key=target, CopySource={"Bucket": self._name, "Key": source})
        except ClientError as error:
            if _code(error) in _ABSENT:
                return False
            raise
        return True


def _address(session: boto3.Session, settings: Settings) -> str:
    """Return the bucket's own address: whether its name is part of the host's depends on the store and on the name."""
    # not signed: nothing is to be fetched for it, least of all credentials
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


class Presigner:
    """Makes presigned links, by AWS Signature Version 4 in the query.

    Args:
        bucket: the bucket's own address.
        region: in which the store is.
        seconds: for which a link holds.
    """

    def __init__(self, bucket: str, region: str, seconds: int) -> None:
        self._bucket = bucket
        self._region = region
        self._seconds = seconds
        # botocore finds it out twice for each link
        signer = S3SigV4QueryAuth(Credentials("", ""), _SERVICE, region, seconds)
        self._headers = {"Host": signer.headers_to_sign(AWSRequest("GET", bucket))["host"]}

    def sign(
        self, method: str, key: str, query: Mapping[str, str], credentials: Credentials | ReadOnlyCredentials
    ) -> str:
        """Return a link for a method at a key, or at the bucket itself where the key is empty."""
        address = f"{self._bucket.rstrip('/')}/{quote(key, safe=_SAFE)}" if key else self._bucket
        request = AWSRequest(method, address, headers=self._headers, params=dict(query))
        S3SigV4QueryAuth(credentials, _SERVICE, self._region, self._seconds).add_auth(request)
        return str(request.url)
