"""Objects of the deployment's bucket as sources: which keys may be requested. Pure."""

import unicodedata
from collections.abc import Iterable
from typing import Final

KEY_LIMIT: Final = 1024
"""Bytes of an object key (S3)."""


class ObjectKeyError(ValueError):
    """The key or prefix cannot be used; the message says what to change."""


def check_object_key(key: str) -> str:
    """Return the key if it is unambiguous in every object store.

    Some stores keep objects as files: they resolve `a/../b` and `a//b` to other objects.

    Raises:
        ObjectKeyError: it is empty, too long, holds control characters, or an empty, `.` or `..` part.
    """
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise ObjectKeyError("must be valid Unicode") from None
    if not 0 < size <= KEY_LIMIT:
        raise ObjectKeyError(f"must have 1 to {KEY_LIMIT} bytes as UTF-8; it has {size}")
    if any(unicodedata.category(character) == "Cc" for character in key):
        raise ObjectKeyError("must not contain control characters")
    if any(part in {"", ".", ".."} for part in key.split("/")):
        raise ObjectKeyError("must not begin or end with a slash, nor have an empty, `.` or `..` part")
    return key


def check_prefixes(prefixes: Iterable[str], install_id: str) -> tuple[str, ...]:
    """Return the prefixes below which objects may be requested, each with a trailing slash.

    Raises:
        ObjectKeyError: a prefix is invalid, or contains the objects of this installation.
    """
    checked = tuple(check_object_key(prefix.removesuffix("/")) + "/" for prefix in prefixes)
    for prefix in checked:
        if installation_of(prefix) == install_id:
            raise ObjectKeyError(f"{prefix} is where this installation keeps its own objects")
    return checked


def allows(prefixes: Iterable[str], key: str, install_id: str) -> bool:
    """Return whether a key is below one of the checked prefixes and outside this installation's own objects."""
    try:
        check_object_key(key)
    except ObjectKeyError:
        return False
    return installation_of(key) != install_id and key.startswith(tuple(prefixes))


def installation_of(key: str) -> str:
    """Return the first segment of a key: the installation id if the key belongs to an installation."""
    return key.partition("/")[0]


def owner_key(install_id: str) -> str:
    """Return the key of the object that marks the prefix of an installation as its own."""
    return f"{install_id}/owner.json"
