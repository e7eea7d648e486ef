"""The commands that machines with Docker get, recorded by small programs in place of kind, docker and kubectl."""

import ast
import json
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from demo.system import Installation
from localcluster import cli, kind_provider
from localcluster.errors import LocalClusterError
from localcluster.folders import Folders, here
from localcluster.local_provider import LocalProvider
from localcluster.machine import docker_answers
from tests.cluster.conftest import INSTALLATION

SHIM = """#!/bin/sh
echo "$(basename "$0") $*" >> {record}
case "$(basename "$0") $*" in
  "docker info") exit {docker_status} ;;
  "kind get clusters") cat {clusters} ;;
  "kind create cluster"*) echo stemyard > {clusters} ;;
  "kind delete cluster"*) : > {clusters} ;;
  "docker image inspect"*) echo sha256:abc ;;
  "docker image ls"*) echo localhost/x:1 localhost/y:1 ;;
  "kubectl "*"get node "*) echo {node_address} ;;
  "kubectl "*wait*) exit {ready_status} ;;
  "kubectl "*"get nodes"*) printf 'node/%s\n' stemyard-control-plane stemyard-worker ;;
esac
"""

NODE_ADDRESS = "127.0.0.5"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("STEMYARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("STEMYARD_STATE", str(tmp_path / "state"))
    (tmp_path / "clusters").touch()
    install(tmp_path)
    return tmp_path


def install(folder: Path, docker_status: int = 0, ready_status: int = 0) -> None:
    (folder / "bin").mkdir(exist_ok=True)
    for name in ("docker", "kind", "kubectl"):
        text = SHIM.format(
            record=shlex.quote(str(folder / "calls")),
            clusters=shlex.quote(str(folder / "clusters")),
            docker_status=docker_status,
            ready_status=ready_status,
            node_address=NODE_ADDRESS,
        )
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)


def calls(folder: Path) -> list[str]:
    return [line for line in (folder / "calls").read_text().splitlines() if line != "docker info"]


def test_docker_counts_only_when_its_engine_answers(machine: Path) -> None:
    assert docker_answers()
    install(machine, docker_status=1)
    assert not docker_answers()


def test_up_creates_once_and_keeps_the_users_kubeconfig_out_of_it(machine: Path) -> None:
    assert cli.main(["up", "--gpus", "2"]) == 0
    first = calls(machine)
    assert any(line.startswith("kind create cluster ") for line in first)
    changing = [line for line in first if line.startswith(("kind create", "kind export"))]
    assert all(f"--name stemyard --kubeconfig {machine}/state/kind.kubeconfig" in line for line in changing)
    patches = [line for line in first if " patch " in line]
    assert [patch.split(" patch ")[1].split()[0] for patch in patches] == [
        "node/stemyard-control-plane",
        "node/stemyard-worker",
    ]
    for patch in patches:
        assert '{"nvidia.com/gpu": "2"}' in patch
        assert "--subresource=status" in patch
        assert f"--kubeconfig {machine}/state/kind.kubeconfig" in patch
    assert cli.main(["up"]) == 0
    assert sum("create cluster" in line for line in calls(machine)) == 1


def test_node_ports_of_demo_and_tests_are_on_the_loopback_address(machine: Path) -> None:
    cli.main(["up"])
    (node,) = json.loads((machine / "state/kind.json").read_text())["nodes"]
    mapped = {(m["containerPort"], m["hostPort"], m["listenAddress"]) for m in node["extraPortMappings"]}
    installed = (Installation(), INSTALLATION)
    ports = {port for one in installed for port in (one.api_port, one.store_port)}
    assert mapped == {(port, port, "127.0.0.1") for port in ports}


def test_workers_are_there_when_asked_for(machine: Path) -> None:
    assert cli.main(["up", "--workers", "2"]) == 0
    nodes = json.loads((machine / "state/kind.json").read_text())["nodes"]
    assert [node["role"] for node in nodes] == ["control-plane", "worker", "worker"]
    assert ["extraPortMappings" in node for node in nodes] == [True, False, False]


def test_without_docker_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalClusterError, match="one node; leave the workers out"):
        LocalProvider(Folders(tmp_path, tmp_path)).up(0, workers=2)


