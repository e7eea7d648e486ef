"""The measured servers: Valkey with some tracks, the API as in production, and the baseline, all on this machine."""

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import redis
import yaml

from bench.api.load import Outcome, Plan
from localcluster.control_plane import free_port
from stemyard_contract.identity import cache_key, resource_name, track_id
from stemyard_contract.mirror import EVENT_FIELD, EVENTS_KEPT, EventRecord
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_contract.separationjob import Output, Phase, Source, Stem
from tests.api import tracks
from tests.support.servers import Server, api_process, valkey

KEY = "bench-key"
INSTALL = "bench"
TRACKS = 1000


@dataclass(frozen=True)
class Measured:
    """A server process whose CPU time is measured."""

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Bench:
    ours: Measured
    bare: Measured
    environment: dict[str, str]
    """Environment of an API process."""
    cache: redis.Redis
    songs: list[str]
    ids: list[str]

    @property
    def keys(self) -> MirrorKeys:
        return MirrorKeys(INSTALL)


def song(number: int) -> str:
    return f"Bench Song {number}"


def identity(query: str) -> tuple[str, str]:
    key = cache_key(Source(search_query=query), "spleeter-2stems", [Stem.VOCALS, Stem.INSTRUMENTAL], Output())
    return key, track_id(key)


@contextlib.contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """Start everything; the API has no cluster, so its responses come from the mirror."""
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(valkey(folder).running())
        url = f"redis://127.0.0.1:{cache.port}/0"
        environment = _environment(folder, url)
        api = stack.enter_context(api_process(folder, environment, KEY))
        bare = _baseline(folder, url)
        stack.enter_context(bare.running())
        client = stack.enter_context(contextlib.closing(redis.Redis(port=cache.port)))
        assert api.server.process is not None
        assert bare.process is not None
        ours = Measured(api.server.port, api.server.process.pid)
        songs = [song(number) for number in range(TRACKS)]
        ids = [identity(text)[1] for text in songs]
        made = Bench(ours, Measured(bare.port, bare.process.pid), environment, client, songs, ids)
        _fill(made, api.url)
        yield made


def _environment(folder: Path, url: str) -> dict[str, str]:
    named = [{"name": "nowhere", "cluster": {"server": f"http://127.0.0.1:{free_port()}"}}]
    context = [{"name": "nowhere", "context": {"cluster": "nowhere", "user": "nobody"}}]
    users = [{"name": "nobody", "user": {"token": "none"}}]
    config = {"clusters": named, "contexts": context, "users": users, "current-context": "nowhere"}
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    return {
        "KUBECONFIG": str(folder / "kubeconfig"),
        "STEMYARD_INSTALL_ID": INSTALL,
        "STEMYARD_NAMESPACE": "stemyard",
        "REDIS_URL": url,
        "S3_ENDPOINT_URL": "http://127.0.0.1:9",
        "R2_ACCESS_KEY_ID": "access",
        "R2_SECRET_ACCESS_KEY": "secret",
        "S3_REGION": "us-east-1",
        # enabled, and never reached
        "RATE_LIMIT_SUBMITS_PER_MINUTE": "100000000",
        "RATE_LIMIT_READS_PER_MINUTE": "100000000",
        "QUOTA_STREAMS": "0",
        "MAX_CONNECTIONS": "0",
        "MAX_CONNECTIONS_PER_ADDRESS": "0",
    }


def _baseline(folder: Path, url: str) -> Server:
    port = free_port()
    return Server(
        "bare",
        [sys.executable, "-m", "bench.api.baseline"],
        port,
        folder,
        {"PORT": str(port), "REDIS_URL": url, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def _fill(made: Bench, url: str) -> None:
    """Write tracks, half active and half completed; store the API's responses for the baseline."""
    for number, (query, track) in enumerate(zip(made.songs, made.ids, strict=True)):
        names = {"track_id": track, "name": resource_name(track), "query": query, "cache_key": identity(query)[0]}
        if number % 2:
            ended = {"started_at": time.time() - 60, "ended_at": time.time() - 30, "expires_at": time.time() + 86400}
            record = tracks.completed(**names, **ended)
        else:
            record = tracks.known(**names)
        made.cache.set(made.keys.record(track), record.dump())
        made.cache.set(made.keys.progress(track), tracks.progress().dump())
    with httpx.Client(base_url=url, headers={"X-API-Key": KEY}) as client:
        for track in made.ids:
            answer = client.get(f"/job/{track}")
            assert answer.status_code == 200, answer.text
            made.cache.set(f"bare:{track}", answer.content)


def follow_up(made: Bench, count: int) -> list[str]:
    """Write active tracks to the mirror; return their ids."""
    ids = [identity(f"Followed Song {number}")[1] for number in range(count)]
    for track in ids:
        names = {"track_id": track, "name": resource_name(track), "phase": Phase.SEPARATING}
        made.cache.set(made.keys.record(track), tracks.known(**names).dump())
    return ids


def publish(made: Bench, ids: list[str], progress: float) -> None:
    """Publish a progress event of each track, as the operator does."""
    event = EventRecord(kind="progress", uid="u1", run=1, phase=Phase.SEPARATING, progress=progress, at=time.time())
    with made.cache.pipeline(transaction=False) as pipeline:
        for track in ids:
            pipeline.xadd(made.keys.events(track), {EVENT_FIELD: event.dump()}, maxlen=EVENTS_KEPT)
            pipeline.publish(made.keys.changes, track)
        pipeline.execute()


def reads(made: Bench) -> list[str]:
    return [f"GET /job/{track} HTTP/1.1\r\nHost: bench\r\nX-API-Key: {KEY}\r\n\r\n" for track in made.ids]


def submits(made: Bench) -> list[str]:
    """Return requests for completed songs."""
    return _posts([{"search_query": query} for query in made.songs[1::2]])


def distinct_submits(made: Bench, count: int = 100_000) -> list[str]:
    """Return requests as `submits` does, almost all with bodies that the process has not seen before."""
    songs = made.songs[1::2]
    seed = random.getrandbits(32)
    return _posts([{"search_query": songs[n % len(songs)], "metadata": {"n": f"{seed}-{n}"}} for n in range(count)])


def _posts(bodies: list[dict[str, Any]]) -> list[str]:
    return [
        f"POST /separate-audio HTTP/1.1\r\nHost: bench\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
        for body in map(json.dumps, bodies)
    ]


def load(plan: Plan) -> Outcome:
    """Run a plan in a separate process; every response must be a success."""
    outcome = drive(plan)
    assert outcome.wrong == 0, f"{outcome.wrong} of {outcome.requests} responses were no success"
    return outcome


def drive(plan: Plan) -> Outcome:
    """Run a plan in a separate process and count unsuccessful responses."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.api.load"],
        input=json.dumps(vars(plan)),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return Outcome(**json.loads(done.stdout))
