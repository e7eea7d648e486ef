"""Archive of a track's stems: a ZIP file, made while it is sent.

The stems are stored, not deflated: audio files do not become smaller. What is in memory is one part of one stem.
Source: PKWARE APPNOTE 6.3 (data descriptors, as checksums follow the data; ZIP64 from 4 GiB).
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from io import RawIOBase
from typing import Final
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from stemyard_api.clients.s3_reader import ObjectReader
from stemyard_contract.download_name import attachment, song_name, stem_name
from stemyard_contract.mirror import MirrorRecord
from stemyard_contract.separationjob import Stem

PART_BYTES: Final = 256 * 1024
"""Bytes that are read from the store and sent at a time."""
_PERMISSIONS: Final = 0o644 << 16


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the archive: its name, and the key of its object."""

    name: str
    key: str


def entries_of(record: MirrorRecord) -> list[Entry]:
    """Return the files of a completed track."""
    return [
        Entry(stem_name(record.title, record.artist, record.track_id, stem, key.rpartition(".")[2]), key)
        for stem in Stem
        if (key := record.stem_keys.get(stem)) is not None
    ]


def archive_disposition(record: MirrorRecord) -> str:
    """Return the Content-Disposition of a track's archive."""
    return attachment(f"{song_name(record.title, record.artist, record.track_id)}.zip")


async def archive(reader: ObjectReader, entries: Sequence[Entry], modified: float) -> AsyncIterator[bytes]:
    """Yield the archive in parts; the first one when the first object is open.

    Args:
        reader: the object store.
        entries: the files.
        modified: their time, in epoch seconds.

    Raises:
        ObjectMissingError: an object does not exist.
        ObjectStoreUnavailableError: the store does not respond.
    """
    sink = _Sink()
    with ZipFile(sink, "w", ZIP_STORED) as file:
        for entry in entries:
            with closing(await reader.open(entry.key)) as body:
                header = ZipInfo(entry.name, time.gmtime(max(0.0, modified))[:6])
                header.file_size, header.external_attr = body.size, _PERMISSIONS
                with file.open(header, "w") as target:
                    yield sink.take()
                    while part := await body.read(PART_BYTES):
                        target.write(part)
                        yield sink.take()
    yield sink.take()


class _Sink(RawIOBase):
    """Keeps what is written until it is taken; without positions, so that nothing written is changed later."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override] # zipfile writes only bytes
        """Keep some bytes."""
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Return what was written since."""
        taken, self._parts = b"".join(self._parts), []
        return taken
