"""The OpenAPI document: what clients are generated from."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import jsonschema_rs
import pytest

from stemyard_api.app import create_app
from stemyard_api.schemas.responses import Completed, Failed, Processing, Result
from stemyard_api.schemas.states import Job, PhaseEvent, Separation
from stemyard_api.services import rendering
from stemyard_contract.event_types import EventType
from stemyard_contract.failures import FailureCode
from stemyard_contract.mirror import EventRecord
from stemyard_contract.separationjob import Phase, Stem
from tests.api import tracks
from tests.api.settings_for_tests import settings

OPERATIONS = {
    "createSeparation": "POST /separate-audio",
    "createBatch": "POST /batch",
    "getJob": "GET /job/{track_id}",
    "deleteJob": "DELETE /job/{track_id}",
    "waitForJob": "GET /job/{track_id}/wait",
    "streamJobEvents": "GET /job/{track_id}/events",
    "listCandidates": "GET /job/{track_id}/candidates",
    "cancelJob": "POST /job/{track_id}/cancel",
    "retryJob": "POST /job/{track_id}/retry",
    "listJobs": "GET /jobs",
    "createShareLink": "POST /job/{track_id}/share",
    "revokeShareLinks": "DELETE /job/{track_id}/share",
    "getSharedResult": "GET /share/{token}",
    "downloadStems": "GET /job/{track_id}/stems.zip",
    "downloadSharedStems": "GET /share/{token}/stems.zip",
    "createUpload": "POST /uploads",
    "createMultipartUpload": "POST /uploads/multipart",
    "createPartLinks": "POST /uploads/{upload_id}/parts",
    "getUpload": "GET /uploads/{upload_id}",
    "abortMultipartUpload": "DELETE /uploads/{upload_id}",
    "completeMultipartUpload": "POST /uploads/{upload_id}/complete",
    "getCapabilities": "GET /capabilities",
    "getQueueInfo": "GET /queue/info",
    "getUsage": "GET /usage",
    "getOverview": "GET /admin/overview",
    "setPriority": "POST /admin/job/{track_id}/priority",
    "eraseKeyData": "DELETE /keys/{key_id}/data",
    "listWebhookDeliveries": "GET /job/{track_id}/webhooks",
    "redeliverWebhooks": "POST /job/{track_id}/webhooks/redeliver",
    "listDeadLetters": "GET /webhooks/dead-letters",
    "testWebhook": "POST /webhooks/test",
    "registerWebhook": "POST /webhooks",
    "listWebhooks": "GET /webhooks",
    "getWebhook": "GET /webhooks/{webhook_id}",
    "updateWebhook": "PATCH /webhooks/{webhook_id}",
    "deleteWebhook": "DELETE /webhooks/{webhook_id}",
    "rotateWebhookSecret": "POST /webhooks/{webhook_id}/rotate-secret",
    "testRegisteredWebhook": "POST /webhooks/{webhook_id}/test",
    "getHealth": "GET /health",
}
"""Names of methods in generated clients: they never change."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(settings()).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from nodes(item)
    elif isinstance(value, dict):
        yield value
        for item in value.values():
            yield from nodes(item)


def check(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    whole = {**schema, "components": document["components"]}
    jsonschema_rs.Draft202012Validator(whole).validate(value)


def test_operation_ids_are_stable(document: dict[str, Any]) -> None:
    found = {operation["operationId"]: name for name, operation in operations(document)}
    assert found == OPERATIONS
    received = [methods["post"]["operationId"] for methods in document["webhooks"].values()]
    everything = [operation["operationId"] for _, operation in operations(document)] + received
    assert len(set(everything)) == len(everything)
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]+)+", name) for name in everything), everything


def test_every_operation_needs_a_key_but_those_for_people_without_one(document: dict[str, Any]) -> None:
    """A route without a scope is open to every key, and its documents do not say that it can be refused."""
    anonymous = {name for name, operation in operations(document) if not operation.get("security")}
    assert anonymous == {"GET /health", "GET /share/{token}", "GET /share/{token}/stems.zip"}
    for name, operation in operations(document):
        if name not in anonymous:
            refusals = {"401", "429"} if name == "GET /capabilities" else {"401", "403", "429"}
            assert refusals <= operation["responses"].keys(), name


