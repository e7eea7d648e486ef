"""Marking the webhooks of revoked keys, where the API server refuses some of the patches."""

import json
import logging
from collections.abc import Sequence
from typing import cast

import pytest
from kubernetes.aio.client import ApiClient

from stemyard_api.clients.kubernetes import KubernetesClient, Resource
from stemyard_api.schemas.webhook_requests import WebhookRequest
from stemyard_api.services import registered_webhooks
from stemyard_api.services.registered_webhooks import RegisteredWebhooks
from stemyard_contract.event_types import EventType
from stemyard_contract.webhook_secrets import MasterSecrets
from tests.api.settings_for_tests import settings

MASTERS = MasterSecrets("main", ["0123456789abcdef0123456789abcdef"])


class Refusing(KubernetesClient):
    """The resources of some keys, named like them, and the status of a patch of each."""

    def __init__(self, statuses: dict[str, int]) -> None:
        super().__init__(cast(ApiClient, None), "stemyard", "keywebhooks")
        self._statuses = statuses
        self.patched: list[str] = []

    async def _call(self, method: str, path: str, body: object = None, content_type: str = "") -> tuple[int, bytes]:
        if method == "GET":
            return 200, json.dumps({"metadata": {}, "items": [_resource(key) for key in self._statuses]}).encode()
        key = path.rpartition("/")[2]
        self.patched.append(key)
        return self._statuses[key], b"{}"


def _resource(key: str) -> Resource:
    return {"metadata": {"name": key, "uid": "u", "resourceVersion": "1"}, "spec": {"key": key, "webhooks": []}}


async def test_a_key_that_cannot_be_marked_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    client = Refusing({"broken": 500, "changed": 422, "gone": 404, "valid": 200, "marked": 200})
    await RegisteredWebhooks(settings(), client, MASTERS).mark_revoked(frozenset({"valid"}))
    assert client.patched == ["broken", "changed", "gone", "marked"]
    marked = [record for record in caplog.records if record.message == "marked the webhooks of a key"]
    assert [(vars(record)["key_id"], vars(record)["revoked"]) for record in marked] == [("marked", True)]
    refused = [record for record in caplog.records if record.message == "could not mark the webhooks of a key"]
    assert [vars(record)["key_id"] for record in refused] == ["broken"]


@pytest.mark.parametrize(
    "events", [["separation.failed", "separation.completed"], ["separation.completed", "separation.failed"] * 2]
)
def test_the_order_of_events_does_not_make_another_request(events: Sequence[EventType]) -> None:
    first = WebhookRequest(url="https://a.example/", events=["separation.completed", "separation.failed"])
    again = first.model_copy(update={"events": list(events)})
    bound = registered_webhooks._bound
    assert bound("key", again) == bound("key", first)
    assert bound("key", first.model_copy(update={"events": ["separation.failed"]})) != bound("key", first)
