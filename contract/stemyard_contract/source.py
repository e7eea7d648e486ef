"""Source of a separation: a search, a URL, an upload or an object of the bucket."""

from typing import Annotated

from pydantic import ConfigDict, Field

from stemyard_contract.patterns import HTTP_URL, QUERY_MESSAGE, SEARCH_QUERY, URL_MESSAGE
from stemyard_contract.resource import Resource, explained, rule


class UploadSource(Resource):
    """A file uploaded through the API."""

    id: Annotated[str, Field(min_length=36, max_length=36, pattern=r"^[0-9a-f-]{36}$")]
    """Id of the upload."""
    owner: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Id of the API key the upload belongs to."""
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Name of the file; the title of recordings without tags. It is not part of the track's identity."""


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

    search_query: (
        Annotated[
            str,
            Field(min_length=1, max_length=500, pattern=SEARCH_QUERY, json_schema_extra=explained(QUERY_MESSAGE)),
        ]
        | None
    ) = None
    """Search query, for example title and artist."""
    url: (
        Annotated[str, Field(min_length=8, max_length=2048, pattern=HTTP_URL, json_schema_extra=explained(URL_MESSAGE))]
        | None
    ) = None
    """URL of a media file, or of a video page of an allowed site."""
    upload: UploadSource | None = None
    """A file uploaded through the API."""
    object: ObjectSource | None = None
    """An object of the deployment's bucket."""


def display_query(source: Source) -> str:
    """Return a human-readable description of the source."""
    if source.upload is not None:
        return source.upload.name or f"upload {source.upload.id}"
    if source.object is not None:
        return f"object {source.object.key}"
    return source.search_query or source.url or ""


def title_of(source: Source, tagged: str | None) -> str | None:
    """Return the title of a recording: that of its tags or its site, else the name of the uploaded file."""
    return tagged or (source.upload.name if source.upload is not None else None)
