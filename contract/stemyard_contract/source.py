"""Source of a separation: a search, a URL, an upload or an object of the bucket."""

from typing import Annotated

from pydantic import ConfigDict, Field

from stemyard_contract.resource import Resource, rule


class UploadSource(Resource):
    """A file uploaded through the API."""

    id: Annotated[str, Field(min_length=36, max_length=36, pattern=r"^[0-9a-f-]{36}$")]
    """Id of the upload."""
    owner: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Id of the API key the upload belongs to."""


class ObjectSource(Resource):
    """An object of the deployment's bucket. It is only read, never deleted."""

    key: Annotated[str, Field(min_length=1, max_length=1024)]
    """Key of the object; it must start with a prefix that the deployment allows."""


class Source(Resource):
    """Where the audio comes from. Exactly one field is set."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "[has(self.searchQuery), has(self.url), has(self.upload), has(self.object)]"
                    ".filter(given, given).size() == 1",
                    "give exactly one of searchQuery, url, upload, object",
                )
            ]
        }
    )

    search_query: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """Search query, for example title and artist."""
    url: Annotated[str, Field(min_length=8, max_length=2048, pattern=r"^https?://[^\s]+$")] | None = None
    """URL of a media file, or of a video page of an allowed site."""
    upload: UploadSource | None = None
    """A file uploaded through the API."""
    object: ObjectSource | None = None
    """An object of the deployment's bucket."""


def display_query(source: Source) -> str:
    """Return a human-readable description of the source."""
    if source.upload is not None:
        return f"upload {source.upload.id}"
    if source.object is not None:
        return f"object {source.object.key}"
    return source.search_query or source.url or ""
