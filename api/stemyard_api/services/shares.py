"""Share links: anyone who has one reads one track's result, until the link expires or is revoked.

Nothing is stored for a link: its token says which track and until when. Revoking is recorded in the SeparationJob.
"""

import time
from dataclasses import dataclass
from typing import Final

from stemyard_api.auth.api_keys import Principal
from stemyard_api.auth.authorization import check_visible
from stemyard_api.auth.share_tokens import ShareTokens
from stemyard_api.errors import (
    NotConfiguredError,
    ShareEndedError,
    TrackNotCompletedError,
    TrackNotFoundError,
)
from stemyard_api.schemas.responses import SharedResult
from stemyard_api.services.links import LinkBuilder
from stemyard_api.services.placement_rules import is_hit
from stemyard_api.services.rendering import shared_result
from stemyard_api.services.tracks import Tracks
from stemyard_api.settings import Settings
from stemyard_contract.mirror import MirrorRecord

DEFAULT_SECONDS: Final = 7 * 24 * 3600
"""Lifetime of a share link, unless the deployment's maximum is shorter."""
SHARED_LINK_SECONDS: Final = 3600
"""Lifetime of the links to stems in a shared result: they outlive the share link by no more."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Issues and follows share links."""

    settings: Settings
    tracks: Tracks
    tokens: ShareTokens
    links: LinkBuilder

    async def completed(self, track_id: str, principal: Principal) -> MirrorRecord:
        """Return a completed track that a key may see.

        Raises:
            TrackNotFoundError: there is no such track for this key.
            TrackNotCompletedError: it is not completed.
            UnavailableError: neither the mirror nor the API server responds.
        """
        record = (await self.tracks.find(track_id)).record
        check_visible(record, principal, shared=self.settings.results_shared)
        if not is_hit(record):
            raise TrackNotCompletedError
        return record

    async def issue(self, track_id: str, principal: Principal, seconds: int | None) -> tuple[str, int]:
        """Return a new token for a completed track, and when it expires (epoch seconds); raises as `completed` does.

        Args:
            track_id: id of the track.
            principal: the caller.
            seconds: lifetime, at most the deployment's maximum; None is the default.

        Raises:
            NotConfiguredError: the deployment has no secret for share links, or disables them.
        """
        if not self.tokens.enabled:
            raise NotConfiguredError("This service does not share results.")
        record = await self.completed(track_id, principal)
        lifetime = min(DEFAULT_SECONDS if seconds is None else seconds, self.settings.share_max_seconds)
        expires_at = int(min(time.time() + lifetime, record.expires_at or float("inf")))
        return self.tokens.issue(track_id, record.uid, record.shares_revoked, expires_at), expires_at

    async def follow(self, token: str) -> tuple[MirrorRecord, int]:
        """Return the completed track of a token, and when the token expires (epoch seconds).

        Raises:
            ShareNotFoundError: the token was not issued here.
            ShareEndedError: it has expired or was revoked, or its track was deleted.
            TrackNotCompletedError: another run of the track is under way or has failed.
            UnavailableError: neither the mirror nor the API server responds.
        """
        share = self.tokens.read(token)
        if share.expires_at <= time.time():
            raise ShareEndedError
        try:
            record = (await self.tracks.find(share.track_id)).record
        except TrackNotFoundError:
            raise ShareEndedError from None
        if not share.is_of(record.uid, record.shares_revoked):
            raise ShareEndedError
        if not is_hit(record):
            raise TrackNotCompletedError
        return record, share.expires_at

    async def result(self, token: str) -> SharedResult:
        """Return the result that a token shares; raises as `follow` does."""
        record, expires_at = await self.follow(token)
        return shared_result(record, self.links.links_for(record, time.time()), expires_at)
