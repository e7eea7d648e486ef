"""Runs the program `stemyard` as users do."""

import os
import subprocess
import sys
from pathlib import Path

STEMYARD = Path(sys.executable).parent / "stemyard"


def stemyard(
    *arguments: str | Path, folder: Path, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command with a configuration and state of its own in a folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STEMYARD_", "XDG_"))}
    own = {"XDG_CONFIG_HOME": str(folder / "config"), "XDG_STATE_HOME": str(folder / "state")}
    return subprocess.run(
        [STEMYARD, *map(str, arguments)],
        env={**kept, **own, **variables},
        input=stdin,
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
    )
