"""Brings the whole system up on this machine's cluster: compile, build, start, install."""

import os
import subprocess
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import httpx

from charts.helm import Release, merge, read_values
from charts.install import install, uninstall
from demo.images import IMAGES, ROOT, build
from demo.service import Service
from localcluster import cli, steps, tools
from localcluster.folders import here
from localcluster.provider import Provider

DEMO_VALUES: Final = ROOT / "charts/stemyard/values-demo.yaml"
INSTALL_SECONDS: Final = 300
REACH_SECONDS: Final = 60

Say = Callable[[str], None]


class CommandError(RuntimeError):
    """A command failed or an address did not answer; the message says which."""


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the chart is installed, and overrides of the demo's values."""

    name: str = "stemyard"
    tag: str = "dev"
    api_port: int = 30550
    store_port: int = 30900
    gpus: int = 4
    workers: int = 0
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class System:
    """Access to a running installation."""

    service: Service
    kubeconfig: Path
    namespace: str
    node_address: str

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 330) -> str:
        """Run kubectl in the installation's namespace and return its standard output.

        Raises:
            CommandError: kubectl failed; the message is kubectl's.
        """
        done = self._kubectl(arguments, stdin, timeout)
        if done.returncode != 0:
            raise CommandError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def kubectl_error(self, *arguments: str, stdin: str | None = None) -> str:
        """Run a kubectl command that must fail, and return its standard error.

        Raises:
            CommandError: kubectl succeeded.
        """
        done = self._kubectl(arguments, stdin, 60)
        if done.returncode == 0:
            raise CommandError(f"kubectl {' '.join(arguments)} was expected to fail: {done.stdout}")
        return done.stderr

    def _kubectl(
        self, arguments: tuple[str, ...], stdin: str | None, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        program = str(tools.path_of("kubectl", here()))
        return subprocess.run(
            [program, "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace, *arguments],
            input=stdin, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip


def prepare(provider: Provider, tag: str, say: Say) -> dict[str, str]:
    """Compile the programs and build the images in parallel; return the images' digests."""
    digests: dict[str, str] = {}
    steps.run_parallel(provider.prepare, lambda: digests.update(build(provider, tag, say)))
    return digests


def bring_up(wanted: Installation, say: Say) -> System:
    """Build, start and install everything that is missing, and return the serving installation.

    Raises:
        LocalClusterError: the cluster could not be started.
        InstallError: the chart did not become ready.
    """
    provider = cli.provider(here())
    digests = prepare(provider, wanted.tag, say)
    provider.up(wanted.gpus, wanted.workers)
    support = provider.support_images()
    os.environ["KUBECONFIG"] = str(provider.kubeconfig())
    release = _release(wanted, provider.node_address(), digests, support)
    say(f"installing {release.name}")
    install(release, say, timeout=INSTALL_SECONDS)
    system = running(wanted)
    for url in (system.service.url, f"http://{system.node_address}:{wanted.store_port}"):
        _wait_for_http(url)
    say("setting the bucket's CORS rules for the web page")
    rules = ("stemyard-operator", "bucket-rules", "--origin", system.service.url)
    system.kubectl("exec", f"deploy/{wanted.name}-operator", "--", *rules)
    return system


def _wait_for_http(url: str) -> None:
    """Wait until a NodePort answers with any status; kube-proxy opens it shortly after the pod is ready.

    Raises:
        CommandError: it does not answer within REACH_SECONDS.
    """
    deadline = time.monotonic() + REACH_SECONDS
    while True:
        try:
            httpx.get(url, timeout=5)
        except httpx.TransportError as error:
            if time.monotonic() > deadline:
                raise CommandError(f"{url} does not answer: {error}") from error
            time.sleep(0.2)
        else:
            return


def running(wanted: Installation) -> System:
    """Return a running installation, with the API key from its Secret."""
    provider = cli.provider(here())
    address = provider.node_address()
    system = System(Service("", ""), provider.kubeconfig(), wanted.name, address)
    encoded = system.kubectl("get", "secret", f"{wanted.name}-api", "-o", "jsonpath={.data.API_SECRET_KEY}")
    return replace(system, service=Service(f"http://{address}:{wanted.api_port}", b64decode(encoded).decode()))


def take_down(wanted: Installation) -> None:
    """Uninstall the chart and keep the cluster."""
    os.environ["KUBECONFIG"] = str(cli.provider(here()).kubeconfig())
    uninstall(Release(wanted.name, wanted.name))


def _release(wanted: Installation, address: str, digests: Mapping[str, str], support: Mapping[str, str]) -> Release:
    ports = {
        "api": {"service": {"nodePort": wanted.api_port}},
        "store": {"service": {"nodePort": wanted.store_port}},
        "objectStore": {"publicEndpoint": f"http://{address}:{wanted.store_port}"},
    }
    images = {image.chart_name: {"repository": image.repository(), "tag": wanted.tag} for image in IMAGES}
    images |= {"store": _image(support["STEMYARD_S3_IMAGE"]), "valkey": _image(support["STEMYARD_VALKEY_IMAGE"])}
    # A rebuilt image keeps its tag, so the digest in a pod annotation triggers the Deployment's rollout.
    annotations = {part: {"podAnnotations": {"stemyard.dev/image": digests[part]}} for part in ("api", "operator")}
    values = read_values([DEMO_VALUES])
    for overrides in (ports, {"images": images}, annotations, wanted.values):
        values = merge(values, overrides)
    return Release(wanted.name, wanted.name, values=values)


def _image(reference: str) -> dict[str, str]:
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag}
