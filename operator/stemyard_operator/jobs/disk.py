"""Ephemeral storage of a stage: from the limits for fetch, from the length of the audio for separate. Pure."""

from typing import Final

from stemyard_contract.handover import SAMPLE_RATE
from stemyard_contract.separationjob import Output

_CHANNELS: Final = 2
_FLAC_BYTES: Final = SAMPLE_RATE * _CHANNELS * 3
"""Bytes per second of 24-bit FLAC in the worst case, without compression."""
_FLOAT_BYTES: Final = SAMPLE_RATE * _CHANNELS * 4
"""Bytes per second of the 32-bit spool of one stem."""
_RESERVE: Final = 192 * 1024 * 1024
"""Logs, temporary files and rounding."""
_DOWNLOADS: Final = 3
"""A download, its unmerged parts and its remuxed form may exist at the same time."""

_FRAMING: Final = 1.05
_HEADERS: Final = 1024 * 1024
"""Upper bound of tags and cover art, in bytes."""


def fetch_workspace(max_bytes: int, max_seconds: float) -> int:
    """Return the storage in bytes that fetch needs for the largest accepted input."""
    return _DOWNLOADS * max_bytes + int(max_seconds * _FLAC_BYTES) + _RESERVE


def separate_workspace(seconds: float, stems: int, output: Output) -> int:
    """Return the storage in bytes that separate needs for audio of this length and number of stems."""
    return int(seconds * (_FLAC_BYTES + stems * (_FLOAT_BYTES + output.most_bytes_per_second))) + _RESERVE


def flac_bytes(seconds: float) -> int:
    """Return the maximum size in bytes of 24-bit FLAC of this length, headers included."""
    return int(seconds * _FLAC_BYTES * _FRAMING) + _HEADERS


def encoded_bytes(seconds: float, output: Output) -> int:
    """Return the maximum size in bytes of one encoded stem of this length, headers included."""
    return int(seconds * output.most_bytes_per_second * _FRAMING) + _HEADERS


def mebibytes(amount: int) -> str:
    """Return a number of bytes as a Kubernetes quantity in Mi, rounded up."""
    return f"{-(-amount // 2**20)}Mi"
