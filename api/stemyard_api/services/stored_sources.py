"""Uploads and objects of the bucket as sources, checked before a run that reads them starts."""

import asyncio
import hashlib
import hmac
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from stemyard_api.clients.redis import RedisClient, RedisUnavailableError
from stemyard_api.clients.s3 import ObjectStoreClient
from stemyard_api.errors import (
    ApiError,
    NotConfiguredError,
    ObjectNotFoundError,
    SourceDisabledError,
    SourceGoneError,
    SourceTooLargeError,
    UploadMissingError,
)
from stemyard_api.settings import Settings
from stemyard_contract.download_name import uploaded_name
from stemyard_contract.identity import upload_key
from stemyard_contract.object_source import allows, installation_of, owner_key
from stemyard_contract.separationjob import ObjectSource, Source, UploadSource

_HALF: Final = 8
_UPLOAD_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class SourceProblem:
    """Why a source cannot be separated.

    Attributes:
        first: error of a request for a new track.
        again: error of a request for another run.
    """

    first: ApiError
    again: ApiError


async def find_source_problem(
    source: Source, settings: Settings, object_store: ObjectStoreClient | None
) -> SourceProblem | None:
    """Return why a source cannot be separated now, None if it can.

    Raises:
        SourceDisabledError: the deployment does not allow this object.
        NotConfiguredError: there is no object store.
        UnavailableError: the store does not respond.
    """
    if source.upload is not None:
        return await _upload_problem(source.upload, settings, _require_store(object_store))
    if source.object is not None:
        check_allowed(source.object, settings)
        return await _object_problem(source.object, settings, _require_store(object_store))
    return None


async def check_source(source: Source, settings: Settings, object_store: ObjectStoreClient | None) -> None:
    """Check that a source can be separated again; raises also what `find_source_problem` raises.

    Raises:
        SourceGoneError, ObjectNotFoundError, SourceTooLargeError: it cannot.
    """
    problem = await find_source_problem(source, settings, object_store)
    if problem is not None:
        raise problem.again


def check_allowed(source: ObjectSource, settings: Settings) -> None:
    """Check that the deployment allows an object as a source.

    Raises:
        SourceDisabledError: it is outside the allowed prefixes.
    """
    if not settings.object_source_prefixes:
        raise SourceDisabledError("Objects of the bucket are disabled as sources; upload the file or send its URL.")
    if not allows(settings.object_source_prefixes, source.key, settings.stemyard_install_id):
        raise SourceDisabledError.for_field("object", "is below none of the allowed prefixes")


async def _upload_problem(
    upload: UploadSource, settings: Settings, object_store: ObjectStoreClient
) -> SourceProblem | None:
    key = upload_key(settings.stemyard_install_id, upload.owner, upload.id)
    return SourceProblem(UploadMissingError(), SourceGoneError()) if await object_store.size(key) is None else None


async def _object_problem(
    source: ObjectSource, settings: Settings, object_store: ObjectStoreClient
) -> SourceProblem | None:
    installation = installation_of(source.key)
    size, foreign = await asyncio.gather(object_store.size(source.key), object_store.size(owner_key(installation)))
    if foreign is not None:
        raise SourceDisabledError.for_field("object", f"belongs to the installation {installation}")
    error: ApiError | None = None
    if size is None:
        error = ObjectNotFoundError()
    elif size > settings.max_upload_bytes:
        error = SourceTooLargeError.for_field(
            "object", f"has {size} bytes; at most {settings.max_file_size_mb} MiB are accepted"
        )
    return SourceProblem(error, error) if error else None


def _require_store(object_store: ObjectStoreClient | None) -> ObjectStoreClient:
    if object_store is None:
        raise NotConfiguredError("No object store is configured, so uploads and objects are unavailable.")
    return object_store


async def remember_name(redis: RedisClient | None, key_id: str, upload_id: str, filename: str) -> None:
    """Store the name of a file that is uploaded, if there is a Redis: a recording without tags is called by it."""
    name = uploaded_name(filename)
    if redis is None or name is None:
        return
    with suppress(RedisUnavailableError):
        await redis.put_upload_name(key_id, upload_id, name)


async def with_name(redis: RedisClient | None, source: Source) -> Source:
    """Return an upload with the name of its file, if that is known; any other source as it is."""
    upload = source.upload
    if upload is None or redis is None:
        return source
    try:
        name = await redis.upload_name(upload.owner, upload.id)
    except RedisUnavailableError:
        return source
    return source.model_copy(update={"upload": upload.model_copy(update={"name": name})})


def mint_upload_id(install_id: str, owner: str) -> str:
    """Return a new id, a UUIDv8: 60 random bits and 62 bits of a digest over them, the installation and the owner.

    The digest is not a secret and protects nothing: an upload's object key contains its owner. It only distinguishes
    another key's upload (not found) from one that has not been received, without storing a record of either.
    """
    return _compose(install_id, owner, secrets.token_bytes(_HALF))


def belongs_to(upload_id: str, install_id: str, owner: str) -> bool:
    """Whether this id was created for this owner."""
    # only the form that is stored: UUID() also reads braces, upper case and the digits of other scripts
    if not _UPLOAD_ID.fullmatch(upload_id):
        return False
    return hmac.compare_digest(_compose(install_id, owner, UUID(upload_id).bytes[:_HALF]), upload_id)


def _compose(install_id: str, owner: str, head: bytes) -> str:
    head = head[:6] + bytes([0x80 | head[6] & 0x0F]) + head[7:]
    digest = hashlib.sha256(b"\n".join((install_id.encode(), owner.encode(), head))).digest()
    return str(UUID(bytes=head + bytes([0x80 | digest[0] & 0x3F]) + digest[1:_HALF]))
