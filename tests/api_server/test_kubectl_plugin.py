"""`kubectl stemyard` against a real API server and the real operator, with SeparationJobs in every phase."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from localcluster.control_plane import ControlPlane
from localcluster.folders import here
from localcluster.tools import path_of
from stemyard_cli.exit_codes import ExitCode
from stemyard_contract.handover import WorkStage
from stemyard_kubectl.cluster import Cluster, Json
from stemyard_kubectl.commands.control import next_run
from stemyard_kubectl.kubeconfig import Choice, connection
from tests.support import operator_world
from tests.support.node_logs import Node, node
from tests.support.operator_world import World, eventually, stamp
from tests.support.service_world import MISSING, Service, service

PLUGIN = str(Path(sys.executable).parent / "kubectl-stemyard")
RBAC = "/apis/rbac.authorization.k8s.io/v1"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(control_plane, tmp_path_factory.mktemp("service")) as found:
        yield found


@pytest.fixture(scope="module")
def world(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An operator without a kubelet, which the tests play."""
    with (
        operator_world.world(control_plane, tmp_path_factory.mktemp("world")) as found,
        found.operating(MAX_ACTIVE="2", MAX_ACTIVE_FETCH="4"),
    ):
        yield found


@pytest.fixture(scope="module")
def machine(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with node(control_plane, tmp_path_factory.mktemp("node"), f"node-{time.monotonic_ns():x}") as found:
        yield found


def plugin(
    plane: ControlPlane,
    namespace: str,
    folder: Path,
    arguments: Sequence[str],
    *,
    kubeconfig: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    own = {"XDG_CONFIG_HOME": str(folder), "KUBECONFIG": str(kubeconfig or plane.kubeconfig)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STEMYARD_", "XDG_"))}
    command = [PLUGIN, "--namespace", namespace, *arguments]
    environment = {**kept, **own, **(variables or {})}
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder, timeout=300)


@pytest.fixture
def run(running: Service, tmp_path: Path) -> Run:
    def call(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return plugin(running.world.plane, running.world.namespace, tmp_path, arguments, variables=more)

    return call


@pytest.fixture
def look(world: World, tmp_path: Path) -> Run:
    def call(*arguments: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
        return plugin(world.plane, world.namespace, tmp_path, arguments, kubeconfig=kubeconfig)

    return call


def sections(text: str) -> dict[str, str]:
    """What `why` prints, by heading."""
    blocks = re.split(r"(?m)^(?=\S)", text)
    return {block.partition("\n")[0]: block.partition("\n")[2] for block in blocks if block}


def test_a_song_is_requested_followed_and_joined(run: Run) -> None:
    first = run("run", "Night Train", "--bitrate", "256")
    assert first.returncode == 0, first.stderr
    assert re.fullmatch(r"night-train-[0-9a-f]{8}\tCompleted\n", first.stdout)
    assert "Completed" in first.stderr
    name = first.stdout.partition("\t")[0]
    again = run("run", "Night Train", "--bitrate", "256", "--priority", "5")
    assert again.stdout == first.stdout, "the same words are the same separation"
    assert f"kubectl stemyard play {name}" in run("why", name).stdout
    assert run("retry", name).returncode == ExitCode.FAILED
    assert run("retry", name, "--again").stdout == f"{name}\trun 2\n"


def test_a_failure_says_what_to_do(run: Run) -> None:
    done = run("run", MISSING, "https://example.com/fine.mp3", "--timeout", "100s")
    assert done.returncode == ExitCode.FAILED
    assert "(SOURCE_NOT_FOUND)" in done.stderr
    name = next(line.partition("\t")[0] for line in done.stdout.splitlines() if line.endswith("\tFailed"))
    page = sections(run("why", name).stdout)
    assert "SOURCE_NOT_FOUND in fetch" in next(iter(page.values()))
    assert "A retry alone does not help." in page["what to do"]
    assert run("cancel", name).stdout == f"{name}\tnot cancelled: it is Failed\n"
    assert run("retry", name).stdout == f"{name}\trun 2\n"


def test_one_is_cancelled_and_what_goes_on_is_said(running: Service, run: Run) -> None:
    with running.held():
        command = [PLUGIN, "run", "Another song", "-n", running.world.namespace]
        environment = {**os.environ, "KUBECONFIG": str(running.world.plane.kubeconfig)}
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as interrupted:
            assert interrupted.stderr is not None
            assert interrupted.stderr.readline().startswith("another-song-")
            interrupted.send_signal(signal.SIGINT)
            assert "go on: `kubectl stemyard why another-song-" in interrupted.stderr.read()
        assert interrupted.returncode == ExitCode.INTERRUPTED
        late = run("run", "A long song", "--name", "long", "--timeout", "2s")
        assert late.returncode == ExitCode.TIMEOUT
        assert "kubectl stemyard why long" in late.stderr
        assert run("retry", "long").returncode == ExitCode.FAILED
        assert run("cancel", "long").stdout == "long\tcancelling\n"
        # its pods are removed by the garbage collector, which does not run here
        running.world.plane.api.delete(running.world.path("separationjobs", "long"))
    assert run("cancel", "long").returncode == ExitCode.NOT_FOUND


def test_stems_are_linked_and_saved(running: Service, run: Run, tmp_path: Path) -> None:
    assert run("run", "A song to hear", "--name", "heard").returncode == 0
    unknown = run("play", "heard")
    assert unknown.returncode == ExitCode.FAILED
    assert "stemyard login" in unknown.stderr
    assert re.search(r"(?m)^vocals\ttest/stems/\S+", unknown.stdout), "without an installation only keys are known"
    api = {"STEMYARD_URL": running.url, "STEMYARD_API_KEY": running.key("default")}
    links = dict(line.split("\t") for line in run("play", "heard", "--links", **api).stdout.splitlines())
    assert sorted(links) == ["instrumental", "vocals"]
    assert httpx.get(links["vocals"]).status_code == 200
    saved = run("play", "heard", "--stem", "vocals", "--out", "stems", **api)
    assert saved.returncode == 0, saved.stderr
    [file] = saved.stdout.splitlines()
    assert (tmp_path / file).stat().st_size > 0
    stranger = run("play", "heard", **{**api, "STEMYARD_API_KEY": running.key("team-a")})
    assert stranger.returncode == ExitCode.FAILED
    assert "scope admin" in stranger.stderr
    assert run("play", "heard", "--stem", "drums", **api).returncode == ExitCode.USAGE


def test_stems_are_played_in_a_terminal(running: Service, run: Run, tmp_path: Path) -> None:
    assert run("run", "A song to play", "--name", "played").returncode == 0
    (tmp_path / "bin").mkdir()
    player = tmp_path / "bin/mpv"
    player.write_text(f'#!/bin/sh\ncp "$2" {tmp_path}/heard-"$(basename "$2" | tr -dc a-zA-Z.)"\n')
    player.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{player.parent}:{os.environ['PATH']}",
        "KUBECONFIG": str(running.world.plane.kubeconfig),
        "STEMYARD_URL": running.url,
        "STEMYARD_API_KEY": running.key("default"),
    }
    command = [PLUGIN, "play", "played", "-n", running.world.namespace]
    terminal, inside = os.openpty()
    with subprocess.Popen(command, env=environment, stdout=inside, stderr=subprocess.PIPE, text=True) as process:
        os.close(inside)
        assert process.stderr is not None
        said = process.stderr.read()
    os.close(terminal)
    assert process.returncode == 0, said
    assert all(path.stat().st_size for path in tmp_path.glob("heard-*"))
    assert len(list(tmp_path.glob("heard-*"))) == 2, said


def test_kubectl_finds_it(running: Service, tmp_path: Path) -> None:
    kubectl = path_of("kubectl", here())
    environment = {
        **os.environ,
        "KUBECONFIG": str(running.world.plane.kubeconfig),
        "PATH": f"{Path(PLUGIN).parent}:{os.environ['PATH']}",
    }
    command = [str(kubectl), "stemyard", "queue", "-n", running.world.namespace]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "waiting" in done.stderr


# phases, without a kubelet


def separating(world: World, name: str, **spec: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fetch a song; return the Job and the pod that separate it."""
    world.create(name, source={"url": f"https://example.com/{name}.mp3"}, **spec)
    fetch = world.wait_job(WorkStage.FETCH, name=name)
    world.succeed(fetch, world.run(fetch), recording=name)
    job = world.wait_job(WorkStage.SEPARATE, name=name)
    return job, world.run(job)


def queued(world: World, name: str, priority: int) -> None:
    """Fetch a song, which then waits to be separated."""
    world.create(name, source={"url": f"https://example.com/{name}.mp3"}, priority=priority)
    fetch = world.wait_job(WorkStage.FETCH, name=name)
    world.succeed(fetch, world.run(fetch), recording=name)
    eventually(lambda: world.phase(name) == "Queued")


@pytest.fixture(scope="module")
def at_work(world: World) -> tuple[dict[str, Any], dict[str, Any]]:
    """The Job and the pod of a SeparationJob that is separated while the tests run."""
    found = separating(world, "at-work")
    eventually(lambda: world.phase("at-work") == "Separating")
    return found


def test_every_phase_is_explained(
    world: World, machine: Node, look: Run, at_work: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    job, pod = at_work
    machine.bind(pod)
    machine.logs[pod["metadata"]["name"]] = "".join(f"line {number}\n" for number in range(30))
    page = sections(look("why", "at-work", "--log-lines", "3").stdout)
    assert f"{world.namespace}/at-work: Separating" in next(iter(page))
    assert f"{job['metadata']['name']}  active" in page["job"]
    assert f"{pod['metadata']['name']}  Running on {machine.name}" in page["pod"]
    assert page["log"] == "  line 27\n  line 28\n  line 29\n"
    assert "Fetching" in page["events"]
    assert page["what to do"] == "  Nothing: it is at work.\n"
    assert look("logs", "at-work").stdout.splitlines() == machine.logs[pod["metadata"]["name"]].splitlines()
    assert look("logs", "at-work", "--tail", "1").stdout == "line 29\n"
    assert look("logs", "at-work", "--follow", "--tail", "2").stdout == "line 28\nline 29\n"

    # a pod that no node takes
    world.create("homeless", source={"url": "https://example.com/homeless.mp3"})
    fetch = world.wait_job(WorkStage.FETCH, name="homeless")
    left = world.pod(fetch)
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    status = {"conditions": [{**unscheduled, "lastTransitionTime": stamp()}]}
    world.plane.api.merge(world.path("pods", left["metadata"]["name"]) + "/status", {"status": status})
    world.plane.api.merge(world.path("jobs", fetch["metadata"]["name"]) + "/status", {"status": {"active": 1}})
    eventually(lambda: world.separation("homeless").status.reason == "Unschedulable", 60)
    page = sections(look("why", "homeless").stdout)
    assert "not scheduled: 0/3 nodes" in page["pod"]
    assert "Give the cluster a node that fits" in page["what to do"]
    assert "1. of 1 that wait like it" in page["queue"]
    assert "nothing yet" in look("logs", "homeless").stderr

    # a suspended one, and one that no operator has read
    world.create("paused", suspend=True)
    eventually(lambda: world.phase("paused") == "Suspended")
    assert "kubectl -n" in sections(look("why", "paused").stdout)["what to do"]
    unread = f"{world.namespace}-unread"
    world.plane.api.post("/api/v1/namespaces", {"metadata": {"name": unread}})
    body = {"apiVersion": "stemyard.dev/v1alpha1", "kind": "SeparationJob", "metadata": {"name": "lost"}}
    body["spec"] = {"source": {"searchQuery": "lost"}}
    world.plane.api.post(f"/apis/stemyard.dev/v1alpha1/namespaces/{unread}/separationjobs", body)
    page = sections(look("why", "lost", "--namespace", unread).stdout)
    assert f"{unread}/lost: not read by an operator" in next(iter(page)), "the last option counts"


@pytest.mark.usefixtures("at_work")
def test_the_queue_is_in_order_and_time_is_by_profile(world: World, look: Run) -> None:
    separating(world, "first")
    queued(world, "waits-0", 0)
    queued(world, "waits-1", 10)
    done = look("queue")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[:3] for row in rows if row[2] == "Queued"] == [["1", "waits-1", "Queued"], ["2", "waits-0", "Queued"]]
    assert re.search(r"\d+ waiting, \d+ fetching, 2 separating", done.stderr)
    everywhere = look("queue", "-A")
    assert f"{world.namespace}\t1\twaits-1" in everywhere.stdout
    page = sections(look("why", "waits-0").stdout)
    assert page["queue"] == f"  2. of 2 that wait like it in {world.namespace}; 2 are separated now\n"
    assert "maxActive" in page["what to do"]
    [profile] = [line.split("\t") for line in look("top").stdout.splitlines()]
    assert profile[:2] == ["default", "2"]


def test_two_who_retry_at_once_start_one_run(world: World, look: Run) -> None:
    world.create("twice", retryPolicy={"limit": 0})
    fetch = world.wait_job(WorkStage.FETCH, name="twice")
    world.fail(fetch, world.run(fetch), "SOURCE_NOT_FOUND")
    eventually(lambda: world.phase("twice") == "Failed")

    class Slower(Cluster):
        """Somebody else retries before this one's patch arrives."""

        def patch(self, name: str, operations: list[Json]) -> Json:
            assert look("retry", name).stdout == f"{name}\trun 2\n"
            return super().patch(name, operations)

    configuration, _ = connection(Choice(str(world.plane.kubeconfig)))
    with Slower(configuration, world.namespace) as cluster:
        assert next_run(cluster, "twice") == 2
    assert world.separation("twice").spec.run == 2


# rights and kubeconfigs


def rights(world: World, user: str, *rules: dict[str, Any]) -> Path:
    """Give a user rights in the world's namespace; return a kubeconfig."""
    name = f"{user}-{time.monotonic_ns():x}"
    role = {"metadata": {"name": name}, "rules": list(rules)}
    world.plane.api.post(f"{RBAC}/namespaces/{world.namespace}/roles", role)
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
    }
    world.plane.api.post(f"{RBAC}/namespaces/{world.namespace}/rolebindings", binding)
    return world.plane.kubeconfig_for(name)


def test_missing_rights_are_named(world: World, look: Run) -> None:
    world.create("seen")
    nobody = rights(world, "nobody")
    refused = look("queue", kubeconfig=nobody)
    assert refused.returncode == ExitCode.KEY
    assert f"may not list separationjobs in the namespace {world.namespace}" in refused.stderr
    assert 'apiGroups: ["stemyard.dev"], resources: ["separationjobs"], verbs: [list]' in refused.stderr
    assert "may not list separationjobs in the whole cluster" in look("top", "-A", kubeconfig=nobody).stderr

    viewer = rights(
        world, "viewer", {"apiGroups": ["stemyard.dev"], "resources": ["separationjobs"], "verbs": ["get", "list"]}
    )
    eventually(lambda: world.separation("seen").status.job is not None)
    page = look("why", "seen", kubeconfig=viewer)
    assert page.returncode == 0, page.stderr
    assert "may not get jobs" in sections(page.stdout)["job"]
    assert "may not list events" in sections(page.stdout)["events"]
    assert look("cancel", "seen", kubeconfig=viewer).returncode == ExitCode.KEY
    changer = rights(
        world, "changer", {"apiGroups": ["stemyard.dev"], "resources": ["separationjobs"], "verbs": ["patch"]}
    )
    assert "may not create separationjobs" in look("run", "A song", "--no-wait", kubeconfig=changer).stderr
    top = look("top", kubeconfig=viewer)
    assert top.returncode == 0
    assert "\t?\t" in top.stdout


def test_a_kubeconfig_is_read_as_kubectl_does(world: World, tmp_path: Path) -> None:
    content = yaml.safe_load(world.plane.kubeconfig.read_text())
    [context] = content["contexts"]
    other = {**content, "contexts": [{**context, "name": "other"}], "current-context": "other"}
    (tmp_path / "one").write_text(yaml.safe_dump(content))
    (tmp_path / "two").write_text(yaml.safe_dump(other))

    def call(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HOME": str(tmp_path), **variables}
        command = [PLUGIN, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=300)

    both = f"{tmp_path}/one:{tmp_path}/missing:{tmp_path}/two"
    assert call("why", "x", KUBECONFIG=both).returncode == ExitCode.NOT_FOUND
    wrong = call("queue", "--context", "third", KUBECONFIG=both)
    assert wrong.returncode == ExitCode.USAGE
    assert "no context 'third'; there are" in wrong.stderr
    assert call("queue", "--context=other", KUBECONFIG=both).returncode == 0
    missing = call("queue", "--kubeconfig", "nowhere")
    assert missing.returncode == ExitCode.USAGE
    assert "nowhere does not exist" in missing.stderr
    content["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    (tmp_path / "one").write_text(yaml.safe_dump(content))
    unreachable = call("queue", "--kubeconfig", "one")
    assert unreachable.returncode == ExitCode.UNREACHABLE
    assert "cannot be reached" in unreachable.stderr
    assert "Traceback" not in unreachable.stderr
