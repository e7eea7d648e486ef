"""Uploads, whole or in parts: the bytes go from the client directly to the object store, by presigned links."""

import time
from typing import Annotated, Final

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr

from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.s3 import UPLOAD_SECONDS, ObjectStoreClient
from stemyard_api.dependencies import Services, ServicesDep, SubmitterDep
from stemyard_api.errors import NotConfiguredError, RequestTooLargeError
from stemyard_api.routes.json_route import JsonRoute
from stemyard_api.schemas.examples import (
    MULTIPART_SLOT,
    PART_LINKS,
    UPLOAD_SLOT,
    UPLOAD_STATE,
    UPLOADED_FILE,
    problems,
)
from stemyard_api.schemas.integers import WHOLE
from stemyard_api.schemas.requests import check_text
from stemyard_api.schemas.upload_responses import MultipartSlot, PartLinks, UploadedFile, UploadSlot, UploadState
from stemyard_api.services.multipart_uploads import MultipartUploads
from stemyard_api.services.stored_sources import mint_upload_id, remember_name
from stemyard_api.settings import Settings
from stemyard_contract.identity import upload_key

router = APIRouter(tags=["uploads"], route_class=JsonRoute)


class UploadRequest(BaseModel):
    """A file to be uploaded; unknown fields are ignored."""

    model_config = ConfigDict(
        extra="ignore",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"filename": "song.mp3", "size": 4194304, "content_type": "audio/mpeg"}]},
    )

    filename: Annotated[StrictStr, Field(min_length=1, max_length=255), AfterValidator(check_text)]
    """Name of the file: the title of a recording without tags."""
    size: Annotated[StrictInt, Field(ge=1), WHOLE]
    """Size in bytes, exactly: the link is signed for this length."""
    content_type: Annotated[
        StrictStr,
        Field(max_length=127, pattern=r"^((audio|video)/[A-Za-z0-9][A-Za-z0-9.+-]*|application/octet-stream)$"),
    ] = "application/octet-stream"
    """Media type: audio, video, or application/octet-stream for anything else. It is stored, and decides nothing."""


class PartRequest(BaseModel):
    """A part to be sent."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    number: Annotated[StrictInt, Field(ge=1, le=10_000), WHOLE]
    """Number of the part, from 1."""
    sha256: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of its bytes in hexadecimal; the store refuses any others."""


class PartsRequest(BaseModel):
    """Parts to be sent; unknown fields are ignored."""

    model_config = ConfigDict(
        extra="ignore",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"parts": [{"number": 7, "sha256": "9f86d081884c7d65" * 4}]}]},
    )

    parts: Annotated[list[PartRequest], Field(min_length=1, max_length=100)]
    """The parts that are sent next, in any order; a part may be sent again until the upload is completed."""


UploadId = Annotated[
    str, Path(max_length=64, description="Id of an upload of this key; in any case."), AfterValidator(str.lower)
]
_NO_STORE: Final = "No object store is configured, so files cannot be uploaded."


@router.post(
    "/uploads",
    operation_id="createUpload",
    summary="Get a link to upload a file",
    responses={
        200: {"model": UploadSlot, "content": {"application/json": {"example": UPLOAD_SLOT}}},
        **problems(401, 403, 413, 422, 429, 501),
    },
)
async def uploads(body: UploadRequest, services: ServicesDep, principal: SubmitterDep) -> JSONResponse:
    """PUT the file to `url` with exactly `headers`, then POST /separate-audio with `upload_id`."""
    if services.object_store is None:
        raise NotConfiguredError(_NO_STORE)
    slot = create_slot(body, principal, services.settings, services.object_store, time.time())
    await services.quotas.announce(principal, body.size)
    await remember_name(services.redis, principal.key_id, slot["upload_id"], body.filename)
    return JSONResponse(slot)


