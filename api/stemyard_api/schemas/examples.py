"""Examples in the OpenAPI document; the first ones are the original service's."""

import json
from typing import Any, Final

from stemyard_api.errors import PROBLEM_TYPE
from stemyard_contract.output import BIT_DEPTHS, BITRATES

_TRACK: Final = "7a1e0f0e-8d0c-5b9f-9a55-0d7c6f1b2a34"
_RESULT: Final = {
    "vocals_url": "https://domain.com/vocals.mp3",
    "instrumental_url": "https://domain.com/instrumental.mp3",
    "track_id": _TRACK,
}
_BORN: Final = {"track_id": _TRACK, "created_at": 1234567890.0, "started_at": 1234567891.0}

ACCEPTED: Final = {
    "track_id": _TRACK,
    "status": "processing",
    "message": "Audio separation started",
    "created_at": 1234567890.0,
}
CACHED: Final = {
    "status": "completed",
    "track_id": _TRACK,
    "result": _RESULT,
    "processing_time": 30.5,
    "created_at": 1234567890.0,
    "cached": True,
}
JOB_STATES: Final[dict[str, dict[str, Any]]] = {
    "processing": {"value": {"status": "processing", **_BORN, "progress": 42.5, "phase": "Separating"}},
    "completed": {
        "value": {"status": "completed", **_BORN, "ended_at": 1234567920.0, "result": _RESULT, "progress": 100}
    },
    "failed": {
        "value": {
            "status": "failed",
            **_BORN,
            "ended_at": 1234567895.0,
            "error": "No recording matches this query.",
            "code": "SOURCE_NOT_FOUND",
            "retryable": False,
            "progress": 0,
        }
    },
}
SHARE_TOKEN: Final = "AQBplHdFKYk0vx2m4ac3YTFlMGYwZS04ZDBjLTViOWYtOWE1NS0wZDdjNmYxYjJhMzRkq6n1XyYw3b1t0n7bqzqL"  # noqa: S105 - an example
SHARE_LINK: Final = {
    "url": f"https://stems.example.com/s/{SHARE_TOKEN}",
    "token": SHARE_TOKEN,
    "expires_at": 1235172690,
}
SHARED_RESULT: Final = {
    "status": "completed",
    "track_id": _TRACK,
    "title": "Song Title",
    "artist": "Artist",
    "duration": 217.4,
    "model": "spleeter-2stems",
    "result": _RESULT,
    "expires_at": 1234571520.0,
    "share_expires_at": 1235172690,
}
QUEUE_INFO: Final = {"name": "default", "length": 1, "job_ids": [_TRACK]}
_CHANGE: Final = {"uid": "4f3c5a2e-0d0c-4b1c-9d56-1f1f3a0c7b11", "run": 1, "phase": "Separating"}
STREAM_DATA: Final = {
    "PhaseEvent": {"kind": "phase", **_CHANGE, "progress": 30.0, "at": 1234567892.0},
    "ProgressEvent": {
        "kind": "progress",
        **_CHANGE,
        "progress": 42.5,
        "stage": "separate",
        "step": "separate",
        "at": 1234567895.0,
    },
    "EndEvent": JOB_STATES["completed"]["value"],
}
"""An example of the data of an event, by the name of its schema."""
EVENTS: Final = "".join(
    f"{head}event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
    for head, name, data in (
        ("retry: 3000\nid: 1234567890000-0\n", "snapshot", JOB_STATES["processing"]["value"]),
        ("id: 1234567895000-0\n", "progress", STREAM_DATA["ProgressEvent"]),
        ("id: end-1\n", "end", STREAM_DATA["EndEvent"]),
    )
)
JOBS: Final = {
    "jobs": [{"status": "processing", **_BORN, "query": "Song Title Artist", "progress": 42.5, "phase": "Separating"}],
    "next_cursor": None,
}
CANDIDATES: Final = {
    "track_id": _TRACK,
    "query": "Song Title Artist",
    "candidates": [
        {
            "media_id": "youtube:abcdefghijk",
            "title": "Artist - Song Title",
            "channel": "Artist",
            "duration": 217.4,
            "score": 5.25,
            "reason": "all words match, the artist's own release, as long as a song",
            "chosen": True,
        }
    ],
}
BATCH: Final = {
    "results": [{"status": 202, "body": ACCEPTED}],
    "batch_id": "0b7d2a52-0a0c-4f0e-9f3d-5f1f0a4a7c11",
}
_DELIVERY: Final = {
    "id": "0f0f3c1c-6bb2-5f3c-8a56-0d7b0c0a4a11",
    "url": "https://app.example.com/hook",
    "event": "separation.completed",
    "endpoint": None,
    "registration": None,
    "state": "given_up",
    "attempts": 10,
    "last_status": 503,
    "last_error": None,
    "last_attempt_at": 1234567890.0,
    "next_attempt_at": None,
    "delivered_at": None,
}
_ATTEMPT: Final = {
    **{name: _DELIVERY[name] for name in ("id", "url", "event")},
    "at": 1234567890.0,
    "seconds": 0.21,
    "status": 503,
    "error": None,
}
DELIVERIES: Final = {"track_id": _TRACK, "deliveries": [_DELIVERY], "attempts": [_ATTEMPT]}
TEST_DELIVERY: Final = {**_DELIVERY, "event": "webhook.test", "state": "delivered", "attempts": 1, "last_status": 204}
REGISTERED_WEBHOOK: Final = {
    "id": "wh_2f1c5d0b9a8e7f6a5b4c3d2e",
    "url": "https://example.com/hook",
    "events": ["separation.completed"],
    "description": "Playlists",
    "enabled": True,
    "created_at": 1234567890.0,
    "previous_secret_valid_until": None,
}
REGISTERED_WEBHOOKS: Final = {"webhooks": [REGISTERED_WEBHOOK]}
WEBHOOK_WITH_SECRET: Final = {**REGISTERED_WEBHOOK, "secret": "whsec_bm90IGEgc2VjcmV0LCBvbmx5IGFuIGV4YW1wbGUhISE="}
DEAD_LETTERS: Final = {"dead_letters": [{"track_id": _TRACK, **_DELIVERY}], "next_cursor": None}
USAGE: Final = {
    "created_after": 1232000000.0,
    "created_before": 1234567890.0,
    "keys": [
        {
            "key_id": "team-a",
            "tracks": 3,
            "processing": 1,
            "completed": 2,
            "failed": 0,
            "audio_seconds": 434.8,
            "processing_seconds": 61.0,
        }
    ],
}
_OVERVIEW_TRACK: Final = {
    "status": "processing",
    **_BORN,
    "query": "Song Title Artist",
    "progress": 42.5,
    "phase": "Separating",
    "step": "separate",
    "model": "spleeter-2stems",
    "namespace": "stemyard",
    "profile": "default",
    "priority": 0,
    "key_ids": ["team-a"],
    "cancelling": False,
    "changeable": True,
}
OVERVIEW: Final = {
    "at": 1234567890.0,
    "since": 1234483200.0,
    "complete": True,
    "waiting": 0,
    "running": 1,
    "suspended": 0,
    "completed": 2,
    "failed": 1,
    "queue": [{"namespace": "stemyard", "profile": "default", "waiting": 0, "running": 1, "suspended": 0}],
    "hours": [{"start": 1234566000.0, "completed": 2, "failed": 1}],
    "failures": [{"code": "SOURCE_NOT_FOUND", "tracks": 1}],
    "usage": USAGE["keys"],
    "running_tracks": [_OVERVIEW_TRACK],
    "waiting_tracks": [],
    "failed_tracks": [],
}
PRIORITISED: Final = {"track_id": _TRACK, "status": "processing", "priority": 10}
CAPABILITIES: Final = {
    "key": {"id": "team-a", "scopes": ["read", "submit"]},
    "sources": {
        "search": True,
        "url": True,
        "upload": True,
        "object": False,
        "max_file_size_mb": 50,
        "max_duration_seconds": 3600,
    },
    "models": [
        {
            "name": "spleeter-2stems",
            "stems": ["instrumental", "vocals"],
            "qualities": ["balanced", "best"],
            "default": True,
        },
        {
            "name": "htdemucs_ft",
            "stems": ["bass", "drums", "instrumental", "other", "vocals"],
            "qualities": ["fast", "balanced", "best"],
            "default": False,
        },
    ],
    "formats": [{"name": "mp3", "bitrates": list(BITRATES)}, {"name": "flac", "bit_depths": list(BIT_DEPTHS["flac"])}],
}
UPLOAD_SLOT: Final = {
    "upload_id": "5f0c2b1d-77aa-8c3e-b1f0-6f6a2f6f9a10",
    "url": "https://store.example.com/stemyard/main/uploads/default/5f0c2b1d/source?X-Amz-Signature=abc",
    "headers": {
        "Content-Length": "4194304",
        "Content-Type": "audio/mpeg",
        "Content-Disposition": "attachment",
        "If-None-Match": "*",
    },
    "expires_at": 1234568790.0,
}
MULTIPART_SLOT: Final = {
    "upload_id": "5f0c2b1d-77aa-8c3e-b1f0-6f6a2f6f9a10",
    "size": 115343360,
    "part_bytes": 16777216,
    "parts": 7,
    "expires_at": 1234654290.0,
}
PART_LINKS: Final = {
    "parts": [
        {
            "number": 7,
            "url": "https://store.example.com/stemyard/main/uploads/default/5f0c2b1d/source?partNumber=7&uploadId=abc",
            "headers": {
                "Content-Length": "14680064",
                "x-amz-checksum-sha256": "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
            },
            "expires_at": 1234568790.0,
        }
    ]
}
UPLOAD_STATE: Final = {
    "upload_id": "5f0c2b1d-77aa-8c3e-b1f0-6f6a2f6f9a10",
    "complete": False,
    "size": 115343360,
    "part_bytes": 16777216,
    "parts": 7,
    "received": [
        {
            "number": 1,
            "size": 16777216,
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        }
    ],
    "expires_at": 1234654290.0,
}
UPLOADED_FILE: Final = {"upload_id": "5f0c2b1d-77aa-8c3e-b1f0-6f6a2f6f9a10", "size": 115343360}

