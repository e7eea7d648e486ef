"""Authorization: which tracks a key may see and which it may change. Pure."""

from stemyard_api.auth.api_keys import Principal
from stemyard_api.errors import ForbiddenError, TrackNotFoundError
from stemyard_contract.mirror import MirrorRecord


def belongs(record: MirrorRecord, principal: Principal) -> bool:
    """Return whether the key has a claim on the track, or the track is for this key only."""
    return principal.key_id in record.claims or record.owner == principal.key_id


def visible(record: MirrorRecord, principal: Principal, *, shared: bool) -> bool:
    """Whether the key may see this track: any where results are shared, else its own; an admin sees all."""
    return shared or principal.is_admin or belongs(record, principal)


def check_visible(record: MirrorRecord, principal: Principal, *, shared: bool) -> None:
    """Pass a track the key may see.

    Raises:
        TrackNotFoundError: it may not even know that there is one.
    """
    if not visible(record, principal, shared=shared):
        raise TrackNotFoundError


def check_changeable(record: MirrorRecord, principal: Principal, *, shared: bool) -> None:
    """Pass a track the key may end.

    Raises:
        TrackNotFoundError: the key may not see it.
        ForbiddenError: it may see it, and never asked for it or has withdrawn.
    """
    check_visible(record, principal, shared=shared)
    if not principal.is_admin and not belongs(record, principal):
        raise ForbiddenError("This API key has no claim on this track.")