def test_down_twice_deletes_once(machine: Path) -> None:
    cli.main(["up"])
    assert cli.main(["down"]) == 0
    assert cli.main(["down"]) == 0
    assert sum("kind delete cluster --name stemyard" in line for line in calls(machine)) == 1
    assert not (machine / "state/kind.kubeconfig").exists()


def test_images_are_built_by_docker_and_loaded(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["up"])
    capsys.readouterr()
    build = ["build-image", "--file", "images/Dockerfile", "--tag", "localhost/x:1", "--target", "cpu"]
    assert cli.main([*build, "--context", ".", "--build-arg", "A=b c"]) == 0
    [built] = [line for line in calls(machine) if line.startswith("docker build ")]
    assert built.endswith(" --file images/Dockerfile --tag localhost/x:1 --target cpu --build-arg A=b c .")
    assert "kind load docker-image localhost/x:1 --name stemyard" in calls(machine)
    assert capsys.readouterr().out == "sha256:abc\n"


def test_without_a_cluster_an_image_is_built_but_not_loaded(machine: Path) -> None:
    assert cli.main(["build-image", "--file", "f", "--tag", "x:1"]) == 0
    assert not any(line.startswith("kind load") for line in calls(machine))
    assert cli.main(["up"]) == 0
    loaded = [line.split()[3] for line in calls(machine) if line.startswith("kind load docker-image")]
    assert loaded == ["localhost/x:1", "localhost/y:1"]
    assert cli.main(["up"]) == 0
    assert sum(line.startswith("kind load") for line in calls(machine)) == 2


def test_the_nodes_own_address_is_taken_where_there_is_a_route_to_it(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.main(["up"])
    with socket.create_server((NODE_ADDRESS, 0)) as kubelet:
        monkeypatch.setattr(kind_provider, "KUBELET_PORT", kubelet.getsockname()[1])
        assert cli.provider(here()).node_address() == NODE_ADDRESS
    assert cli.provider(here()).node_address() == "127.0.0.1"


def test_env_tells_scripts_where_everything_is(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["env"]) == 1
    cli.main(["up"])
    capsys.readouterr()
    assert cli.main(["env"]) == 0
    exports = dict(line.removeprefix("export ").split("=", 1) for line in capsys.readouterr().out.splitlines())
    assert exports["KUBECONFIG"] == f"{machine}/state/kind.kubeconfig"
    assert exports["STEMYARD_NODE_ADDRESS"] == "127.0.0.1"
    assert "localhost" not in exports["STEMYARD_S3_IMAGE"]


def test_status_fails_while_the_node_is_not_ready(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["up"])
    assert cli.main(["status"]) == 0
    install(machine, ready_status=1)
    assert cli.main(["status"]) == 1
    assert "not Ready" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["build-image", "--file", "f", "--tag", "x", "--build-arg", "A=1"], "NAME:TAG"),
        (["build-image", "--file", "f", "--tag", "x:1", "--build-arg", "A"], "NAME=VALUE"),
    ],
)
def test_wrong_arguments_are_explained(
    machine: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], advice: str
) -> None:
    assert cli.main(arguments) == 1
    assert advice in capsys.readouterr().err


def test_the_nodes_image_is_pinned_and_may_be_another(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.main(["up"])
    [create] = [line for line in calls(machine) if line.startswith("kind create cluster ")]
    assert re.search(r" --image kindest/node:v1\.\d+\.\d+@sha256:[0-9a-f]{64} ", create)
    cli.main(["down"])
    monkeypatch.setenv(kind_provider.NODE_IMAGE_VARIABLE, "registry.example.com/node:v1.37.0")
    cli.main(["up"])
    creations = [line for line in calls(machine) if line.startswith("kind create cluster ")]
    assert " --image registry.example.com/node:v1.37.0 " in creations[-1]


def test_an_older_python_is_told_what_to_do() -> None:
    program = "import runpy, sys; sys.version_info = (3, 9, 18); runpy.run_module('localcluster', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("localcluster: this is Python 3.9, and 3.11 or newer is needed; `make setup`")
    assert done.stderr.count("\n") == 1


def test_the_check_of_the_version_is_readable_by_old_pythons() -> None:
    """Every syntax of the module, and of the package's own, is that of Python 3.8."""
    folder = Path(kind_provider.__file__).parent
    for name in ("__init__.py", "__main__.py"):
        ast.parse((folder / name).read_text(), feature_version=(3, 8))
