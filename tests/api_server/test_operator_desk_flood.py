"""The desk under floods from its own network: few calls to the API server, and known pods are served meanwhile."""

import asyncio
import itertools
import re
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import DESK_LINKS_PATH, DESK_PROGRESS_PATH, WorkStage
from tests.support.faulty_proxy import Fault, Proxy, clean, when
from tests.support.operator_world import ACCOUNT, Operator, World, eventually, world

BURST = 20
"""Refused tokens of one address in a row."""
IN_FLIGHT = 16
"""Unknown tokens that are reviewed at once."""
AUDIO = {"files": [{"file": "audio.flac", "method": "PUT", "bytes": 100}]}
SLOW = when("POST .*/tokenreviews", Fault(delay=1.0), times=1000)


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(control_plane, tmp_path_factory.mktemp("flood")) as found:
        yield found


@pytest.fixture(scope="module")
def proxy(running: World) -> Iterator[Proxy]:
    """What the operator asks of the API server passes here."""
    pair = running.plane.identities.client_pair(f"system:serviceaccount:{running.namespace}:{ACCOUNT}")
    with Proxy(running.plane, (pair.certificate, pair.key)).running() as found:
        yield found


@pytest.fixture(scope="module")
def shared(running: World, proxy: Proxy) -> Iterator[Operator]:
    with running.operating(KUBECONFIG=str(proxy.kubeconfig(running.folder)), MAX_ACTIVE_FETCH="100") as found:
        yield found


@pytest.fixture
def operator(shared: Operator, proxy: Proxy) -> Iterator[Operator]:
    """The operator, with an empty record of reviews."""
    proxy.answers.clear()
    yield shared
    proxy.plan = clean


@pytest.fixture
def token(running: World) -> str:
    """The token of a fetch pod."""
    name = f"d{time.monotonic_ns():x}"
    running.create(name)
    return running.token(running.run(running.wait_job(WorkStage.FETCH, name=name)))


def reviews(proxy: Proxy) -> int:
    return sum("tokenreviews" in path for _, path, _ in proxy.answers)


def garbage(count: int) -> list[str]:
    return [secrets.token_hex(20) for _ in range(count)]


@dataclass(frozen=True)
class Peer:
    """Calls the desk from an address of its own: refused tokens are counted by address."""

    desk: str
    address: str

    def call(self, token: str, path: str = DESK_LINKS_PATH, body: Any = AUDIO) -> httpx.Response:
        with httpx.Client(transport=httpx.HTTPTransport(local_address=self.address), timeout=10) as client:
            return client.post(self.desk + path, json=body, headers={"Authorization": f"Bearer {token}"})

    def flood(self, tokens: list[str]) -> Counter[int]:
        """Send all tokens at once; return how often each status was answered."""

        async def send() -> list[int]:
            limits = httpx.Limits(max_connections=len(tokens))
            transport = httpx.AsyncHTTPTransport(local_address=self.address, limits=limits)
            async with httpx.AsyncClient(transport=transport, timeout=60) as client:
                headers = ({"Authorization": f"Bearer {token}"} for token in tokens)
                posts = (client.post(self.desk + DESK_LINKS_PATH, json=AUDIO, headers=one) for one in headers)
                return [response.status_code for response in await asyncio.gather(*posts)]

        return Counter(asyncio.run(send()))


_NUMBERS = itertools.count(10)


@pytest.fixture
def peer(operator: Operator) -> Peer:
    return Peer(operator.desk, f"127.0.0.{next(_NUMBERS)}")


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_invalid_tokens_cost_few_reviews(peer: Peer, proxy: Proxy, token: str) -> None:
    assert peer.call(token).status_code == 200
    proxy.answers.clear()
    began = time.monotonic()
    statuses = peer.flood(garbage(300))
    one_by_one = [peer.call(each) for each in garbage(40)]
    elapsed = time.monotonic() - began
    statuses.update(answer.status_code for answer in one_by_one)
    assert set(statuses) <= {401, 429, 503}
    assert reviews(proxy) == statuses[401] <= BURST + elapsed
    refused = next(answer for answer in one_by_one if answer.status_code == 429)
    assert code(refused) == (429, "RATE_LIMITED")
    assert re.fullmatch("[1-9]", refused.headers["Retry-After"])
    assert peer.call(token).status_code == 200, "a known pod is served"


def test_a_pod_behind_the_same_address_is_served_later(peer: Peer, token: str) -> None:
    """As behind a node's address: its first token waits until the bucket takes another."""
    peer.flood(garbage(100))
    eventually(lambda: peer.call(token).status_code == 200)


def test_valid_tokens_use_up_nothing(running: World, peer: Peer, proxy: Proxy) -> None:
    running.create("many")
    pod = running.run(running.wait_job(WorkStage.FETCH, name="many"))
    tokens = [running.token(pod) for _ in range(BURST + 5)]
    assert len(set(tokens)) == len(tokens)
    assert [peer.call(each).status_code for each in tokens] == [200] * len(tokens)
    assert reviews(proxy) == len(tokens)


def test_a_refused_token_is_refused_again_without_a_review(peer: Peer, proxy: Proxy) -> None:
    [token] = garbage(1)
    assert code(peer.call(token)) == (401, "UNAUTHENTICATED")
    assert peer.flood([token] * 60) == {401: 60}
    assert reviews(proxy) == 1


def test_reviews_in_flight_are_bounded(peer: Peer, proxy: Proxy) -> None:
    proxy.plan = SLOW
    statuses = peer.flood(garbage(60))
    assert reviews(proxy) == statuses[401] == IN_FLIGHT
    assert statuses[503] + statuses[429] == 60 - IN_FLIGHT
    assert statuses[503] > 0


def test_a_pod_that_reports_too_often_is_told(peer: Peer, token: str) -> None:
    body = {"stage": "fetch", "sequence": 1, "fraction": 0.1, "step": "download"}
    began = time.monotonic()
    answers = [peer.call(token, DESK_PROGRESS_PATH, {**body, "sequence": number}) for number in range(30)]
    accepted = sum(answer.status_code == 204 for answer in answers)
    assert 3 <= accepted <= 4 + time.monotonic() - began
    refused = next(answer for answer in answers if answer.status_code != 204)
    assert code(refused) == (429, "RATE_LIMITED")
    assert peer.call(token).status_code == 200, "links have a limit of their own"
    eventually(lambda: peer.call(token, DESK_PROGRESS_PATH, body).status_code == 204)


def test_a_pod_that_asks_for_too_many_links_is_told(peer: Peer, token: str) -> None:
    began = time.monotonic()
    assert peer.call(token).status_code == 200
    statuses = peer.flood([token] * 120)
    assert set(statuses) <= {200, 429}
    assert 59 <= statuses[200] <= 60 + time.monotonic() - began
    eventually(lambda: peer.call(token).status_code == 200)
