"""The program `stemyard` against the whole live service: in pipes, and in a pseudo-terminal."""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from localcluster.folders import here
from localcluster.tools import path_of
from stemyard_cli.exit_codes import ExitCode
from stemyard_client import verify
from stemyard_contract.event_types import EventType
from stemyard_contract.webhook_signature import signed_headers
from tests.cli.program import STEMYARD, stemyard
from tests.support.service_world import MISSING, Service, service
from tests.support.webhook_receiver import Receiver

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


@pytest.fixture(scope="module")
def running(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> Iterator[Service]:
    with service(control_plane, tmp_path_factory.mktemp("service"), WEBHOOK_ALLOWED_ORIGINS=receiver.url("")) as found:
        yield found


@pytest.fixture
def variables(running: Service) -> dict[str, str]:
    return {"STEMYARD_URL": running.url, "STEMYARD_API_KEY": running.key("default")}


@pytest.fixture
def run(variables: dict[str, str], tmp_path: Path) -> Run:
    def call(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        return stemyard(*arguments, folder=tmp_path, **{**variables, **more})

    return call


def query() -> str:
    return f"Song {uuid.uuid4()}"


def test_files_and_searches_become_stems_at_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.mp3").write_bytes(b"ID3" + os.urandom(2000))
    done = run("separate", "mine.mp3", query(), MISSING, "--out", "stems")
    assert done.returncode == ExitCode.FAILED
    assert "zero hits: " in done.stderr
    assert "(SOURCE_NOT_FOUND)" in done.stderr
    assert "mine.mp3: Completed 100 %" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    files = done.stdout.splitlines()
    assert len(files) == 4
    assert all((tmp_path / file).stat().st_size for file in files)
    again = run("separate", "mine.mp3", "--out", "stems", "--json")
    assert again.returncode == 0, again.stderr
    result = json.loads(again.stdout)
    assert "Uploading" in done.stderr
    assert "Uploading" not in again.stderr, "the upload of before is used again"

    assert sorted(result["files"]) == ["instrumental", "vocals"]


def test_what_is_not_waited_for_can_be_watched(running: Service, run: Run, tmp_path: Path) -> None:
    song = query()
    with running.held():
        track = run("separate", song, "--no-wait").stdout.strip()
        assert run("wait", track, "--timeout", "1s").returncode == ExitCode.TIMEOUT
    done = run("wait", track)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    watched = run("watch", track, "--out", "stems")
    assert len(watched.stdout.splitlines()) == 2
    assert run("download", track, "--out", "stems").stdout == watched.stdout
    shown = run("get", track).stdout
    assert re.search(r"(?m)^status +completed$", shown)
    assert json.loads(run("get", track, "--json").stdout)["track_id"] == track
    [row] = [line.split("\t") for line in run("list", "--text", song).stdout.splitlines()]
    assert row[:4] == [track, "completed", "Completed", "100"]
    link = run("share", track, "--expires-in", "1h").stdout.strip()
    assert httpx.get(link).status_code == 200
    assert run("share", track, "--revoke").returncode == 0
    assert run("candidates", track).returncode == 0
    assert "default\t" in run("usage").stdout
    assert run("delete", track, "--yes").stdout == f"{track}\tdeleted\n"
    assert run("get", track).returncode == ExitCode.NOT_FOUND


def test_one_is_cancelled_and_retried(running: Service, run: Run) -> None:
    with running.held():
        track = run("separate", query(), "--no-wait").stdout.strip()
        assert run("cancel", track).stdout == f"{track}\tcancelled\n"
    # until its pod has ended, for two minutes at most, a separation is not cancelled
    assert run("wait", track).returncode == ExitCode.FAILED
    assert run("retry", track).stdout == f"{track}\tprocessing\n"
    assert run("wait", track).returncode == 0


def test_a_login_stores_what_works_only(running: Service, run: Run, tmp_path: Path) -> None:
    stored = {"STEMYARD_URL": "", "STEMYARD_API_KEY": ""}
    wrong = run("login", running.url, stdin="wrong\n", **stored)
    assert wrong.returncode == ExitCode.KEY
    assert not (tmp_path / "config").exists()
    done = run("login", running.url, stdin=f"{running.key('reader')}\n", **stored)
    assert done.returncode == 0, done.stderr
    assert "as reader, with the scopes read" in done.stderr
    assert running.key("reader") not in done.stderr + done.stdout
    assert (tmp_path / "config/stemyard/config.toml").stat().st_mode & 0o777 == 0o600
    assert run("list", **stored).returncode == 0
    assert run("separate", query(), **stored).returncode == ExitCode.KEY


def test_the_doctor_sees_the_service_and_the_cluster(running: Service, run: Run, tmp_path: Path) -> None:
    programs = Path(str(path_of("kubectl", here()))).parent
    config = tmp_path / "admin.kubeconfig"
    config.write_bytes(Path(running.world.plane.kubeconfig).read_bytes())
    cluster = {"KUBECONFIG": str(config), "PATH": f"{programs}:{os.environ['PATH']}"}
    done = run("doctor", "--json", **cluster)
    found: dict[str, Any] = {one["check"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert [found[check]["verdict"] for check in ("API", "key", "store", "CRD")] == ["ok"] * 4, found
    assert found["CORS"]["verdict"] == "warning"
    assert "bucket-rules --origin" in found["CORS"]["advice"]
    assert found["operator"]["verdict"] == "failed", "it runs, but not as a Deployment"
    assert found["GPUs"]["verdict"] == found["policies"]["verdict"] == "warning"
    assert done.returncode == ExitCode.FAILED
    assert run("doctor", "--no-cluster", **cluster).returncode == 0
    stranger = run("doctor", "--no-cluster", STEMYARD_API_KEY="wrong")
    assert stranger.returncode == ExitCode.FAILED
    assert "stemyard login" in stranger.stdout


def test_a_webhook_is_registered_rotated_tested_and_removed(running: Service, run: Run, receiver: Receiver) -> None:
    url = receiver.url("/registered")
    made = run("webhooks", "register", url, "--event", "separation.completed", "--description", "Mine")
    webhook_id, secret = made.stdout.strip().split("\t")
    assert secret.startswith("whsec_")
    assert secret not in made.stderr
    [row] = [line.split("\t") for line in run("webhooks", "list").stdout.splitlines()]
    assert (row[:3], row[4:]) == ([webhook_id, "on", "separation.completed"], [url, "Mine"])
    assert secret not in run("webhooks", "list", "--json").stdout
    assert run("webhooks", "register", url).returncode == ExitCode.FAILED
    assert run("webhooks", "register", "https://10.0.0.7/").returncode == ExitCode.FAILED
    assert run("webhooks", "rotate", webhook_id, "--keep", "soon").returncode == ExitCode.USAGE
    rotated = json.loads(run("webhooks", "rotate", webhook_id, "--keep", "0s", "--json").stdout)
    assert rotated["secret"] != secret
    assert rotated["previous_secret_valid_until"] is None
    assert run("webhooks", "test", webhook_id).stdout.startswith("delivered\t200")
    assert verify(receiver.at("/registered")[0].body, receiver.at("/registered")[0].headers, rotated["secret"])
    assert run("webhooks", "remove", webhook_id).stdout == f"{webhook_id}\tremoved\n"
    assert run("webhooks", "list").stdout == ""
    assert run("webhooks", "remove", webhook_id).returncode == ExitCode.NOT_FOUND


def test_a_test_to_a_url_is_signed_for_a_key(run: Run, receiver: Receiver) -> None:
    url = receiver.url("/tested")
    secret = run("webhooks", "register", url).stdout.strip().split("\t")[1]
    assert run("webhooks", "test", url, "--key", "default").stdout.startswith("delivered\t200")
    assert verify(receiver.at("/tested")[0].body, receiver.at("/tested")[0].headers, secret)
    assert run("webhooks", "test", url).stdout.startswith("delivered\t200")
    assert "webhook-signature" not in receiver.at("/tested")[1].headers, "the deployment has no secret"
    assert run("webhooks", "test", str(uuid.uuid4()), "--key", "default").returncode == ExitCode.USAGE


def test_webhooks_are_received_and_verified(run: Run, variables: dict[str, str], tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "STEMYARD_WEBHOOK_SECRET": "a secret"}
    command = [str(STEMYARD), "webhooks", "listen", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as heard:
        assert heard.stderr is not None
        assert heard.stdout is not None
        assert "verifying signatures" in heard.stderr.readline()
        body = b'{"status": "test"}'
        for secret, status in (("another", 401), ("a secret", 204)):
            headers = signed_headers("id-1", EventType.TEST, body, int(time.time()), [secret])
            assert httpx.post(f"http://127.0.0.1:{port}/", content=body, headers=headers).status_code == status
        assert json.loads(heard.stdout.readline()) == {"event": "webhook.test", "id": "id-1", "status": "test"}
        heard.send_signal(signal.SIGINT)
        try:
            assert heard.wait(20) == ExitCode.INTERRUPTED
        finally:
            heard.kill()


class Terminal:
    """A program in a pseudo-terminal."""

    def __init__(self, *arguments: str, folder: Path, **variables: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            kept = {"XDG_STATE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "TERM": "xterm", "COLUMNS": "120"}
            os.execve(STEMYARD, ["stemyard", *arguments], {**os.environ, **kept, **variables})
        self.seen = ""

    def until(self, pattern: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.seen):
            assert time.monotonic() < deadline, self.seen
            if select.select([self.fd], [], [], 0.5)[0]:
                self.seen += os.read(self.fd, 4096).decode(errors="replace")

    def end(self) -> int:
        while True:
            try:
                chunk = os.read(self.fd, 4096)
            except OSError:
                break
            if not chunk:
                break
            self.seen += chunk.decode(errors="replace")
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_terminal_gets_a_bar(variables: dict[str, str], tmp_path: Path) -> None:
    terminal = Terminal("separate", query(), "--out", "stems", folder=tmp_path, **variables)
    assert terminal.end() == 0, terminal.seen
    assert "━" in terminal.seen
    assert "100%" in terminal.seen
    assert "\x1b[?25h" in terminal.seen, "the cursor is shown again"
    assert "(Vocals).mp3" in terminal.seen
    plain = Terminal("separate", query(), "--out", "stems", folder=tmp_path, NO_COLOR="1", **variables)
    assert plain.end() == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", plain.seen), "no colours"


@pytest.mark.parametrize(("answer", "phase"), [("y", "Cancelled"), ("n", "Completed")])
def test_an_interruption_asks(
    running: Service, run: Run, variables: dict[str, str], tmp_path: Path, answer: str, phase: str
) -> None:
    with running.held():
        terminal = Terminal("separate", query(), folder=tmp_path, **variables)
        terminal.until("Queued|Fetching|Pending")
        os.kill(terminal.pid, signal.SIGINT)
        terminal.until(r"Cancel\? \[y/N\]")
        os.write(terminal.fd, f"{answer}\n".encode())
        assert terminal.end() == ExitCode.INTERRUPTED
    assert ("stemyard watch" in terminal.seen) == (answer == "n")
    [track, *_] = [line.split("\t")[0] for line in run("list", "--all", "--limit", "1").stdout.splitlines()]
    run("wait", track)
    assert json.loads(run("get", track, "--json").stdout)["phase"] == phase
