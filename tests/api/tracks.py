"""Tracks in every state, as resources, mirror records and progress records."""

from datetime import UTC, datetime, timedelta
from typing import Any

from stemyard_contract.handover import WorkStage
from stemyard_contract.mirror import MirrorRecord, ProgressRecord
from stemyard_contract.separationjob import FailureStatus, Phase, Stem

TRACK = "7a1e0f0e-8d0c-5b9f-9a55-0d7c6f1b2a34"
TOKEN = "0123456789abcdef" * 2
"""In the keys of the pod that wrote the stems."""
CREATED = 1234567890.0
KEYS = {
    Stem.VOCALS: f"main/stems/{TRACK}/{TOKEN}/vocals.mp3",
    Stem.INSTRUMENTAL: f"main/stems/{TRACK}/{TOKEN}/instrumental.mp3",
}


def record(**changes: Any) -> MirrorRecord:
    values: dict[str, Any] = {
        "track_id": TRACK,
        "namespace": "stemyard",
        "name": f"sep-{TRACK}",
        "uid": "u1",
        "resource_version": 7,
        "created": CREATED,
        "generation": 1,
        "observed_generation": 1,
        "run": 1,
        "status_run": 1,
        "phase": Phase.PENDING,
        "query": "Song Title Artist",
        "model": "spleeter-2stems",
        "cache_key": "k",
        "claims": ["default"],
        "metadata": {"default": '{"order":7}', "other": '{"secret":1}'},
    }
    return MirrorRecord(**{**values, **changes})


def known(**changes: Any) -> MirrorRecord:
    found = {
        "title": "Song Title",
        "artist": "Artist",
        "channel": "Channel",
        "duration": 217.4,
        "started_at": 1234567891.0,
    }
    return record(**{**found, **changes})


def completed(**changes: Any) -> MirrorRecord:
    end = {"phase": Phase.COMPLETED, "ended_at": 1234567921.5, "stem_keys": KEYS, "expires_at": 1234567921.5 + 2592000}
    return known(**{**end, **changes})


def failed(**changes: Any) -> MirrorRecord:
    failure = FailureStatus(
        code="SOURCE_NOT_FOUND", stage="fetch", message="No recording matches this query.", retryable=False
    )
    end = {
        "phase": Phase.FAILED,
        "started_at": 1234567891.0,
        "ended_at": 1234567895.0,
        "failure": failure,
        "progress": 3,
    }
    return record(**{**end, **changes})


def progress(**changes: Any) -> ProgressRecord:
    values: dict[str, Any] = {
        "uid": "u1",
        "run": 1,
        "stage": WorkStage.SEPARATE,
        "attempt": 1,
        "sequence": 4,
        "progress": 42.5,
        "step": "separate",
        "at": CREATED + 10,
    }
    return ProgressRecord(**{**values, **changes})


def condition(kind: str, status: str, reason: str = "Because") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": "2026-01-02T03:04:06Z"}


ENDED = datetime(2026, 1, 2, 3, 4, 36, tzinfo=UTC)


def _times(ended: datetime) -> dict[str, str]:
    return {"startedAt": (ended - timedelta(seconds=30)).isoformat(), "finishedAt": ended.isoformat()}


def status_completed(run: int = 1, track: str = TRACK, ended: datetime = ENDED) -> dict[str, Any]:
    """The status that the operator writes when both stems are published."""
    stems = {
        stem: {"key": f"main/stems/{track}/{TOKEN}/{stem}.mp3", "bytes": 9, "sha256": "0" * 64, "duration": 1.0}
        for stem in (Stem.VOCALS, Stem.INSTRUMENTAL)
    }
    return {
        "run": run,
        "conditions": [condition("Complete", "True")],
        **_times(ended),
        "source": {"title": "Song/Title", "artist": "Artist", "duration": 1.0},
        "result": {
            "stems": stems,
            "manifestKey": f"main/stems/{track}/{TOKEN}/manifest.json",
            "model": "spleeter-2stems",
            "modelDigest": "sha256:0",
            "realTimeFactor": 0.1,
            "device": "cpu",
        },
    }


def status_failed(run: int = 1, *, cancelled: bool = False) -> dict[str, Any]:
    """The status that the operator writes when a run ends without a result."""
    reason = "Cancelled" if cancelled else "SourceNotFound"
    failure = {"code": "SOURCE_NOT_FOUND", "stage": "fetch", "message": "No recording matches.", "retryable": False}
    return {
        "run": run,
        "conditions": [condition("Failed", "True", reason)],
        **_times(ENDED),
        **({} if cancelled else {"failure": failure}),
    }


def resource(manifest: dict[str, Any], status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """What the API server returns for a manifest it has stored."""
    stored = {"uid": "u1", "resourceVersion": "7", "generation": 1, "creationTimestamp": "2026-01-02T03:04:05Z"}
    return {**manifest, "metadata": {**manifest["metadata"], **stored, **metadata}, "status": status or {}}
