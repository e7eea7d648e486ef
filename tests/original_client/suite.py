"""A client of the original service, written from its documentation alone, with nothing specific to Stemyard.

To run it, subclass `OriginalClient` as `Test...` and provide a fixture `service`.
"""

import hashlib
import hmac
import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

GOLDEN = Path(__file__).parents[1] / "golden" / "api" / "original"
"""The answers as the original service's documentation shows them, block by block."""

Webhook = tuple[Mapping[str, str], str]
"""Headers and body of a notification as they arrived."""


@dataclass(frozen=True, slots=True)
class OriginalService:
    """A live service.

    Attributes:
        url: where it is.
        api_key: its API_SECRET_KEY.
        query: a song that it finds and nobody asked for yet.
        missing: a query that finds nothing; None where that cannot be provoked.
        notified: notifications that arrived at WEBHOOK_URL about a track; None where nobody listens there.
        webhook_secret: WEBHOOK_SECRET.
        patience: seconds that a separation may take.
    """

    url: str
    api_key: str = field(repr=False)
    query: str
    missing: str | None = None
    notified: Callable[[str], Sequence[Webhook]] | None = None
    webhook_secret: str = field(default="", repr=False)
    patience: float = 300.0

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"X-API-Key": self.api_key}, timeout=30.0)


def verify_webhook(payload_str: str, signature: str, secret: str) -> bool:
    # the original service's own five lines
    expected = hmac.new(
        secret.encode('utf-8'),
        payload_str.encode('utf-8'),
        hashlib.sha256
    ).hexdigest()  # fmt: skip
    return hmac.compare_digest(expected, signature.replace("sha256=", ""))


