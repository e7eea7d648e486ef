"""Uploads and objects of the bucket as sources, checked before a run that would read them is started."""

import asyncio
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from uuid import UUID

from stemyard_api.clients.s3 import ObjectStoreClient
from stemyard_api.errors import (
    ApiError,
    MisconfiguredError,
    ObjectNotFoundError,
    SourceDisabledError,
    SourceGoneError,
    SourceTooLargeError,
    UploadMissingError,
)
from stemyard_api.settings import Settings
from stemyard_contract.identity import upload_key
from stemyard_contract.object_source import allows, installation_of, owner_key
from stemyard_contract.separationjob import ObjectSource, Source, UploadSource

_HALF = 8


@dataclass(frozen=True, slots=True)
class SourceProblem:
    """Why a source cannot be separated.

    Attributes:
        first: what a request for a new track is told.
        again: what a request for another run is told.
    """

    first: ApiError
    again: ApiError


async def find_source_problem(
    source: Source, settings: Settings, object_store: ObjectStoreClient | None
) -> SourceProblem | None:
    """Return what a source lacks to be separated now, None where it can be.

    Raises:
        SourceDisabledError: the deployment does not let this object be asked for.
        MisconfiguredError: there is no object store.
        UnavailableError: the store does not answer.
    """
    if source.upload is not None:
        return await _lack_of_upload(source.upload, settings, _opened(object_store))
    if source.object is not None:
        check_allowed(source.object, settings)
        return await _lack_of_object(source.object, settings, _opened(object_store))
    return None


async def check_source(source: Source, settings: Settings, object_store: ObjectStoreClient | None) -> None:
    """Pass a source that can be separated again.

    Raises:
        SourceGoneError, ObjectNotFoundError, SourceTooLargeError: it cannot; besides what `find_source_problem` raises.
    """
    lack = await find_source_problem(source, settings, object_store)
    if lack is not None:
        raise lack.again


def check_allowed(source: ObjectSource, settings: Settings) -> None:
    """Pass an object that the deployment lets be asked for.

    Raises:
        SourceDisabledError: it lies outside the allowed prefixes.
    """
    if not settings.object_source_prefixes:
        raise SourceDisabledError("Objects of the bucket are turned off here; upload the file or send its URL.")
    if not allows(settings.object_source_prefixes, source.key, settings.stemyard_install_id):
        raise SourceDisabledError.for_field("object", "lies below none of the prefixes that the deployment allows")


async def _lack_of_upload(
    upload: UploadSource, settings: Settings, object_store: ObjectStoreClient
) -> SourceProblem | None:
    key = upload_key(settings.stemyard_install_id, upload.owner, upload.id)
    return SourceProblem(UploadMissingError(), SourceGoneError()) if await object_store.size(key) is None else None


async def _lack_of_object(
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
            "object", f"has {size} bytes; at most {settings.max_file_size_mb} MiB are taken"
        )
    return SourceProblem(error, error) if error else None


def _opened(object_store: ObjectStoreClient | None) -> ObjectStoreClient:
    if object_store is None:
        raise MisconfiguredError("No object store is configured, so there are neither uploads nor objects.")
    return object_store


def mint_upload_id(install_id: str, owner: str) -> str:
    """Return a new id, a UUIDv8: 60 random bits and 62 bits of a digest over them, the installation and the owner.

    The digest is no secret and guards nothing: an upload's object key names its owner. It only lets the API tell
    another key's upload (not found) from one whose bytes have not arrived, without keeping a record of either.
    """
    return _compose(install_id, owner, secrets.token_bytes(_HALF))


def belongs_to(upload_id: str, install_id: str, owner: str) -> bool:
    """Whether this id was given to this owner."""
    try:
        head = UUID(upload_id).bytes[:_HALF]
    except ValueError:
        return False
    return hmac.compare_digest(_compose(install_id, owner, head), upload_id)


def _compose(install_id: str, owner: str, head: bytes) -> str:
    head = head[:6] + bytes([0x80 | head[6] & 0x0F]) + head[7:]
    digest = hashlib.sha256(b"\n".join((install_id.encode(), owner.encode(), head))).digest()
    return str(UUID(bytes=head + bytes([0x80 | digest[0] & 0x3F]) + digest[1:_HALF]))
