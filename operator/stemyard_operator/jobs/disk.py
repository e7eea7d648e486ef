"""How much disk a stage needs: from the limits for fetch, from the length of the audio for separate. Pure."""

from typing import Final

from stemyard_contract.handover import SAMPLE_RATE
from stemyard_contract.separationjob import Output

_CHANNELS: Final = 2
_FLAC_BYTES: Final = SAMPLE_RATE * _CHANNELS * 3
"""Bytes a second of 24-bit FLAC at worst: no compression at all."""
_FLOAT_BYTES: Final = SAMPLE_RATE * _CHANNELS * 4
"""Bytes a second of one stem's 32-bit spool."""
_SLACK: Final = 192 * 1024 * 1024
"""Logs, temporary files and rounding."""
_DOWNLOADS: Final = 3
"""A download, its parts before they are joined, and its remuxed form may lie side by side."""

_FRAMING: Final = 1.05
_HEADERS: Final = 1024 * 1024
"""Tags and cover art at most."""


def fetch_workspace(max_bytes: int, max_seconds: float) -> int:
    """Return the bytes of disk that fetch may use for the largest input that is accepted."""
    return _DOWNLOADS * max_bytes + int(max_seconds * _FLAC_BYTES) + _SLACK


def separate_workspace(seconds: float, stems: int, output: Output) -> int:
    """Return the bytes of disk that separating audio of this length into this many stems may use."""
    return int(seconds * (_FLAC_BYTES + stems * (_FLOAT_BYTES + output.most_bytes_per_second))) + _SLACK


def flac_bytes(seconds: float) -> int:
    """Return the bytes that 24-bit FLAC of this length cannot exceed, headers included."""
    return int(seconds * _FLAC_BYTES * _FRAMING) + _HEADERS


def encoded_bytes(seconds: float, output: Output) -> int:
    """Return the bytes that one encoded stem of this length cannot exceed, headers included."""
    return int(seconds * output.most_bytes_per_second * _FRAMING) + _HEADERS


def mebibytes(amount: int) -> str:
    """Return bytes as a Kubernetes quantity, rounded up."""
    return f"{-(-amount // 2**20)}Mi"
