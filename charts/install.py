"""Installs the chart and says what it waits for: `python charts/install.py install --namespace stemyard --set k=v`."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunningError
from pathlib import Path
from typing import Final

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from charts.cluster import Cluster, ClusterError
from charts.helm import DEFAULT_TIMEOUT, Helm, HelmError, Release, find_helm, read_values
from charts.rollout import rollout

Report = Callable[[str], None]

_LOOK_SECONDS: Final = 2.0
"""Pause between two looks at the cluster."""
_REMIND_SECONDS: Final = 20.0
"""An unchanged line is said again after this."""
_INTERRUPTED: Final = frozenset({"pending-install", "pending-upgrade", "pending-rollback"})


class InstallError(Exception):
    """The installation failed; the message says what was not ready and why."""


def install(release: Release, report: Report, *, timeout: int = DEFAULT_TIMEOUT, wait: bool = True) -> None:
    """Install or upgrade the release; with `wait`, return when every Deployment is ready.

    An operation that an earlier, killed run left half done is undone first.

    Args:
        release: what to install.
        report: takes one line of progress.
        timeout: seconds.
        wait: whether to wait until everything is ready.

    Raises:
        InstallError: Helm failed, or something was not ready in time.
        HelmError: Helm refused the values or cannot be used.
        ClusterError: the cluster cannot be reached.
    """
    helm, cluster = find_helm(), Cluster(release.namespace)
    cluster.ensure_namespace()
    _undo_interrupted(helm, release, report, timeout)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(helm.apply, release, wait=wait, timeout=timeout)
        try:
            _follow(running, lambda: _waiting(cluster, release), report)
        except KeyboardInterrupt:
            helm.cancel()
            raise
    error = running.exception()
    if error is not None:
        raise _failure(error, _waiting(cluster, release)) from error


def uninstall(release: Release, *, timeout: int = DEFAULT_TIMEOUT) -> None:
    """Remove the release; its id, SeparationJobs and the bundled store's volume stay.

    Raises:
        HelmError: Helm failed.
    """
    find_helm().uninstall(release, timeout=timeout)


def _undo_interrupted(helm: Helm, release: Release, report: Report, timeout: int) -> None:
    state = helm.status(release)
    if state not in _INTERRUPTED:
        return
    report(f"an earlier run left {release.name} in state {state}: undoing it")
    if state == "pending-install":
        helm.uninstall(release, timeout=timeout)
    else:
        helm.rollback(release, timeout=timeout)


def _follow(running: Future[None], look: Callable[[], list[str]], report: Report) -> None:
    """Report what is waited for, each line when it is new, until the operation ends."""
    said: dict[str, float] = {}
    while True:
        try:
            running.exception(timeout=_LOOK_SECONDS)
        except StillRunningError:
            now = time.monotonic()
            said = {line: at for line, at in said.items() if now - at < _REMIND_SECONDS}
            for line in look():
                if line not in said:
                    report(line)
                    said[line] = now
        else:
            return


def _waiting(cluster: Cluster, release: Release) -> list[str]:
    try:
        missing = rollout(cluster.deployments(release.name), cluster.pods(release.name))
    except ClusterError as error:
        return [str(error)]
    return [f"waiting for {name}: {reason}" for name, reason in sorted(missing.items())]


def _failure(error: BaseException, waiting: Sequence[str]) -> InstallError:
    return InstallError("\n".join([str(error), *waiting]))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("install", "uninstall", "template", "lint"))
    parser.add_argument("--release", default="stemyard", help="name of the release")
    parser.add_argument("--namespace", default="stemyard", help="its namespace; created when missing")
    parser.add_argument("--values", type=Path, action="append", default=[], help="values file; may be repeated")
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="K=V", help="one value, as in Helm")
    parser.add_argument("--timeout", type=int, default=DEFAULT_TIMEOUT, help="seconds")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until everything is ready")
    return parser


def _run(given: argparse.Namespace) -> int:
    release = Release(given.release, given.namespace, values=read_values(given.values), sets=tuple(given.sets))
    if given.command == "install":
        install(release, _say, timeout=given.timeout, wait=not given.no_wait)
        _say(find_helm().notes(release))
    elif given.command == "uninstall":
        uninstall(release, timeout=given.timeout)
        _say(f"{release.name} is uninstalled")
    elif given.command == "template":
        _say(find_helm().template(release))
    else:
        problems = find_helm().lint(release)
        for problem in problems:
            _say(problem)
        return int(bool(problems))
    return 0


def main() -> int:
    """Run one command; return the exit code."""
    try:
        return _run(_arguments().parse_args())
    except (HelmError, ClusterError, InstallError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