WEBHOOKS: Final = {
    "CompletedWebhook": {
        "status": "completed",
        "track_id": _TRACK,
        "result": _RESULT,
        "progress": 100,
        "created_at": 1234567890.0,
    },
    "ProcessingWebhook": {
        "status": "processing",
        "track_id": _TRACK,
        "progress": 42,
        "created_at": 1234567890.0,
        "phase": "Separating",
    },
    "WebhookTest": {"status": "test", "track_id": "stemyard.webhook-test-1", "progress": 0, "created_at": 1234567890.0},
    "FailedWebhook": {
        "status": "failed",
        "track_id": _TRACK,
        "error": "No recording matches this query.",
        "progress": 0,
        "created_at": 1234567890.0,
    },
}

_DESCRIPTIONS: Final = {
    401: "The API key is missing or wrong",
    403: "The API key lacks a scope, or this kind of source is disabled",
    404: "There is no such track, upload or webhook",
    409: "It conflicts with an existing resource",
    410: "The share link has expired or was revoked, or its track was deleted",
    413: "It is larger than the service accepts",
    422: "A field is invalid",
    429: "Too many requests, or the key's quota is used up; see Retry-After",
    500: "The service is not configured correctly",
    501: "The deployment does not offer this",
    503: "A backend of the service is unavailable; see Retry-After",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses for errors with these statuses."""
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _DESCRIPTIONS[status], "content": content} for status in statuses}
