"""Which objects of the bucket a sweep judges: those that belong to a namespace that is watched now. Pure."""

from dataclasses import dataclass
from typing import Final, Self

from pydantic import BaseModel, Field

from stemyard_contract.handover import Room
from stemyard_contract.identity import is_track_id
from stemyard_operator.config.settings import Settings

_ROOMS: Final = frozenset(map(str, Room))


@dataclass(frozen=True, slots=True)
class Scope:
    """The namespaces and the installation of a sweep."""

    install_id: str
    namespaces: frozenset[str]
    api_namespace: str
    """Namespace of the API's tracks and uploads, whose keys contain no namespace."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the scope of an installation."""
        return cls(settings.stemyard_install_id, frozenset(settings.namespaces), settings.api_namespace)

    def prefix(self, key: str) -> str | None:
        """Return the prefix that an object is removed with, None for one outside the swept rooms."""
        parts = key.split("/", 4)
        if len(parts) < 5 or parts[0] != self.install_id or parts[1] not in _ROOMS:
            return None
        return "/".join(parts[:4]) + "/"

    def includes(self, prefix: str) -> bool:
        """Return whether the namespace that a prefix belongs to is known from its key, and watched."""
        if names_namespace(prefix):
            return track_in(prefix).partition(".")[0] in self.namespaces
        known = room_in(prefix) == Room.UPLOADS or is_track_id(track_in(prefix))
        return known and self.api_namespace in self.namespaces

    def includes_result(self, manifest: bytes | None) -> bool:
        """Return whether a manifest names no namespace, or one that is watched."""
        try:
            request = _Manifest.model_validate_json(manifest or b"{}").request
        except ValueError:
            return True
        return request is None or request.namespace in self.namespaces


class _Request(BaseModel):
    namespace: str


class _Manifest(BaseModel):
    """The part of a manifest, of any version, that names the namespace."""

    request: _Request | None = Field(default=None, alias="asked")


def names_namespace(prefix: str) -> bool:
    """Return whether a prefix contains its namespace: in `stems` and `work`, unless the API requested the track."""
    return room_in(prefix) != Room.UPLOADS and "." in track_in(prefix)


def room_in(prefix: str) -> str:
    """Return the room of a swept prefix."""
    return prefix.split("/", 2)[1]


def track_in(prefix: str) -> str:
    """Return the track id in a swept prefix; in `uploads` it is the id of an API key."""
    return prefix.split("/", 3)[2]
