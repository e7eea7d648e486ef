"""Uploads: presigned links for one PUT each; the bytes go from the client directly to the object store."""

import time
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr

from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.s3 import UPLOAD_SECONDS, ObjectStoreClient
from stemyard_api.dependencies import ServicesDep, SubmitterDep
from stemyard_api.errors import MisconfiguredError, RequestTooLargeError
from stemyard_api.schemas.examples import UPLOAD_SLOT, problems
from stemyard_api.schemas.integers import WHOLE
from stemyard_api.schemas.requests import check_text
from stemyard_api.schemas.responses import UploadSlot
from stemyard_api.services.stored_sources import mint_upload_id
from stemyard_api.settings import Settings
from stemyard_contract.identity import upload_key

router = APIRouter(tags=["uploads"])


class UploadRequest(BaseModel):
    """A file to be uploaded; unknown fields are ignored."""

    model_config = ConfigDict(
        extra="ignore",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"filename": "song.mp3", "size": 4194304, "content_type": "audio/mpeg"}]},
    )

    filename: Annotated[StrictStr, Field(min_length=1, max_length=255), AfterValidator(check_text)]
    """Name of the file; for people, it decides nothing."""
    size: Annotated[StrictInt, Field(ge=1), WHOLE]
    """Bytes, exactly: the link is good for this length only."""
    content_type: Annotated[
        StrictStr, Field(max_length=127, pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*/[A-Za-z0-9][A-Za-z0-9.+-]*$")
    ] = "application/octet-stream"
    """Media type, such as audio/mpeg."""


@router.post(
    "/uploads",
    summary="Get a link to upload a file",
    responses={
        200: {"model": UploadSlot, "content": {"application/json": {"example": UPLOAD_SLOT}}},
        **problems(401, 403, 413, 422, 429, 500),
    },
)
async def uploads(body: UploadRequest, services: ServicesDep, principal: SubmitterDep) -> JSONResponse:
    """PUT the file to `url` with exactly `headers`, then POST /separate-audio with `upload_id`."""
    if services.object_store is None:
        raise MisconfiguredError("No object store is configured, so files cannot be uploaded.")
    return JSONResponse(create_slot(body, principal, services.settings, services.object_store, time.time()))


def create_slot(
    body: UploadRequest, principal: Principal, settings: Settings, object_store: ObjectStoreClient, now: float
) -> UploadSlot:
    """Return a new slot for a file.

    Raises:
        RequestTooLargeError: the file is larger than the service accepts.
    """
    if body.size > settings.max_upload_bytes:
        raise RequestTooLargeError.for_field("size", f"must be at most {settings.max_file_size_mb} MiB")
    upload_id = mint_upload_id(settings.stemyard_install_id, principal.key_id)
    key = upload_key(settings.stemyard_install_id, principal.key_id, upload_id)
    url, headers = object_store.sign_put(key, body.size, body.content_type)
    return UploadSlot(upload_id=upload_id, url=url, headers=headers, expires_at=now + UPLOAD_SECONDS)