@router.post(
    "/uploads/multipart",
    operation_id="createMultipartUpload",
    summary="Begin an upload in parts",
    responses={
        200: {"model": MultipartSlot, "content": {"application/json": {"example": MULTIPART_SLOT}}},
        **problems(401, 403, 413, 422, 429, 501, 503),
    },
)
async def begin_multipart(body: UploadRequest, services: ServicesDep, principal: SubmitterDep) -> JSONResponse:
    """Get links for the parts, PUT each, then complete the upload within a day. It may be interrupted and continued."""
    check_size(body.size, services.settings)
    slot = await _multipart(services).begin(principal, body.size, body.content_type)
    await remember_name(services.redis, principal.key_id, slot["upload_id"], body.filename)
    return JSONResponse(slot)


@router.post(
    "/uploads/{upload_id}/parts",
    operation_id="createPartLinks",
    summary="Get links to upload parts",
    responses={
        200: {"model": PartLinks, "content": {"application/json": {"example": PART_LINKS}}},
        **problems(401, 403, 404, 422, 429, 501, 503),
    },
)
async def part_links(
    upload_id: UploadId, body: PartsRequest, services: ServicesDep, principal: SubmitterDep
) -> JSONResponse:
    """PUT each part to its `url` with exactly its `headers`, in any order, a few at a time."""
    digests = [(part.number, part.sha256) for part in body.parts]
    return JSONResponse(PartLinks(parts=await _multipart(services).links(principal, upload_id, digests)))


@router.get(
    "/uploads/{upload_id}",
    operation_id="getUpload",
    summary="See what has been received of an upload",
    responses={
        200: {"model": UploadState, "content": {"application/json": {"example": UPLOAD_STATE}}},
        **problems(401, 403, 404, 409, 422, 429, 501, 503),
    },
)
async def upload_state(upload_id: UploadId, services: ServicesDep, principal: SubmitterDep) -> JSONResponse:
    """List the parts that have been received, to continue after an interruption; or say that the file is there."""
    return JSONResponse(await _multipart(services).state(principal, upload_id))


@router.post(
    "/uploads/{upload_id}/complete",
    operation_id="completeMultipartUpload",
    summary="Complete an upload in parts",
    responses={
        200: {"model": UploadedFile, "content": {"application/json": {"example": UPLOADED_FILE}}},
        **problems(401, 403, 404, 409, 422, 429, 501, 503),
    },
)
async def complete_multipart(upload_id: UploadId, services: ServicesDep, principal: SubmitterDep) -> JSONResponse:
    """Join the parts, then POST /separate-audio with `upload_id`. Repeat it after an error: it can be done twice."""
    return JSONResponse(await _multipart(services).complete(principal, upload_id))


@router.delete(
    "/uploads/{upload_id}",
    operation_id="abortMultipartUpload",
    summary="Abort an upload in parts",
    status_code=204,
    response_class=Response,
    responses=problems(401, 403, 404, 422, 429, 501, 503),
)
async def abort_multipart(upload_id: UploadId, services: ServicesDep, principal: SubmitterDep) -> Response:
    """Drop what has been received. Its size still counts as uploaded today."""
    await _multipart(services).abort(principal, upload_id)
    return Response(status_code=204)


def _multipart(services: Services) -> MultipartUploads:
    if services.multipart_uploads is None:
        raise NotConfiguredError(_NO_STORE)
    return services.multipart_uploads


def check_size(size: int, settings: Settings) -> None:
    """Check the size of a file.

    Raises:
        RequestTooLargeError: the file is larger than the service accepts.
    """
    if size > settings.max_upload_bytes:
        raise RequestTooLargeError.for_field("size", f"must be at most {settings.max_file_size_mb} MiB")


def create_slot(
    body: UploadRequest, principal: Principal, settings: Settings, object_store: ObjectStoreClient, now: float
) -> UploadSlot:
    """Return a new slot for a file.

    Raises:
        RequestTooLargeError: the file is larger than the service accepts.
    """
    check_size(body.size, settings)
    upload_id = mint_upload_id(settings.stemyard_install_id, principal.key_id)
    key = upload_key(settings.stemyard_install_id, principal.key_id, upload_id)
    expires_at = now + object_store.link_seconds(UPLOAD_SECONDS)
    url, headers = object_store.sign_put(key, body.size, body.content_type)
    return UploadSlot(upload_id=upload_id, url=url, headers=headers, expires_at=expires_at)
