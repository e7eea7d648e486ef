"""The command line of `make demo` and `make images`: `python -m demo up | images`."""

import os
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

import httpx

from charts.cluster import ClusterError
from charts.helm import HelmError
from charts.install import InstallError
from demo.images import ROOT, build
from demo.system import CommandError, Installation, System, bring_up
from localcluster import cli, tools
from localcluster.errors import LocalClusterError
from localcluster.folders import here
from localcluster.progress import say
from stemyard_client import Job, StemyardError

CLIP = ROOT / "tests/golden/audio/clip.mp3"
SETTINGS = ROOT / ".demo.env"
STEMS = ROOT / "demo-stems"
_LONGEST_SECONDS = 600.0
_FAILURES = (LocalClusterError, InstallError, HelmError, ClusterError, CommandError, StemyardError, httpx.HTTPError)


def main(arguments: list[str]) -> int:
    """Run one command; return the exit code."""
    try:
        if arguments == ["up"]:
            demo()
        elif arguments == ["images"]:
            build(cli.provider(here()), "dev", say)
        else:
            print("usage: python -m demo up | images", file=sys.stderr)
            return 2
    except _FAILURES as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; run it again to continue, or `make down` to stop everything", file=sys.stderr)
        return 130
    return 0


def demo() -> None:
    """Bring the system up, separate one song, save its stems and print how to inspect it."""
    system = bring_up(Installation(), say)
    write_settings(system, SETTINGS)
    source = _source(os.environ.get("QUERY", ""))
    with system.service.stemyard() as stemyard:
        say(f"separating {source.name if isinstance(source, Path) else source}")
        separation = stemyard.separate(source)
        show = ProgressLine()
        separation.wait(_LONGEST_SECONDS, on_change=show)
        show.end()
        files = separation.download(STEMS, overwrite=True)
    print(summary(system, separation.track_id, [path.relative_to(ROOT) for path in files.values()]))


def _source(query: str) -> str | Path:
    if query and _youtube_is_reachable():
        return query
    if query:
        say("YouTube is unreachable: using the bundled clip instead of the query")
    return CLIP


class ProgressLine:
    """Prints the progress of a separation: on a terminal on one line, elsewhere a line for each change of the text."""

    def __init__(self) -> None:
        self._shown = ""

    def __call__(self, job: Job) -> None:
        """Show a state."""
        filled = round(job.progress / 100 * 30)
        line = f"[{'#' * filled}{'.' * (30 - filled)}] {job.progress:3.0f} %  {job.phase or job.status}"
        if line == self._shown:
            return
        self._shown = line
        sys.stdout.write(f"\r{line:<70}" if sys.stdout.isatty() else f"{line}\n")
        sys.stdout.flush()

    def end(self) -> None:
        """Begin a new line on a terminal."""
        if self._shown and sys.stdout.isatty():
            sys.stdout.write("\n")


def _youtube_is_reachable() -> bool:
    try:
        socket.create_connection(("www.youtube.com", 443), timeout=3).close()
    except OSError:
        return False
    return True


def write_settings(system: System, file: Path) -> None:
    """Write the environment for scripts with mode 0600, since it contains the API key."""
    lines = {
        "STEMYARD_URL": system.service.url,
        "STEMYARD_API_KEY": system.service.api_key,
        "KUBECONFIG": str(system.kubeconfig),
    }
    file.touch(mode=0o600)
    file.write_text("".join(f"export {name}={value}\n" for name, value in lines.items()))


def summary(system: System, track_id: str, files: Sequence[Path]) -> str:
    """Return where the stems are, where to listen to them, and what to do next, in short lines.

    The link to the page contains the key, which is the demo's own, in the fragment, which browsers send to nobody.
    """
    fragment = urlencode({"key": system.service.api_key, "track": track_id}, quote_via=quote)
    kubectl = "kubectl" if shutil.which("kubectl") else tools.path_of("kubectl", here())
    saved = "\n".join(f"  {file}" for file in files)
    return f"""
Separated. The stems:
{saved}

Listen in a browser; the page takes the key out of this link:
  {system.service.url}/#{fragment}

Next:
  source .demo.env && .venv/bin/stemyard separate YOUR_SONG.mp3
  {kubectl} -n {system.namespace} get separationjobs
  make down
"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