def test_every_example_is_valid(document: dict[str, Any]) -> None:
    checked = 0
    for node in nodes([document["paths"], document["webhooks"]]):
        if "schema" not in node or "text/event-stream" in node:
            continue
        values = [node["example"]] if "example" in node else []
        values += [one["value"] for one in node.get("examples", {}).values()]
        for value in values:
            check(document, node["schema"], value)
            checked += 1
    for schema in document["components"]["schemas"].values():
        for value in schema.get("examples", []):
            check(document, schema, value)
            checked += 1
    assert checked > 25


def test_every_successful_response_has_a_schema(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            if status.startswith("2") and status != "204":
                assert all(content["schema"] for content in response["content"].values()), (name, status)


def test_a_response_has_one_schema_whatever_its_status(document: dict[str, Any]) -> None:
    """Generated Java and Rust decode every successful response as the type of the first one."""
    for name, operation in operations(document):
        schemas = {
            str(choice.get("$ref", choice))
            for status, response in operation["responses"].items()
            if status.startswith("2")
            for content in response.get("content", {}).values()
            for choice in content["schema"].get("anyOf", [content["schema"]])
            if choice != {"type": "null"}
        }
        assert len(schemas) <= 1, name


def test_schemas_have_only_forms_that_generators_agree_on(document: dict[str, Any]) -> None:
    for node in nodes(document["components"]["schemas"]):
        # a property may have such a name; then its value is a schema
        found = [name for name, value in node.items() if not isinstance(value, dict)]
        assert not {"const", "oneOf", "allOf", "default"} & set(found), node
        assert not isinstance(node.get("title"), str)
    for node in nodes(document["webhooks"]):
        assert "type" in node.get("schema", {"type": ""}) or "$ref" in node["schema"]


def test_tags_of_paths_are_not_tags_of_webhooks(document: dict[str, Any]) -> None:
    of_paths = {tag for _, operation in operations(document) for tag in operation["tags"]}
    of_webhooks = {tag for methods in document["webhooks"].values() for tag in methods["post"]["tags"]}
    assert not of_paths & of_webhooks
    assert of_paths | of_webhooks == {tag["name"] for tag in document["tags"]}


def test_a_request_needs_no_field_and_keeps_all(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["SeparationRequest"]
    assert "required" not in schema
    assert {"search_query", "model", "format", "stems", "webhook_events"} <= schema["properties"].keys()
    assert "`mp3` by default" in schema["properties"]["format"]["description"]


def test_enums_are_complete(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["FailureCode"]["enum"] == list(FailureCode)
    assert schemas["JobPhase"]["enum"] == list(Phase)
    assert schemas["EventType"]["enum"] == list(EventType)
    reference = {"$ref": "#/components/schemas/FailureCode"}
    assert schemas["Problem"]["properties"]["code"] == schemas["Job"]["properties"]["code"] == reference
    assert Result.__annotations__.keys() == {f"{stem}_url" for stem in Stem} | {"track_id"}


def test_a_job_has_the_fields_of_every_state(document: dict[str, Any]) -> None:
    named = set().union(*(state.__annotations__ for state in (Processing, Completed, Failed)))
    assert Job.__annotations__.keys() == named
    schema = {"$ref": "#/components/schemas/Job"}
    check(document, schema, rendering.processing(tracks.known(), tracks.progress(), "default"))
    check(document, schema, rendering.completed(tracks.completed(), rendering.StemLinks({}), "default"))
    check(document, schema, rendering.failed(tracks.failed(), None, "default"))


def test_a_request_is_answered_with_a_separation(document: dict[str, Any]) -> None:
    schema = {"$ref": "#/components/schemas/Separation"}
    links = rendering.StemLinks(dict.fromkeys(Stem, "https://media.example.com/a.mp3"), 1.0)
    answers: list[Any] = [
        rendering.accepted(tracks.known(), "default"),
        rendering.cached(tracks.completed(), links, "default"),
    ]
    for answer in answers:
        assert answer.keys() <= Separation.__annotations__.keys()
        check(document, schema, answer)


@pytest.mark.parametrize("kind", get_args(EventRecord.model_fields["kind"].annotation))
def test_events_of_a_stream_have_a_schema(document: dict[str, Any], kind: Any) -> None:
    assert PhaseEvent.__annotations__.keys() == EventRecord.model_fields.keys()
    event = EventRecord(kind=kind, uid="u", run=1, phase=Phase.SEPARATING, progress=1.0, at=1.0)
    content = document["paths"]["/job/{track_id}/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    assert content["x-event-data"].keys() == {"snapshot", "phase", "progress", "end"}
    check(document, content["x-event-data"][kind], event.model_dump(mode="json", exclude_none=True))
    check(document, content["x-event-data"]["end"], {"status": "deleted"})
