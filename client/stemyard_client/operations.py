"""Operations that are one call of the API each."""

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx

from stemyard_client.answers import parsed
from stemyard_client.effects import Emit, Operation, Request
from stemyard_client.models import (
    Cancelled,
    Candidates,
    Capabilities,
    Deleted,
    Deliveries,
    Delivery,
    Health,
    Job,
    JobPage,
    Model,
    Redelivery,
    RegisteredWebhook,
    RegisteredWebhooks,
    Share,
    Usage,
    WebhookWithSecret,
)
from stemyard_client.retries import Retries, call
from stemyard_client.uploads import upload

M = TypeVar("M", bound=Model)
_WEBHOOK_TEST_SECONDS: Final = 40.0
"""The API waits 25 seconds for the consumer's answer."""
_PAGE: Final = 100


class Operations:
    """The API's operations with one policy for retries."""

    def __init__(self, retries: Retries) -> None:
        self.retries = retries

    def separate(
        self, source: Mapping[str, str], path: Path | None, options: Mapping[str, Any], idempotency_key: str | None
    ) -> Operation[Job]:
        """Request a separation of a source, or of a file, which is uploaded first."""
        body = {**options, **source}
        if path is not None:
            body["upload_id"] = yield from upload(path, self.retries)
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        request = Request("POST", "/separate-audio", headers=headers, json=body)
        return parsed(Job, (yield from call(request, self.retries)))

    def job(self, track_id: str) -> Operation[Job]:
        """Return the state of a track."""
        return self._call(Job, "GET", job_path(track_id))

    def jobs(self, filters: Mapping[str, Any], most: int | None) -> Operation[None]:
        """Emit the tracks of a list, newest first, and at most so many."""
        left = most
        params = {name: _parameter(value) for name, value in filters.items()}
        while left is None or left > 0:
            limit = _PAGE if left is None else min(left, _PAGE)
            page = yield from self._call(JobPage, "GET", "/jobs", params={**params, "limit": limit})
            for job in page.jobs:
                yield Emit(job)
            left = None if left is None else left - len(page.jobs)
            if page.next_cursor is None:
                return
            params["cursor"] = page.next_cursor

    def cancel(self, track_id: str) -> Operation[Cancelled]:
        """Give up this key's claim, and cancel the track if it was the last."""
        return self._call(Cancelled, "POST", f"{job_path(track_id)}/cancel")

    def retry(self, track_id: str) -> Operation[Job]:
        """Run a failed or cancelled track again."""
        return self._call(Job, "POST", f"{job_path(track_id)}/retry")

    def delete(self, track_id: str) -> Operation[Deleted]:
        """Give up this key's claim, and delete the track if it was the last."""
        return self._call(Deleted, "DELETE", job_path(track_id))

    def share(self, track_id: str, expires_in: int | None) -> Operation[Share]:
        """Create a link to a completed track that needs no key."""
        body = {} if expires_in is None else {"expires_in": expires_in}
        return self._call(Share, "POST", f"{job_path(track_id)}/share", json=body)

    def revoke_shares(self, track_id: str) -> Operation[None]:
        """End all share links of a track."""
        yield from call(Request("DELETE", f"{job_path(track_id)}/share"), self.retries)

    def candidates(self, track_id: str) -> Operation[Candidates]:
        """Return the results of a track's search."""
        return self._call(Candidates, "GET", f"{job_path(track_id)}/candidates")

    def deliveries(self, track_id: str) -> Operation[Deliveries]:
        """Return the webhooks of a track's last run."""
        return self._call(Deliveries, "GET", f"{job_path(track_id)}/webhooks")

    def redeliver(self, track_id: str, webhook_id: str) -> Operation[list[str]]:
        """Have webhooks delivered again; return their ids."""
        request = Request("POST", f"{job_path(track_id)}/webhooks/redeliver", json={"id": webhook_id})
        return parsed(Redelivery, (yield from call(request, self.retries))).ids

    def test_webhook(self, body: Mapping[str, str]) -> Operation[Delivery | None]:
        """Send a test webhook; return its delivery, None if it has not been sent yet."""
        return self._test("/webhooks/test", body)

    def register_webhook(self, body: Mapping[str, Any], idempotency_key: str | None) -> Operation[WebhookWithSecret]:
        """Register a webhook for all tracks of this key."""
        given = {name: value for name, value in body.items() if value is not None}
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        request = Request("POST", "/webhooks", headers=headers, json=given)
        return parsed(WebhookWithSecret, (yield from call(request, self.retries)))

    def webhooks(self) -> Operation[RegisteredWebhooks]:
        """Return the webhooks that this key has registered."""
        return self._call(RegisteredWebhooks, "GET", "/webhooks")

    def change_webhook(self, webhook_id: str, changes: Mapping[str, Any]) -> Operation[RegisteredWebhook]:
        """Change a registered webhook."""
        return self._call(RegisteredWebhook, "PATCH", _webhook_path(webhook_id), json=dict(changes))

    def rotate_webhook_secret(self, webhook_id: str, keep_seconds: int | None) -> Operation[WebhookWithSecret]:
        """Give a registered webhook a new secret."""
        body = {} if keep_seconds is None else {"previous_valid_seconds": keep_seconds}
        return self._call(WebhookWithSecret, "POST", f"{_webhook_path(webhook_id)}/rotate-secret", json=body)

    def remove_webhook(self, webhook_id: str) -> Operation[None]:
        """Delete a registered webhook."""
        yield from call(Request("DELETE", _webhook_path(webhook_id)), self.retries)

    def test_registered_webhook(self, webhook_id: str) -> Operation[Delivery | None]:
        """Send a test to a registered webhook; return its delivery, None if it has not been sent yet."""
        return self._test(f"{_webhook_path(webhook_id)}/test", {})

    def _test(self, path: str, body: Mapping[str, str]) -> Operation[Delivery | None]:
        request = Request("POST", path, json=dict(body), read_seconds=_WEBHOOK_TEST_SECONDS)
        response: httpx.Response = yield from call(request, self.retries)
        return None if response.content.strip() == b"null" else parsed(Delivery, response)

    def usage(self, created_after: float | None, created_before: float | None) -> Operation[Usage]:
        """Return usage by key; needs the scope admin."""
        times = {"created_after": created_after, "created_before": created_before}
        return self._call(Usage, "GET", "/usage", params={name: at for name, at in times.items() if at is not None})

    def capabilities(self) -> Operation[Capabilities]:
        """Return what the installation offers to this key."""
        return self._call(Capabilities, "GET", "/capabilities")

    def health(self) -> Operation[Health]:
        """Return the health of the service, which needs no key."""
        return self._call(Health, "GET", "/health")

    def _call(
        self,
        model: type[M],
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,  # noqa: ANN401 - any JSON
    ) -> Operation[M]:
        response = yield from call(Request(method, path, params=params or {}, json=json), self.retries)
        return parsed(model, response)


def job_path(track_id: str) -> str:
    """Return the path of a track."""
    return f"/job/{quote(track_id, safe='')}"


def _webhook_path(webhook_id: str) -> str:
    return f"/webhooks/{quote(webhook_id, safe='')}"


def _parameter(value: Any) -> Any:  # noqa: ANN401 - what httpx takes
    return json.dumps(value) if isinstance(value, dict) else value
