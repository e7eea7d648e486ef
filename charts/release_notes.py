"""Prints the section of a version in CHANGELOG.md, for its release notes: `python -m charts.release_notes 1.2.3`."""

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parents[1] / "CHANGELOG.md"


class NoNotesError(Exception):
    """The changelog has no notes of a version."""


def notes(changelog: str, version: str) -> str:
    """Return the section of a version in the changelog, without its heading.

    Raises:
        NoNotesError: the section is missing or empty.
    """
    parts = re.split(r"(?m)^## \[([^\]]+)\].*\n", changelog)
    found = dict(zip(parts[1::2], parts[2::2], strict=True)).get(version, "").strip()
    if not found:
        raise NoNotesError(f"CHANGELOG.md has no notes under `## [{version}]`; move those under Unreleased there")
    return found + "\n"


def main(arguments: list[str]) -> int:
    """Print the notes; return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m charts.release_notes VERSION\n")
        return 2
    try:
        sys.stdout.write(notes(CHANGELOG.read_text(), arguments[0]))
    except NoNotesError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
