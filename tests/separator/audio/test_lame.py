"""The LAME library that FFmpeg calls, read from the dynamic linker's debug output."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stemyard_separator.audio.lame import SYMBOLS

_ENCODE = """
import sys
from pathlib import Path
from stemyard_separator.audio.lame import lame_version, preload_optimised_lame

if sys.argv[1] == "optimised":
    preload_optimised_lame()
import numpy as np
from stemyard_contract.output import Output
from stemyard_separator.audio.formats import encoding_for
from stemyard_separator.audio.media import StemWriter, declared_samples

path = Path(sys.argv[2], "silence.mp3")
with StemWriter(path, encoding_for(Output(format="mp3"))) as writer:
    writer.write(np.zeros((2, 44_100), np.float32))
print(declared_samples(path), *lame_version())
"""
_BINDING = re.compile(r"binding file \S*/libavcodec\S* \[\d+\] to (\S+) \[\d+\]: normal symbol `(lame_\w+)'")


def encoded(folder: Path, which: str) -> tuple[list[str], dict[str, str]]:
    """Return the output of an encoding process, and the library that each LAME function is bound to."""
    environment = {**os.environ, "LD_DEBUG": "bindings", "LD_BIND_NOW": "1", "LD_DEBUG_OUTPUT": str(folder / "linker")}
    command = [sys.executable, "-c", _ENCODE, which, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    linker_output = "".join(path.read_text(errors="replace") for path in folder.glob("linker.*"))
    return done.stdout.split(), {name: Path(file).name for file, name in _BINDING.findall(linker_output)}


@pytest.mark.skipif(sys.platform != "linux", reason="needs the linker of glibc")
def test_ffmpeg_uses_only_the_optimised_lame(tmp_path: Path) -> None:
    printed, bindings = encoded(tmp_path, "optimised")

    assert printed == ["44100", "lameenc"]
    assert set(bindings) == set(SYMBOLS)
    assert {name.partition(".")[0] for name in bindings.values()} == {"lameenc"}


@pytest.mark.skipif(sys.platform != "linux", reason="needs the linker of glibc")
def test_without_it_ffmpeg_uses_its_own_lame(tmp_path: Path) -> None:
    printed, bindings = encoded(tmp_path, "own")

    assert printed == ["44100"]
    assert all(name.startswith("libmp3lame") for name in bindings.values())
