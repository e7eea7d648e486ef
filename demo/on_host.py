"""Runs the operator or the API on this machine against any cluster: `python -m demo.on_host operator | api`."""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from demo.host_environment import (
    DESK_PORT,
    MODULES,
    in_cluster,
    missing,
    of_release,
    with_reachable_store,
    without_release,
)
from demo.images import ROOT
from localcluster import tools
from localcluster.control_plane import free_port
from localcluster.errors import LocalClusterError
from localcluster.folders import here

_CRD: Final = "separationjobs.stemyard.dev"
_CRD_FILES: Final = "charts/stemyard/files/crds"
_CONNECT_SECONDS: Final = 3.0
_FORWARD_SECONDS: Final = 20.0


class HostError(RuntimeError):
    """The part cannot run here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with one kubeconfig and namespace."""

    program: str
    kubeconfig: str
    namespace: str

    def command(self, *arguments: str) -> list[str]:
        """Return the command line."""
        return [self.program, "--kubeconfig", self.kubeconfig, "--namespace", self.namespace, *arguments]

    def get(self, kind: str, name: str = "") -> Mapping[str, Any]:
        """Return an object as JSON, or all of a kind; an empty mapping if there is none of that name.

        Raises:
            HostError: the cluster could not be reached or refused; the message is kubectl's.
        """
        named = [name, "--ignore-not-found"] if name else []
        done = subprocess.run(
            self.command("get", kind, *named, "-o", "json"), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise HostError(f"kubectl get {kind} {name}: {done.stderr.strip()}")
        found: Mapping[str, Any] = json.loads(done.stdout or "{}")
        return found

    @contextmanager
    def forwarded(self, service: str, port: int) -> Iterator[int]:
        """Forward a port of this machine to a Service while the block runs.

        Raises:
            HostError: the Service has no pod that answers.
        """
        local = free_port()
        process = subprocess.Popen(
            self.command("port-forward", f"service/{service}", f"{local}:{port}"),
            stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + _FORWARD_SECONDS
            while not _listens("127.0.0.1", local):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise HostError(f"kubectl port-forward service/{service} {port} did not start")
                time.sleep(0.1)
            yield local
        finally:
            process.terminate()
            process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one part until it ends or is interrupted; return its exit code."""
    wanted = _parser().parse_args(arguments)
    with ExitStack() as stack:
        try:
            environment = prepare(wanted.part, wanted.release, wanted.namespace, stack)
        except (HostError, LocalClusterError) as error:
            print(f"{wanted.part} cannot run on this machine:\n{error}", file=sys.stderr)
            return 1
        return _run([sys.executable, "-m", MODULES[wanted.part]], environment)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo.on_host", description=__doc__)
    parser.add_argument("part", choices=MODULES)
    parser.add_argument("--release", default="stemyard", help="Helm release to take the settings from, if installed")
    parser.add_argument("--namespace", default="stemyard", help="its namespace")
    return parser


def prepare(part: str, release: str, namespace: str, stack: ExitStack) -> dict[str, str]:
    """Return the environment of the part; what it needs while it runs is closed with the stack.

    Variables that are set already win over the release's, and those over the defaults.

    Raises:
        HostError: something is missing; the message has one line for each.
    """
    kubectl = Kubectl(_kubectl(), _kubeconfig(), namespace)
    if not kubectl.get("crd", _CRD):
        raise HostError(f"the CRD is not installed: kubectl apply --server-side -f {_CRD_FILES}")
    if not kubectl.get("namespace", namespace):
        raise HostError(f"there is no namespace {namespace}: kubectl create namespace {namespace}")
    deployment = kubectl.get("deployment", f"{release}-{part}")
    if deployment:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="stemyard-host-")))
        defaults = of_release(part, deployment, kubectl.get, folder)
    else:
        defaults = without_release(part, namespace)
    environment = with_reachable_store({**defaults, **os.environ, "KUBECONFIG": kubectl.kubeconfig})
    if part == "operator":
        _refuse_competitor(deployment, kubectl)
        environment["DESK_URL"] = os.environ.get("DESK_URL") or _desk_url(kubectl)
    if problems := missing(environment):
        raise HostError("\n".join(problems))
    environment |= _forwarded_redis(environment.get("REDIS_URL", ""), kubectl, stack)
    _require_answers(environment)
    _describe(part, environment, release if deployment else "")
    return environment


def _kubectl() -> str:
    return shutil.which("kubectl") or str(tools.path_of("kubectl", here()))


def _kubeconfig() -> str:
    """Return the kubeconfig that is current: of the environment, of a running demo, or the user's own."""
    if given := os.environ.get("KUBECONFIG"):
        return given
    demo, own = ROOT / ".demo.env", Path.home() / ".kube/config"
    if demo.exists():
        lines = demo.read_text().splitlines()
        return next(line.partition("=")[2] for line in lines if line.startswith("export KUBECONFIG="))
    if own.exists():
        return str(own)
    raise HostError(f"no cluster: set KUBECONFIG, or start one with `make demo` (neither {demo} nor {own} exists)")


def _refuse_competitor(deployment: Mapping[str, Any], kubectl: Kubectl) -> None:
    if deployment and deployment["spec"].get("replicas"):
        name = deployment["metadata"]["name"]
        raise HostError(
            f"the operator in the cluster holds the Lease, so this one would only stand by; stop it first:\n"
            f"  kubectl -n {kubectl.namespace} scale deployment {name} --replicas=0"
        )


def _desk_url(kubectl: Kubectl) -> str:
    """Return where pods reach the desk on this machine: the address from which it talks to the first node."""
    nodes = kubectl.get("nodes")["items"]
    addresses = [one["address"] for node in nodes for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((addresses[0] if addresses else "127.0.0.1", DESK_PORT))
        return f"http://{probe.getsockname()[0]}:{os.environ.get('DESK_PORT', DESK_PORT)}"


def _forwarded_redis(url: str, kubectl: Kubectl, stack: ExitStack) -> dict[str, str]:
    if not in_cluster(url):
        return {}
    parts = urlsplit(url)
    service = str(parts.hostname).partition(".")[0]
    local = stack.enter_context(kubectl.forwarded(service, parts.port or 6379))
    account = parts.netloc.rpartition("@")[0]
    return {"REDIS_URL": urlunsplit(parts._replace(netloc=f"{account}@127.0.0.1:{local}"))}


def _require_answers(environment: Mapping[str, str]) -> None:
    problems = []
    for name in ("S3_ENDPOINT_URL", "REDIS_URL"):
        url = urlsplit(environment.get(name, ""))
        port = url.port or {"https": 443, "http": 80}.get(url.scheme, 6379)
        if url.hostname and not _listens(url.hostname, port):
            problems.append(f"nothing answers at {url.hostname}:{port} ({name})")
            if name == "REDIS_URL":
                problems.append(
                    "  set REDIS_URL= (empty) to run without Redis: no mirror, no progress, local rate limits"
                )
    if problems:
        raise HostError("\n".join(problems))


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _describe(part: str, environment: Mapping[str, str], release: str) -> None:
    origin = f"those of release {release}" if release else "defaults, since no release is installed"
    lines = {"settings": origin, "cluster": environment["KUBECONFIG"], "object store": environment["S3_ENDPOINT_URL"]}
    if part == "operator":
        lines["desk"] = f"{environment['DESK_URL']}, where separator pods must reach this machine"
        if not release:
            lines["pods"] = "none will start: their image, ServiceAccount and NetworkPolicies come with the chart"
        lines["metrics"] = f"http://127.0.0.1:{environment.get('HEALTH_PORT', '8086')}/metrics"
    else:
        lines["API"] = f"http://127.0.0.1:{environment.get('PORT', '5500')}"
        lines["X-API-Key"] = "those of the release" if release else environment["API_SECRET_KEY"]
    for name, text in lines.items():
        print(f"{name:<13} {text}", file=sys.stderr, flush=True)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command in the foreground; an interrupt reaches it through the terminal and is left to it."""
    process = subprocess.Popen(command, env=environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
