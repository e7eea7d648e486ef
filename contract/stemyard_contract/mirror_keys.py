"""The Redis keys of the mirror, and of what the API keeps beside it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MirrorKeys:
    """Redis keys of one installation."""

    install_id: str

    def record(self, track: str) -> str:
        """Key of a track's record: JSON of a MirrorRecord."""
        return f"stemyard:{self.install_id}:track:{track}"

    def version(self, track: str) -> str:
        """Key of a hash with `uid`, `version` and `created` of the record, used to reject older writes."""
        return f"stemyard:{self.install_id}:version:{track}"

    def progress(self, track: str) -> str:
        """Key of a track's newest progress: JSON of a ProgressRecord."""
        return f"stemyard:{self.install_id}:progress:{track}"

    def request(self, track: str) -> str:
        """Key of the API's last request: JSON of a RequestRecord. Written by the API only."""
        return f"stemyard:{self.install_id}:asked:{track}"

    def idempotency(self, key_id: str, digest: str) -> str:
        """Key of the request bound to an Idempotency-Key, by its SHA-256. Written by the API only."""
        return f"stemyard:{self.install_id}:idempotency:{key_id}:{digest}"

    def events(self, track: str) -> str:
        """Stream of a track's events, each an EventRecord as JSON in the field `event`. Written by the operator.

        The script that appends an event also publishes the track's id on `changes`.
        """
        return f"stemyard:{self.install_id}:events:{track}"

    def attempts(self, track: str) -> str:
        """Stream of the attempts at a track's webhooks, each an AttemptRecord as JSON. Written by the operator."""
        return f"stemyard:{self.install_id}:attempts:{track}"

    @property
    def changes(self) -> str:
        """Channel on which the ids of tracks with new events are published."""
        return f"stemyard:{self.install_id}:changes"

    def rate(self, key_id: str) -> str:
        """Key of the rate limit state of an API key. Written by the API only, like the two below."""
        return f"stemyard:{self.install_id}:rate:{key_id}"

    def under_way(self, key_id: str) -> str:
        """Sorted set of the tracks that count against an API key's quota, by time of the request."""
        return f"stemyard:{self.install_id}:under-way:{key_id}"

    def minutes(self, key_id: str, day: str) -> str:
        """Key of the minutes of audio that an API key used on a day, `YYYY-MM-DD` in UTC."""
        return f"stemyard:{self.install_id}:minutes:{key_id}:{day}"

    def uploaded(self, key_id: str, day: str) -> str:
        """Key of the bytes of uploads that an API key announced on a day, as above. Written by the API only."""
        return f"stemyard:{self.install_id}:uploaded:{key_id}:{day}"

    @property
    def queue(self) -> str:
        """Sorted set of queued tracks by `queue_score` of their record: priority, then creation time."""
        return f"stemyard:{self.install_id}:queue"

    @property
    def pace(self) -> str:
        """Hash of measured throughput, with the fields that `mirror` names. Written by the operator."""
        return f"stemyard:{self.install_id}:pace"

    @property
    def tracks(self) -> str:
        """Sorted set of all tracks by creation time."""
        return f"stemyard:{self.install_id}:tracks"

    @property
    def activity(self) -> str:
        """Sorted set of all tracks by their state, then time, as in `activity`. Written by the operator."""
        return f"stemyard:{self.install_id}:activity"

    def tracks_of_key(self, key_id: str) -> str:
        """Sorted set of the tracks that an API key claims, by creation time. Written by the operator."""
        return f"stemyard:{self.install_id}:tracks-of-key:{key_id}"

    def tracks_of_namespace(self, namespace: str) -> str:
        """Sorted set of a namespace's tracks that were made with kubectl, by creation time. Written by the operator."""
        return f"stemyard:{self.install_id}:tracks-of-namespace:{namespace}"

    @property
    def tracks_divided(self) -> str:
        """Key that exists while the sets above are complete: an older operator does not write them, or not all."""
        return f"stemyard:{self.install_id}:tracks-divided"

    def upload_name(self, key_id: str, upload_id: str) -> str:
        """Key of the name of an API key's uploaded file. Written by the API only, like that below."""
        return f"stemyard:{self.install_id}:upload-name:{key_id}:{upload_id}"

    def batch(self, key_id: str, batch_id: str) -> str:
        """Set of the tracks of a batch of an API key."""
        return f"stemyard:{self.install_id}:batch:{key_id}:{batch_id}"
