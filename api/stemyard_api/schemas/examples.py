"""Examples in the OpenAPI document; the first ones are the original service's."""

from typing import Any, Final

from stemyard_api.errors import PROBLEM_TYPE

_TRACK: Final = "7a1e0f0e-8d0c-5b9f-9a55-0d7c6f1b2a34"
_RESULT: Final = {
    "vocals_url": "https://domain.com/vocals.mp3",
    "instrumental_url": "https://domain.com/instrumental.mp3",
    "track_id": _TRACK,
}
_BORN: Final = {"track_id": _TRACK, "created_at": 1234567890.0, "started_at": 1234567891.0}

ACCEPTED: Final = {"track_id": _TRACK, "status": "processing", "message": "Audio separation started"}
CACHED: Final = {
    "status": "completed",
    "track_id": _TRACK,
    "result": _RESULT,
    "processing_time": 30.5,
    "created_at": 1234567890.0,
    "cached": True,
}
JOB_STATES: Final = {
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
QUEUE_INFO: Final = {"name": "default", "length": 1, "job_ids": [_TRACK]}
EVENT_SCHEMA: Final = {
    "description": "Each event of the stream; `data` is JSON.",
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": ["snapshot", "phase", "progress", "end"]},
        "id": {"type": "string"},
        "retry": {"type": "integer"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
EVENTS: Final = (
    'retry: 3000\nid: 1234567890000-0\nevent: snapshot\ndata: {"status":"processing","progress":12.0}\n\n'
    'id: 1234567895000-0\nevent: progress\ndata: {"kind":"progress","phase":"Separating","progress":42.5}\n\n'
    'event: end\ndata: {"status":"completed","progress":100}\n\n'
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
            "reason": "all words match, the artist's own channel, as long as a song",
            "chosen": True,
        }
    ],
}
BATCH: Final = {"results": [{"status": 202, "body": ACCEPTED}]}
_DELIVERY: Final = {
    "id": "0f0f3c1c-6bb2-5f3c-8a56-0d7b0c0a4a11",
    "url": "https://app.example.com/hook",
    "event": "separation.completed",
    "endpoint": None,
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
        {"name": "spleeter-2stems", "stems": ["instrumental", "vocals"], "qualities": [], "default": True},
        {
            "name": "htdemucs_ft",
            "stems": ["bass", "drums", "instrumental", "other", "vocals"],
            "qualities": ["fast", "balanced", "best"],
            "default": False,
        },
    ],
    "formats": [{"name": "mp3", "bitrates": [128, 192, 256, 320]}, {"name": "flac", "bit_depths": [16, 24]}],
}
UPLOAD_SLOT: Final = {
    "upload_id": "5f0c2b1d-77aa-8c3e-b1f0-6f6a2f6f9a10",
    "url": "https://store.example.com/stemyard/main/uploads/default/5f0c2b1d/source?X-Amz-Signature=abc",
    "headers": {"Content-Length": "4194304", "Content-Type": "audio/mpeg", "If-None-Match": "*"},
    "expires_at": 1234568790.0,
}

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
    403: "The API key lacks a scope, or this kind of source is turned off",
    404: "There is no such track or upload",
    409: "It conflicts with what exists",
    413: "It is larger than the service accepts",
    422: "A field cannot be used",
    429: "Too many requests, or the key's quota is used up; see Retry-After",
    500: "The service is not configured for this",
    503: "A part of the service does not answer; see Retry-After",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses for errors with these statuses."""
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _DESCRIPTIONS[status], "content": content} for status in statuses}
