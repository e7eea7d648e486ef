"""Ephemeral storage of a stage: from the limits for fetch, from the length of the audio for separate; more if an
attempt was evicted. Pure."""

from typing import Final

from stemyard_contract.handover import SAMPLE_RATE, WorkStage
from stemyard_contract.separationjob import Output
from stemyard_operator.config.profiles import quantity_bytes
from stemyard_operator.config.settings import Settings
from stemyard_operator.model.separation import Separation

_CHANNELS: Final = 2
_FLAC_BYTES: Final = SAMPLE_RATE * _CHANNELS * 3
"""Bytes per second of 24-bit FLAC in the worst case, without compression."""
_SPOOL_BYTES: Final = SAMPLE_RATE * _CHANNELS * 3
"""Bytes per second of the spool of a stem: 24-bit integers."""
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
    return int(seconds * (_FLAC_BYTES + stems * (_SPOOL_BYTES + output.most_bytes_per_second))) + _RESERVE


def workspace(separation: Separation, stage: WorkStage, settings: Settings) -> int:
    """Return the storage in bytes that a stage needs for its files."""
    if stage is WorkStage.FETCH:
        return fetch_workspace(settings.max_bytes, settings.max_duration_seconds)
    source, longest = separation.status.source, settings.max_duration_seconds
    # a fetch pod that was taken over may state any duration
    seconds = min(source.duration, longest) if source and source.duration is not None else longest
    return separate_workspace(seconds, len(separation.spec.stems), separation.spec.output)


def first_disk(separation: Separation, stage: WorkStage, settings: Settings) -> int:
    """Return the ephemeral storage of the first attempt in bytes: the profile's, else what the stage needs."""
    own = settings.profiles[separation.spec.profile].stage(stage).disk
    return own if own is not None else workspace(separation, stage, settings)


def disk_growth(separation: Separation, stage: WorkStage, settings: Settings) -> int:
    """Return the bytes that the next attempt gets beyond the first, after an attempt exceeded its own."""
    attempts = separation.status.attempts
    if attempts is None or attempts.ephemeral_storage is None:
        return 0
    return max(0, quantity_bytes(attempts.ephemeral_storage) - first_disk(separation, stage, settings))


def flac_bytes(seconds: float) -> int:
    """Return the maximum size in bytes of 24-bit FLAC of this length, headers included."""
    return int(seconds * _FLAC_BYTES * _FRAMING) + _HEADERS


def encoded_bytes(seconds: float, output: Output) -> int:
    """Return the maximum size in bytes of one encoded stem of this length, headers included."""
    return int(seconds * output.most_bytes_per_second * _FRAMING) + _HEADERS


def mebibytes(amount: int) -> str:
    """Return a number of bytes as a Kubernetes quantity in Mi, rounded up."""
    return f"{-(-amount // 2**20)}Mi"
