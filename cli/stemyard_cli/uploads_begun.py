"""Remembers for a day which files were uploaded, so that a repeated command continues or reuses the upload."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_LONGEST_SECONDS: Final = 24 * 3600.0


def state_file(environment: Mapping[str, str]) -> Path:
    """Return the file in the user's state folder."""
    base = environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "stemyard" / "uploads.json"


class UploadsBegun:
    """Ids of uploads by installation and file. What cannot be read or written is only not remembered.

    Args:
        path: the state file.
        url: address of the installation.
    """

    def __init__(self, path: Path, url: str) -> None:
        self._path, self._url = path, url

    def get(self, file: Path) -> str | None:
        """Return the id of the upload that was begun for a file as it is now."""
        return self._read().get(self._key(file), {}).get("id")

    def remember(self, file: Path, upload_id: str) -> None:
        """Store the id of an upload."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.with_name(f".{self._path.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                known = {**self._read(), self._key(file): {"id": upload_id, "at": time.time()}}
                draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
                draft.write_text(json.dumps(known))
                draft.replace(self._path)
        except OSError:
            return

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            known = json.loads(self._path.read_text())
            return {key: entry for key, entry in known.items() if time.time() - entry["at"] < _LONGEST_SECONDS}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def _key(self, file: Path) -> str:
        at = file.stat()
        identity = f"{self._url}\n{file.resolve()}\n{at.st_size}\n{at.st_mtime_ns}"
        return hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()
