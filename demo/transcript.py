"""Follows the quick start of one machine: `python -m demo.transcript` writes what it printed, and how long it took.

A fresh clone, an empty cache of packages and no weights; then the same commands again.
"""

import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from demo.images import ROOT

PAGE: Final = ROOT / "docs/quick-start/one-machine-transcript.md"
_CLIP: Final = ROOT / "tests/golden/audio/clip.mp3"
_HEAD: Final = """# Transcript of the quick start on one machine

<!-- Written by `make transcript`. Do not edit. -->

The [quick start](one-machine.md), as it went on {machine}, on {day}, with version {version}. `make transcript`
made it: it follows the page in an empty folder, with a fresh clone, an empty cache of packages (`UV_CACHE_DIR`) and no
weights, on the bundled clip of 11 seconds; then once more with all of that there. After each command: seconds by the
clock, and seconds of CPU time. {load}
"""
_BLOCK: Final = (
    "\n## {title}\n\n<!-- not run: needs the package index; `make transcript` ran it -->\n```console\n{lines}```\n"
)


def transcript(folder: Path) -> str:
    """Return the page, made in an empty folder."""
    variables = {
        **os.environ,
        "UV_CACHE_DIR": str(folder / "packages"),
        "UV_TOOL_DIR": str(folder / "tools"),
        "UV_TOOL_BIN_DIR": str(folder / "bin"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "NO_COLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "",  # the second start is one of a user, who has bytecode
    }
    before = os.getloadavg()[0]
    clone = _lines(folder, folder, variables, [["git", "clone", "-q", str(ROOT), "stemyard"]])
    inside = folder / "stemyard"
    shutil.copy(_CLIP, inside / "song.mp3")
    install = ["uv", "tool", "install", ".[cli]"]
    cold = _lines(folder, inside, variables, [install, ["stemyard", "run", "song.mp3", "--out", "stems"]])
    warm = _lines(folder, inside, variables, [install, ["stemyard", "run", "song.mp3", "--out", "again"]])
    head = _HEAD.format(
        machine=f"Linux on {os.cpu_count()} cores ({platform.machine()})",
        day=datetime.now(UTC).date(),
        version=version("stemyard"),
        load=f"Others used the machine meanwhile: its load was {before:.1f} before and {os.getloadavg()[0]:.1f} after.",
    )
    cold_block = _BLOCK.format(title="Nothing there", lines="".join([*clone, *cold]))
    return f"{head}{cold_block}{_BLOCK.format(title='Everything there', lines=''.join(warm))}"


def _lines(folder: Path, inside: Path, variables: dict[str, str], commands: Sequence[Sequence[str]]) -> list[str]:
    """Run commands; return each with what it printed, without the paths of this machine, and the time it took."""
    lines = []
    for command in commands:
        start, used = time.monotonic(), _cpu_seconds()
        done = subprocess.run(
            command, cwd=inside, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True
        )
        seconds, cpu = time.monotonic() - start, _cpu_seconds() - used
        shown = " ".join(f'"{word}"' if "[" in word else word for word in command)
        text = f"$ {shown}\n{done.stdout}[{seconds:.1f} s, {cpu:.1f} s of CPU time]\n"
        for path, name in ((str(folder), "~"), (str(ROOT), "https://github.com/stemyard/stemyard.git")):
            text = text.replace(path, name)
        lines.append(text)
    return lines


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Write the page; return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            PAGE.write_text(transcript(Path(folder)))
        except subprocess.CalledProcessError as error:
            sys.stderr.write(f"{error}\n{error.stdout}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
