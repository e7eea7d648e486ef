"""Links to stems: permanent with a public domain, else signed once and cached for half their lifetime."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from stemyard_api.clients.s3 import STEM_LINK_SECONDS, ObjectStoreClient
from stemyard_api.errors import MisconfiguredError
from stemyard_api.services.rendering import StemLinks
from stemyard_contract.download_name import disposition
from stemyard_contract.mirror import MirrorRecord
from stemyard_contract.separationjob import Stem

_CACHE_SIZE: Final = 10_000


class LinkBuilder:
    """Creates links, and caches signed ones in this process only: never in Redis, a SeparationJob or a log."""

    def __init__(
        self, object_store: ObjectStoreClient | None, public_domain: str | None, seconds: int = STEM_LINK_SECONDS
    ) -> None:
        self._object_store = object_store
        self._public = public_domain
        self._seconds = seconds
        self._cache: OrderedDict[tuple[str, int], tuple[float, StemLinks]] = OrderedDict()
        """Until when they are handed out, in epoch seconds, and the links."""

    def links_for(self, record: MirrorRecord, now: float) -> StemLinks:
        """Return the links to a completed track's stems.

        Args:
            record: the track.
            now: epoch seconds.

        Raises:
            MisconfiguredError: there is neither a public domain nor an object store.
            ObjectStoreUnavailableError: there are no credentials to sign by.
        """
        if self._public is not None:
            return StemLinks(self._open(record.stem_keys), record.expires_at, self._open(record.peaks_keys))
        identity = (record.uid, record.status_run)
        until, links = self._cache.get(identity, (float("-inf"), None))
        if links is None or now > until:
            object_store = self._object_store
            if object_store is None:
                raise MisconfiguredError("No object store is configured, so there are no links to the stems.")
            seconds = object_store.link_seconds(self._seconds)
            links = _sign(object_store, record, now, seconds)
            self._store(identity, now + seconds / 2, links)
        return links

    def _open(self, keys: Mapping[Stem, str]) -> Mapping[Stem, str]:
        return {stem: f"{self._public}/{quote(key)}" for stem, key in keys.items()}

    def _store(self, identity: tuple[str, int], until: float, links: StemLinks) -> None:
        self._cache[identity] = (until, links)
        self._cache.move_to_end(identity)
        if len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)


def _sign(object_store: ObjectStoreClient, record: MirrorRecord, now: float, seconds: int) -> StemLinks:
    urls = {
        stem: object_store.sign_get(key, _disposition(record, stem, key), seconds)
        for stem, key in record.stem_keys.items()
    }
    peaks = {stem: object_store.sign_get(key, None, seconds) for stem, key in record.peaks_keys.items()}
    expiry = now + seconds
    return StemLinks(urls, expiry if record.expires_at is None else min(expiry, record.expires_at), peaks)


def _disposition(record: MirrorRecord, stem: Stem, key: str) -> str:
    return disposition(record.title, record.artist, record.track_id, stem, key.rpartition(".")[2])
