"""Authorization: which tracks a key may see and which it may change. Pure."""

from stemyard_api.auth.api_keys import Principal
from stemyard_api.errors import ForbiddenError, TrackNotFoundError
from stemyard_contract.mirror import MirrorRecord


def belongs(record: MirrorRecord, principal: Principal) -> bool:
    """Return whether the key has a claim on the track, or the track is for this key only."""
    return principal.key_id in record.claims or record.owner == principal.key_id


def named_namespace(track_id: str) -> str | None:
    """Return the namespace in the id of a kubectl user's track, None in the id of a track requested here."""
    namespace, dot, _ = track_id.partition(".")
    return namespace if dot else None


def namespace_visible(track_id: str, principal: Principal) -> bool:
    """Whether the key may see tracks of the namespace in this id.

    Such ids can be guessed, so not even their existence is revealed; tracks requested here are decided by `visible`.
    """
    namespace = named_namespace(track_id)
    return namespace is None or principal.is_admin or namespace in principal.namespaces


def visible(record: MirrorRecord, principal: Principal, *, shared: bool) -> bool:
    """Whether the key may see this track; an admin sees all.

    A kubectl user's track is seen by keys whose entry names its namespace. Of the tracks requested here a key sees
    any where results are shared, else its own.
    """
    if principal.is_admin:
        return True
    if named_namespace(record.track_id) is not None:
        return namespace_visible(record.track_id, principal)
    return shared or belongs(record, principal)


def listed(record: MirrorRecord, principal: Principal) -> bool:
    """Whether the key's own list has this track: it requested it, or its entry names the track's namespace."""
    namespace = named_namespace(record.track_id)
    return principal.key_id in record.claims if namespace is None else namespace in principal.namespaces


def check_visible(record: MirrorRecord, principal: Principal, *, shared: bool) -> None:
    """Check that the key may see a track.

    Raises:
        TrackNotFoundError: it may not, nor learn that the track exists.
    """
    if not visible(record, principal, shared=shared):
        raise TrackNotFoundError


def check_changeable(record: MirrorRecord, principal: Principal, *, shared: bool) -> None:
    """Check that the key may end a track.

    Raises:
        TrackNotFoundError: the key may not see it.
        ForbiddenError: it may see it, but has no claim on it.
    """
    check_visible(record, principal, shared=shared)
    if not principal.is_admin and not belongs(record, principal):
        raise ForbiddenError("This API key has no claim on this track.")
