"""`python -m bench.media`: separates nasty inputs and compares the sums of the stems with FFmpeg's decoding.

Prints a table, and writes it to `bench/results/media.txt`.
"""

import argparse
import datetime
import tempfile
from pathlib import Path

from bench.media.comparing import Row, compare
from bench.media.containers import containers
from bench.media.damage import damaged, names, no_audio, tags
from bench.media.levels import levels, rates
from bench.separation.figures import machine
from tests.support.spleeter_model import model_folder

_RESULTS = Path(__file__).parents[1] / "results" / "media.txt"
_HEADINGS = ("file", "fetch", "run", "samples", "ffmpeg", "level_dB", "snr_dB", "verdict")
_MAX_NAME = 32


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.media", description=__doc__)
    parser.add_argument("--only", help="files whose name contains this")
    parser.add_argument("--no-save", action="store_true", help="print only")
    given = parser.parse_args()
    makers = (levels, rates, containers, tags, names, damaged, no_audio)
    cases = [case for maker in makers for case in maker() if not given.only or given.only in case.name]
    lines = [f"# {datetime.date.today().isoformat()}, {machine()}"]
    with tempfile.TemporaryDirectory() as folder:
        rows = list(compare(cases, Path(folder), model_folder()))
    lines += table([_HEADINGS, *map(_cells, rows)])
    short = sum(row.verdict.startswith("short") for row in rows)
    lines.append(f"# {len(rows)} files, {short} short")
    print("\n".join(lines))
    if not given.no_save and not given.only:
        _RESULTS.write_text("\n".join(lines) + "\n")


def _cells(row: Row) -> tuple[str, ...]:
    name = ascii(row.case.name)[1:-1]
    shortened = name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 3]}..."
    lengths = ("-" if each is None else str(each) for each in (row.samples, row.expected_samples))
    figures = ("-" if each is None else f"{each + 0.0:.2f}" for each in (row.level, row.snr))
    return (shortened, row.fetched, row.separated, *lengths, *figures, row.verdict)


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Return lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


if __name__ == "__main__":
    main()