def documented(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def agrees(answer: Any, shown: Any) -> bool:
    """Whether an answer has every field that the documentation shows, each of the JSON type shown."""
    if isinstance(shown, dict):
        return isinstance(answer, dict) and all(key in answer and agrees(answer[key], shown[key]) for key in shown)
    if isinstance(shown, list):
        return isinstance(answer, list) and all(agrees(item, shown[0]) for item in answer)
    return type(answer) is type(shown)


def json_of(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].partition(";")[0] == "application/json"
    return dict(response.json())


def start(client: httpx.Client, query: str) -> httpx.Response:
    return client.post("/separate-audio", json={"search_query": query})


def states(client: httpx.Client, track_id: str, patience: float) -> list[dict[str, Any]]:
    """Every state that was seen, the last one being completed or failed."""
    seen: list[dict[str, Any]] = []
    deadline = time.monotonic() + patience
    while not seen or seen[-1]["status"] == "processing":
        assert time.monotonic() < deadline, seen[-1]
        if seen:
            time.sleep(0.2)
        seen.append(json_of(client.get(f"/job/{track_id}"), 200))
    return seen


@dataclass(frozen=True)
class Separated:
    """A song on its way: the answer to the request, and every state until the end."""

    accepted: httpx.Response
    seen: list[dict[str, Any]]

    @property
    def track_id(self) -> str:
        return str(self.accepted.json()["track_id"])


def separated(service: OriginalService, query: str) -> Separated:
    with service.client() as client:
        accepted = start(client, query)
        assert accepted.status_code == 202, accepted.text
        return Separated(accepted, states(client, accepted.json()["track_id"], service.patience))


def notifications(service: OriginalService, track_id: str) -> Sequence[Webhook]:
    if service.notified is None:
        pytest.skip("nobody listens at WEBHOOK_URL")
    deadline = time.monotonic() + 60
    while not (arrived := service.notified(track_id)):
        assert time.monotonic() < deadline, "no notification arrived"
        time.sleep(0.1)
    return arrived


class OriginalClient:
    """The tests. Names of fields, types, status codes and headers are the documentation's."""

    @pytest.fixture(scope="class")
    @classmethod
    def client(cls, service: OriginalService) -> Iterator[httpx.Client]:
        with service.client() as opened:
            yield opened

    @pytest.fixture(scope="class")
    @classmethod
    def song(cls, service: OriginalService) -> Separated:
        return separated(service, service.query)

    @pytest.fixture(scope="class")
    @classmethod
    def failure(cls, service: OriginalService) -> Separated:
        if service.missing is None:
            pytest.skip("no query is known to fail here")
        return separated(service, service.missing)

    def test_a_request_is_accepted(self, song: Separated) -> None:
        answer = json_of(song.accepted, 202)
        shown = documented("accepted")
        assert agrees(answer, shown)
        assert (answer["status"], answer["message"]) == (shown["status"], shown["message"])
        assert str(uuid.UUID(answer["track_id"])) == answer["track_id"]

    def test_states_before_the_end_are_processing(self, song: Separated) -> None:
        before = song.seen[:-1]
        assert before, "it was over before it could be looked at"
        for state in before:
            assert agrees(state, documented("processing"))
            assert state["status"] == "processing"
            assert (state["track_id"], state["created_at"]) == (song.track_id, before[0]["created_at"])
            assert state["created_at"] <= state["started_at"]

    def test_the_end_is_completed(self, song: Separated) -> None:
        state = song.seen[-1]
        assert agrees(state, documented("completed"))
        assert (state["status"], state["progress"], state["track_id"]) == ("completed", 100, song.track_id)
        assert state["result"]["track_id"] == song.track_id
        assert state["created_at"] <= state["started_at"] <= state["ended_at"]
        assert abs(time.time() - state["ended_at"]) < 3600

    def test_the_links_need_no_key_and_play(self, song: Separated) -> None:
        result = song.seen[-1]["result"]
        for stem in ("vocals_url", "instrumental_url"):
            answer = httpx.get(result[stem], timeout=30.0)
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"] == "audio/mpeg"
            assert answer.content
            part = httpx.get(result[stem], headers={"Range": "bytes=0-1"}, timeout=30.0)
            assert (part.status_code, part.content) == (206, answer.content[:2])
        assert result["vocals_url"] != result["instrumental_url"]

    def test_asking_again_is_answered_from_the_cache(self, client: httpx.Client, song: Separated) -> None:
        answer = json_of(start(client, self._query(song)), 200)
        assert agrees(answer, documented("cached"))
        assert (answer["status"], answer["cached"], answer["track_id"]) == ("completed", True, song.track_id)
        assert answer["result"] == song.seen[-1]["result"]
        assert answer["processing_time"] >= 0

    def test_queries_are_normalised(self, client: httpx.Client, song: Separated) -> None:
        answer = json_of(start(client, f"  {self._query(song).upper()}  "), 200)
        assert answer["track_id"] == song.track_id

    def test_a_failure_says_why(self, failure: Separated) -> None:
        state = failure.seen[-1]
        assert agrees(state, documented("failed"))
        assert (state["status"], state["progress"], state["track_id"]) == ("failed", 0, failure.track_id)
        assert state["error"]
        assert state["created_at"] <= state["started_at"] <= state["ended_at"]

    def test_success_is_notified(self, service: OriginalService, song: Separated) -> None:
        for headers, body in notifications(service, song.track_id):
            payload = json.loads(body)
            shown = documented("webhook_completed")
            assert agrees(payload, shown)
            assert set(payload) == set(shown)
            assert (payload["status"], payload["progress"], payload["track_id"]) == ("completed", 100, song.track_id)
            assert httpx.get(payload["result"]["vocals_url"], timeout=30.0).status_code == 200
            self._check_signature(service, headers, body)

    def test_failure_is_notified(self, service: OriginalService, failure: Separated) -> None:
        for headers, body in notifications(service, failure.track_id):
            payload = json.loads(body)
            shown = documented("webhook_failed")
            assert agrees(payload, shown)
            assert set(payload) == set(shown)
            assert (payload["status"], payload["progress"], payload["track_id"]) == ("failed", 0, failure.track_id)
            assert payload["error"] == failure.seen[-1]["error"]
            self._check_signature(service, headers, body)

    def test_the_queue_is_told(self, client: httpx.Client) -> None:
        answer = json_of(client.get("/queue/info"), 200)
        assert agrees(answer, documented("queue_info"))
        assert answer["name"] == "default"
        assert answer["length"] == len(answer["job_ids"])

    def test_health_needs_no_key(self, service: OriginalService) -> None:
        answer = json_of(httpx.get(f"{service.url}/health", timeout=30.0), 200)
        assert agrees(answer, documented("health"))
        assert answer["status"] == "healthy"
        assert answer["services"].items() >= documented("health")["services"].items()
        assert abs(answer["timestamp"] - time.time()) < 60

    @pytest.mark.parametrize(
        ("method", "path"), [("POST", "/separate-audio"), ("GET", "/job/x"), ("GET", "/queue/info")]
    )
    @pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}])
    def test_the_rest_needs_the_key(
        self, service: OriginalService, method: str, path: str, headers: dict[str, str]
    ) -> None:
        body = {"search_query": service.query} if method == "POST" else None
        answer = httpx.request(method, f"{service.url}{path}", json=body, headers=headers, timeout=30.0)
        assert answer.status_code in {401, 403}

    @pytest.mark.parametrize("body", [{}, {"search_query": ""}, {"search_query": None}, {"search_query": 7}, []])
    def test_bad_input_is_refused(self, client: httpx.Client, body: Any) -> None:
        assert client.post("/separate-audio", json=body).status_code in {400, 422}

    def test_an_unknown_track_is_not_found(self, client: httpx.Client) -> None:
        assert client.get(f"/job/{uuid.uuid4()}").status_code == 404

    def test_the_commands_of_the_quick_start(self, service: OriginalService, song: Separated) -> None:
        if shutil.which("curl") is None:
            pytest.skip("there is no curl here")
        posted = f"""curl -X POST {service.url}/separate-audio \\
     -H "Content-Type: application/json" \\
     -H "X-API-Key: {service.api_key}" \\
     -d '{json.dumps({"search_query": self._query(song)})}'"""
        asked = f"""curl -H "X-API-Key: {service.api_key}" \\
     {service.url}/job/{song.track_id}"""
        assert self._run(posted)["track_id"] == song.track_id
        assert self._run(asked)["status"] == "completed"
        assert self._run(f"curl {service.url}/health")["status"] == "healthy"

    @staticmethod
    def _query(song: Separated) -> str:
        return str(json.loads(song.accepted.request.content)["search_query"])

    @staticmethod
    def _check_signature(service: OriginalService, headers: Mapping[str, str], body: str) -> None:
        assert headers["Content-Type"] == "application/json"
        signature = headers["X-Webhook-Signature"]
        assert signature.startswith("sha256=")
        assert verify_webhook(body, signature, service.webhook_secret)
        # as a consumer does that has parsed the body already
        assert verify_webhook(json.dumps(json.loads(body)), signature, service.webhook_secret)
        assert not verify_webhook(body + " ", signature, service.webhook_secret)

    @staticmethod
    def _run(command: str) -> dict[str, Any]:
        ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
        return dict(json.loads(ended.stdout))
