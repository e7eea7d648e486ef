"""Parses the pages of an S3 listing. Pure."""

from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from stemyard_operator.errors import ObjectStoreError

_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page of a listing."""

    sizes: dict[str, int]
    """Sizes in bytes by key."""
    token: str | None
    """Continuation token of the next page; None on the last page."""


def parse_xml(content: bytes) -> ElementTree.Element | None:
    """Return the root element of a document, None if it is not XML."""
    try:
        return ElementTree.fromstring(content)  # noqa: S314 - the deployment's own store
    except (ElementTree.ParseError, LookupError, ValueError):  # the last two: an encoding that Python does not have
        return None


def parse_page(content: bytes, prefix: str) -> ListingPage:
    """Return a page of the listing of a prefix (ListObjectsV2).

    What is absent from a listing is treated as lost, and what is in it may be deleted: anything that is not a
    listing of exactly this prefix is an error, such as the HTML page of a proxy.

    Raises:
        ObjectStoreError: the response is not such a page.
    """
    root = parse_xml(content)
    if root is None or root.tag.rpartition("}")[2] != "ListBucketResult":
        shown = content[:_SHOWN].decode(errors="replace")
        raise ObjectStoreError(f"object store: the response to a listing is not a ListBucketResult: {shown!r}")
    truncated, token = root.findtext("{*}IsTruncated"), root.findtext("{*}NextContinuationToken")
    if truncated not in {"true", "false"} or (truncated == "true" and not token):
        raise ObjectStoreError(f"object store: a listing of {prefix} does not say how it continues")
    sizes = dict(_entry(entry, prefix) for entry in root.iterfind("{*}Contents"))
    return ListingPage(sizes, token if truncated == "true" else None)


def _entry(entry: ElementTree.Element, prefix: str) -> tuple[str, int]:
    key, size = entry.findtext("{*}Key", ""), entry.findtext("{*}Size", "")
    if not key.startswith(prefix) or not size.isdecimal():
        raise ObjectStoreError(f"object store: a listing of {prefix} has an entry with key {key!r} and size {size!r}")
    return key, int(size)
