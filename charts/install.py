"""Installs the chart and reports its progress: `python charts/install.py install --namespace stemyard --set k=v`."""

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunningError
from pathlib import Path
from typing import Final

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from charts.cluster import Cluster, ClusterError
from charts.helm import DEFAULT_TIMEOUT, Helm, HelmError, Release, read_values
from charts.rollout import rollout

Report = Callable[[str], None]

_POLL_SECONDS: Final = 2.0
"""Interval between two reads of the cluster."""
_REPEAT_SECONDS: Final = 20.0
"""Interval after which an unchanged line is printed again."""
_INTERRUPTED: Final = frozenset({"pending-install", "pending-upgrade", "pending-rollback"})


class InstallError(Exception):
    """The installation failed; the message says what is not ready and why."""


def install(release: Release, report: Report, *, timeout: int = DEFAULT_TIMEOUT, wait: bool = True) -> None:
    """Install or upgrade the release; with `wait`, return when every Deployment is ready.

    An operation that an earlier, killed run left unfinished is rolled back first.

    Args:
        release: what to install.
        report: called with each line of progress.
        timeout: in seconds.
        wait: whether to wait until everything is ready.

    Raises:
        InstallError: Helm failed, or something was not ready in time.
        HelmError: Helm refused the values.
        ClusterError: the cluster is unreachable.
    """
    helm, cluster = Helm(), Cluster(release.namespace)
    cluster.ensure_namespace()
    _roll_back_interrupted(helm, release, report, timeout)
    with ThreadPoolExecutor(1) as pool:
        operation = pool.submit(helm.apply, release, wait=wait, timeout=timeout)
        try:
            _follow(operation, lambda: _not_ready(cluster, release), report)
        except KeyboardInterrupt:
            helm.cancel()
            raise
    error = operation.exception()
    if error is not None:
        raise InstallError("\n".join([str(error), *_not_ready(cluster, release)])) from error


def uninstall(release: Release, *, timeout: int = DEFAULT_TIMEOUT) -> None:
    """Remove the release; its id, SeparationJobs and the bundled store's volume are kept.

    Raises:
        HelmError: Helm failed.
    """
    Helm().uninstall(release, timeout=timeout)


def _roll_back_interrupted(helm: Helm, release: Release, report: Report, timeout: int) -> None:
    state = helm.status(release)
    if state not in _INTERRUPTED:
        return
    report(f"an earlier run left {release.name} in state {state}: undoing it")
    if state == "pending-install":
        helm.uninstall(release, timeout=timeout)
    else:
        helm.rollback(release, timeout=timeout)


def _follow(operation: Future[None], poll: Callable[[], list[str]], report: Report) -> None:
    """Report the lines that `poll` returns, each once per interval, until the operation ends."""
    reported: dict[str, float] = {}
    while True:
        try:
            operation.exception(timeout=_POLL_SECONDS)
        except StillRunningError:
            now = time.monotonic()
            reported = {line: at for line, at in reported.items() if now - at < _REPEAT_SECONDS}
            for line in poll():
                if line not in reported:
                    report(line)
                    reported[line] = now
        else:
            return


def _not_ready(cluster: Cluster, release: Release) -> list[str]:
    try:
        missing = rollout(cluster.deployments(release.name), cluster.pods(release.name))
    except ClusterError as error:
        return [str(error)]
    return [f"waiting for {name}: {reason}" for name, reason in sorted(missing.items())]


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("install", "uninstall", "template", "lint"))
    parser.add_argument("--release", default="stemyard", help="release name")
    parser.add_argument("--namespace", default="stemyard", help="release namespace; created if missing")
    parser.add_argument("--values", type=Path, action="append", default=[], help="values file; may be repeated")
    parser.add_argument(
        "--set", action="append", default=[], dest="sets", metavar="K=V", help="one value, as helm --set"
    )
    parser.add_argument("--timeout", type=int, default=DEFAULT_TIMEOUT, help="timeout in seconds")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until everything is ready")
    return parser


def _run(args: argparse.Namespace) -> int:
    release = Release(args.release, args.namespace, values=read_values(args.values), sets=tuple(args.sets))
    if args.command == "install":
        install(release, _print, timeout=args.timeout, wait=not args.no_wait)
        _print(Helm().notes(release))
    elif args.command == "uninstall":
        uninstall(release, timeout=args.timeout)
        _print(f"{release.name} is uninstalled")
    elif args.command == "template":
        _print(Helm().template(release))
    else:
        problems = Helm().lint(release)
        for problem in problems:
            _print(problem)
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
