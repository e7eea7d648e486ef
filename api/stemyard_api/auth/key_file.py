"""The file of hashed API keys (API_KEYS_FILE): reads it, reloads it when it changes, creates entries for it."""

import asyncio
import logging
import random
import secrets
from collections.abc import Hashable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from yaml.constructor import ConstructorError

from stemyard_api.auth.api_keys import (
    DEFAULT_KEY_ID,
    HIGHEST_PRIORITY,
    KEY_ID,
    KeyEntry,
    KeyLimits,
    Keyring,
    Principal,
    Scope,
    digest,
)
from stemyard_api.settings import Settings, SettingsError
from stemyard_contract.validation import error_lines

RELOAD_SECONDS: Final = 5.0
"""Interval at which the file is checked for changes."""
_PREFIX: Final = "stemyard_"
_BYTES: Final = 32

_log = logging.getLogger(__name__)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class KeyLimitsEntry(_Strict):
    """Limits and highest priority of one key; absent ones are the deployment's."""

    submits_per_minute: Annotated[int, Field(ge=1)] | None = None
    reads_per_minute: Annotated[int, Field(ge=1)] | None = None
    concurrent: Annotated[int, Field(ge=1)] | None = None
    minutes_per_day: Annotated[float, Field(gt=0)] | None = None
    upload_mb_per_day: Annotated[int, Field(ge=1)] | None = None
    streams: Annotated[int, Field(ge=1)] | None = None
    priority: Annotated[int, Field(ge=-HIGHEST_PRIORITY, le=HIGHEST_PRIORITY)] | None = None


class KeyFileEntry(_Strict):
    """One key of the file."""

    id: Annotated[str, Field(pattern=KEY_ID)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: Annotated[list[Scope], Field(min_length=1)]
    expires_at: datetime | None = None
    limits: KeyLimitsEntry = KeyLimitsEntry()
    namespaces: list[Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]] = []

    def to_key_entry(self) -> KeyEntry:
        """Return the entry as the keyring holds it."""
        expires = self.expires_at
        if expires is not None and expires.tzinfo is None:
            expires = expires.replace(tzinfo=UTC)
        return KeyEntry(
            Principal(
                self.id, frozenset(self.scopes), KeyLimits(**self.limits.model_dump()), frozenset(self.namespaces)
            ),
            bytes.fromhex(self.sha256),
            expires.timestamp() if expires is not None else None,
        )


class KeyFile(_Strict):
    """The file: `keys`, a list of entries, in YAML or JSON."""

    keys: list[KeyFileEntry] = []


class KeyFileError(SettingsError):
    """The file of keys is invalid or unreadable."""


def parse(text: str) -> list[KeyEntry]:
    """Return the keys of a file's text.

    Raises:
        KeyFileError: the text is not a file of keys; the message names fields and repeats no value.
    """
    document = _load(text)
    try:
        entries = KeyFile.model_validate({} if document is None else document).keys
    except ValidationError as error:
        raise KeyFileError(f"API_KEYS_FILE: {'; '.join(error_lines(error))}") from None
    if any(entry.id == DEFAULT_KEY_ID for entry in entries):
        raise KeyFileError(f"API_KEYS_FILE: the id {DEFAULT_KEY_ID!r} belongs to API_SECRET_KEY; choose another")
    if any(bytes.fromhex(entry.sha256) == digest(b"") for entry in entries):
        raise KeyFileError("API_KEYS_FILE: a sha256 is that of an empty key; create an entry with `stemyard-api keys`")
    owners = {entry.sha256: entry.id for entry in entries}
    shared = sorted({entry.id for entry in entries if owners[entry.sha256] != entry.id})
    if shared:
        raise KeyFileError(f"API_KEYS_FILE: the sha256 of {', '.join(shared)} is also that of another id")
    return [entry.to_key_entry() for entry in entries]


class _Loader(yaml.SafeLoader):
    """Refuses a name that occurs twice in a mapping, where PyYAML drops the first: perhaps a whole list of keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [str(name.value) for name, _ in node.value]
        if len(set(names)) < len(names):
            raise ConstructorError(problem="a name occurs twice")
        return super().construct_mapping(node, deep)


def _load(text: str) -> object:
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError:
        raise KeyFileError("API_KEYS_FILE: not valid YAML or JSON, or a name occurs twice") from None
    except (ValueError, ArithmeticError, LookupError, AttributeError, RecursionError):
        # PyYAML lets through what its constructors raise, as for the 30th of February
        raise KeyFileError(
            "API_KEYS_FILE: has a value that YAML cannot read, such as a date that does not exist"
        ) from None


def read_entries(settings: Settings) -> list[KeyEntry]:
    """Return every key of the deployment: API_SECRET_KEY as `default` with every scope, and those of the file.

    Raises:
        KeyFileError: the file is missing or invalid.
    """
    secret, path = settings.api_secret_key, settings.api_keys_file
    entries = []
    if secret is not None:
        entries.append(KeyEntry(Principal(DEFAULT_KEY_ID), digest(secret.get_secret_value().encode())))
    if path is None:
        return entries
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"API_KEYS_FILE: cannot be read ({type(error).__name__})") from None
    return entries + parse(text)


def load_keyring(settings: Settings) -> Keyring:
    """Return the keys that open this API.

    Raises:
        KeyFileError: the file is invalid, or there is no key at all.
    """
    entries = read_entries(settings)
    if not entries and not settings.stemyard_insecure_dev:
        raise KeyFileError("API_KEYS_FILE: holds no key, and API_SECRET_KEY is not set")
    return Keyring(entries, open_to_all=settings.stemyard_insecure_dev)


async def watch_key_file(settings: Settings, keyring: Keyring) -> None:
    """Reload the file when it changes, until cancelled; an invalid file changes nothing."""
    complaint = ""
    while settings.api_keys_file is not None:
        await asyncio.sleep(RELOAD_SECONDS * random.uniform(0.8, 1.2))
        try:
            entries = await asyncio.to_thread(read_entries, settings)
        except KeyFileError as error:
            if str(error) != complaint:
                complaint = str(error)
                _log.error("the API keys were not reloaded", extra={"cause": complaint})
            continue
        complaint = ""
        if tuple(entries) != keyring.entries:
            keyring.replace(entries)
            _log.info("the API keys were reloaded", extra={"keys": len(entries)})


def create_entry(key_id: str, scopes: Sequence[Scope], namespaces: Sequence[str] = ()) -> tuple[str, KeyFileEntry]:
    """Return a new random key and its entry for the file.

    Raises:
        ValidationError: the id or a namespace cannot be used.
    """
    key = _PREFIX + secrets.token_urlsafe(_BYTES)
    sha256 = digest(key.encode()).hex()
    return key, KeyFileEntry(id=key_id, sha256=sha256, scopes=list(scopes), namespaces=list(namespaces))
