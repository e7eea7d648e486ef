"""The command line of `make demo` and `make images`: `python -m demo up | images`."""

import os
import shutil
import socket
import sys
from pathlib import Path

import httpx

from charts.cluster import ClusterError
from charts.helm import HelmError
from charts.install import InstallError
from demo.images import ROOT, build
from demo.separation import SeparationError, separate, upload
from demo.system import CommandError, Installation, System, bring_up
from localcluster import cli, tools
from localcluster.errors import LocalClusterError
from localcluster.folders import here
from localcluster.progress import say

CLIP = ROOT / "tests/golden/audio/clip.mp3"
SETTINGS = ROOT / ".demo.env"
_FAILURES = (LocalClusterError, InstallError, HelmError, ClusterError, CommandError, SeparationError, httpx.HTTPError)


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
    """Bring the system up, run one separation and print how to inspect it."""
    system = bring_up(Installation(), say)
    write_settings(system, SETTINGS)
    request = _request(system, os.environ.get("QUERY", ""))
    say("separating")
    state = separate(system.service, request)
    print(_summary(system, state["track_id"], state["result"]))


def _request(system: System, query: str) -> dict[str, str]:
    if query and _youtube_is_reachable():
        return {"search_query": query}
    if query:
        say("YouTube is unreachable: using the bundled clip instead of the query")
    say(f"uploading {CLIP.name}, 10.9 s of a song")
    return {"upload_id": upload(system.service, CLIP)}


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


def _summary(system: System, track_id: str, result: dict[str, str]) -> str:
    kubectl = "kubectl" if shutil.which("kubectl") else tools.path_of("kubectl", here())
    return f"""
Track {track_id}
  vocals        {result["vocals_url"]}
  instrumental  {result["instrumental_url"]}

Inspect it:
  source .demo.env
  {kubectl} -n {system.namespace} get separationjobs
  {kubectl} -n {system.namespace} describe separationjob sep-{track_id}
  curl -H "X-API-Key: $STEMYARD_API_KEY" $STEMYARD_URL/job/{track_id}

Stop it:
  make down
"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
