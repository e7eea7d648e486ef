"""The command blocks of the pages, what each says of its being run, and a place to run them in."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.audio import CLIP
from tests.support.spleeter_model import model_folder

ROOT: Final = Path(__file__).parents[2]
HELM: Final = ROOT / "tests/support/helm_command.py"
SHELLS: Final = frozenset({"bash", "sh", "shell", "console"})
_SECONDS: Final = 300
"""Longest time that a block may take."""
_BLOCK: Final = re.compile(
    r"""(?msx)
    ^(?P<indent>[ ]*)(?:<!--[ ](?P<kind>not[ ]run|run[ ]by):[ ](?P<why>[^\n]+?)[ ]-->\n(?P=indent))?
    ```(?P<language>\w*)(?:[ ]title="(?P<title>[^"\n]+)")?\n(?P<code>.*?)^(?P=indent)```$
    """
)


@dataclass(frozen=True)
class Block:
    """A block of a page."""

    page: Path
    line: int
    language: str
    title: str
    """Name of the file that the block shows, if it shows one."""
    code: str
    not_run: str
    """Why no test runs it, if none does."""
    run_by: str
    """Test that runs it, if another than that of all blocks does."""

    @property
    def commands(self) -> str:
        """What a shell is given: of a console only the lines behind a prompt."""
        if self.language != "console":
            return self.code
        return "".join(f"{line[2:]}\n" for line in self.code.splitlines() if line.startswith("$ "))

    @property
    def is_run_here(self) -> bool:
        """Whether the test of all blocks runs it."""
        return self.language in SHELLS and not self.not_run and not self.run_by


def blocks(page: Path) -> Iterator[Block]:
    """Yield all blocks of a page in their order."""
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        indent = len(found["indent"])
        yield Block(
            page=page,
            line=text.count("\n", 0, found.start("language")) + 1,
            language=found["language"],
            title=found["title"] or "",
            code="".join(line[indent:] if line.strip() else line for line in found["code"].splitlines(keepends=True)),
            not_run=(found["why"] or "") if found["kind"] == "not run" else "",
            run_by=(found["why"] or "") if found["kind"] == "run by" else "",
        )


def needs_cluster(page: Path) -> bool:
    """Whether blocks of a page that are run need an API server."""
    return any(
        re.search(r"\bkubectl\b|\bhelm (upgrade|rollback)\b", one.commands) for one in blocks(page) if one.is_run_here
    )


def run_blocks(
    page: Path, folder: Path, programs: Mapping[str, Path], before: Sequence[Path] = (), **variables: str
) -> list[str]:
    """Run the blocks of a page in their order, in a folder with the files that the page shows and a few songs.

    Args:
        page: whose blocks are run.
        folder: an empty folder.
        programs: what stands for programs that need not be installed here, by name.
        before: pages that its reader has followed already; theirs are run first, with the files that they show.
        variables: further environment.

    Returns:
        the output of each block.

    Raises:
        AssertionError: a block failed; the message has its place and output.
    """
    pages = [*before, page]
    environment = _place(pages, folder, programs) | variables
    outputs = []
    for block in (one for each in pages for one in blocks(each)):
        if block.is_run_here:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.commands],
                cwd=folder / "work",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
            place = f"{block.page.relative_to(ROOT)}:{block.line}"
            assert done.returncode == 0, f"{place} ended with {done.returncode}:\n{block.commands}\n{done.stdout}"
            outputs.append(done.stdout)
    return outputs


def _place(pages: Sequence[Path], folder: Path, programs: Mapping[str, Path]) -> dict[str, str]:
    """Make the folders; return the environment."""
    work, home, bin_folder = (folder / name for name in ("work", "home", "bin"))
    for made in (work / "music", home, bin_folder):
        made.mkdir(parents=True)
    for name in ("song.mp3", "music/first.mp3", "music/Second, by somebody.mp3"):
        shutil.copy(CLIP, work / name)
    shutil.copy(CLIP.with_name("vocals.flac"), work / "take.flac")
    for block in (one for each in pages for one in blocks(each)):
        if block.title:
            (work / block.title).write_text(block.code)
    (work / "charts").symlink_to(ROOT / "charts")
    for name, program in programs.items():
        (bin_folder / name).symlink_to(program)
    path = f"{bin_folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STEMYARD_", "XDG_", "KUBE"))}
    return {**kept, "PATH": path, "HOME": str(home), "STEMYARD_MODEL_DIR": str(model_folder())}
