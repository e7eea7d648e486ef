"""Any text in any field of any request: there is an answer, and never a server error."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from localcluster.control_plane import ControlPlane
from stemyard_api.routes.batch import BatchRequest
from stemyard_api.routes.uploads import PartsRequest, UploadRequest
from stemyard_api.routes.webhooks import RedeliverRequest, WebhookTestRequest
from stemyard_api.schemas.requests import SOURCE_FIELDS, SeparationRequest
from stemyard_api.schemas.webhook_requests import WebhookRequest
from stemyard_api.services.stored_sources import mint_upload_id
from tests.support.api_world import INSTALL, World, world

EXAMPLES = 40
OPTIONS = {"RATE_LIMIT_READS_PER_MINUTE": "0", "OBJECT_SOURCE_PREFIXES": "incoming"}
CUSTOM = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass(frozen=True)
class Form:
    """A request model, where it is sent, and a valid body; the title is the same in every run and process."""

    title: str
    path: str
    model: type[BaseModel]
    valid: Mapping[str, Any]


PART = {"number": 1, "sha256": "0" * 64}
SEPARATION = Form("separate-audio", "/separate-audio", SeparationRequest, {"search_query": "Song Title Artist"})
FORMS = (
    SEPARATION,
    Form("batch", "/batch", BatchRequest, {"requests": [SEPARATION.valid]}),
    Form("uploads", "/uploads", UploadRequest, {"filename": "song.mp3", "size": 9}),
    Form("uploads/multipart", "/uploads/multipart", UploadRequest, {"filename": "song.mp3", "size": 9}),
    Form("uploads/parts", f"/uploads/{mint_upload_id(INSTALL, 'boss')}/parts", PartsRequest, {"parts": [PART]}),
    Form("webhooks", "/webhooks", WebhookRequest, {"url": "https://example.com/hook"}),
    Form("redeliver", "/job/12a06f24-14be-4f01-97b6-b7f36fbd068d/webhooks/redeliver", RedeliverRequest, {}),
)
FIELDS = [pytest.param(form, name, id=f"{form.title}:{name}") for form in FORMS for name in form.model.model_fields]

VALID_TEXTS = {
    "url": "https://example.com/song.mp3",
    "webhook_url": "http://[2001:db8::1]:8080/a?b=c#d",
    "upload_id": mint_upload_id(INSTALL, "boss"),
    "object": "incoming/song.mp3",
    "search_query": "Song Title Artist",
    "content_type": "audio/mpeg",
    "track_id": "12a06f24-14be-4f01-97b6-b7f36fbd068d",
    "format": "mp3",
}
CHARACTERS = st.characters()
"""Any character, halves of surrogate pairs included."""


@st.composite
def nearly_valid(draw: st.DrawFn, text: str) -> str:
    """A valid text in another width or case, or with some characters replaced, inserted or removed."""
    if draw(st.booleans()):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(st.text(CHARACTERS, max_size=3)) + text[start + draw(st.integers(0, 3)) :]
    widened = draw(st.sampled_from(("", "0123456789", "0123456789abcdef", ":/.")))
    wide = text.translate({ord(letter): ord(letter) + 0xFEE0 for letter in widened})
    return draw(st.sampled_from((wide, wide.upper(), wide.title())))


def values_of(name: str) -> st.SearchStrategy[Any]:
    """Any JSON for a field, most of it texts, and half of these nearly valid."""
    near = [nearly_valid(text) for field, text in VALID_TEXTS.items() if field == name or name not in VALID_TEXTS]
    long = st.text(CHARACTERS, min_size=500, max_size=505)
    texts = st.one_of(st.text(CHARACTERS, max_size=70), long, st.one_of(*near))
    numbers = st.one_of(st.integers(), st.integers(0, 400), st.floats(), st.just(10**400))
    leaves = st.one_of(texts, numbers, st.booleans(), st.none())
    nested = st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
        max_leaves=4,
    )
    return st.one_of(*near, texts, nested)


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(control_plane, tmp_path_factory.mktemp("any-text"), **OPTIONS) as found:
        yield found


@pytest.fixture
def client(running: World) -> Iterator[httpx.Client]:
    with running.client("boss") as opened:
        yield opened


def body_of(form: Form, name: str, value: object) -> dict[str, Any]:
    """Return a valid body of a form with this value in one field."""
    valid = {} if form is SEPARATION and name in SOURCE_FIELDS else form.valid
    return {**valid, name: value}


def send(client: httpx.Client, path: str, body: object) -> httpx.Response:
    """Send a body as escaped JSON, which can express what UTF-8 cannot."""
    headers = {"Content-Type": "application/json"}
    response = client.post(path, content=json.dumps(body), headers=headers)
    assert response.status_code < 500, f"{response.text} to {json.dumps(body)}"
    return response


@pytest.mark.parametrize(("form", "name"), FIELDS)
@CUSTOM
@given(data=st.data())
def test_no_value_of_a_field_is_a_server_error(
    client: httpx.Client, form: Form, name: str, data: st.DataObject
) -> None:
    response = send(client, form.path, body_of(form, name, data.draw(values_of(name))))
    if response.status_code == 202:
        found = client.get(f"/job/{response.json()['track_id']}")
        assert found.status_code == 200, found.text


@pytest.mark.parametrize("name", SeparationRequest.model_fields)
@settings(CUSTOM, max_examples=EXAMPLES // 4)
@given(data=st.data())
def test_no_value_of_a_field_is_a_server_error_in_a_batch(client: httpx.Client, name: str, data: st.DataObject) -> None:
    some = data.draw(st.lists(values_of(name), min_size=1, max_size=20))
    response = send(client, "/batch", {"requests": [body_of(SEPARATION, name, value) for value in some]})
    results = response.json()["results"] if response.status_code == 200 else []
    assert all(result["status"] < 500 for result in results), results


@pytest.mark.parametrize("name", WebhookTestRequest.model_fields)
@settings(CUSTOM, max_examples=EXAMPLES // 2)
@given(data=st.data())
def test_no_value_of_a_webhook_test_is_a_server_error(client: httpx.Client, name: str, data: st.DataObject) -> None:
    body = {"url": "https://example.com/hook"} if name == "key" else {}
    client.timeout = httpx.Timeout(1.0)
    try:
        send(client, "/webhooks/test", {**body, name: data.draw(values_of(name))})
    except httpx.ReadTimeout:
        return  # it was accepted: the API waits for the operator, which is not there
