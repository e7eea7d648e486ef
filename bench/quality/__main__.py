"""`python -m bench.quality`: quality in dB of the golden mixes before and after what was changed for them.

SI-SDR of the published stems, of vocals at other levels (x 0.01: 40 dB below), and SDR of vocals within 0.1 s of the
seams of the network's inputs. Prints a table, and writes it to `bench/results/quality.txt`.
"""

import argparse
import datetime
from pathlib import Path

from bench.media.__main__ import table
from bench.quality.measuring import Comparison, comparisons
from bench.separation.figures import machine

_RESULTS = Path(__file__).parents[1] / "results" / "quality.txt"
_HEADINGS = ("mix", "stem", "before_dB", "now_dB", "change_dB", "best_dB", "verdict")
_MAX_DROP = 0.2
"""As in the tests of the golden mixes, in dB."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=__doc__)
    parser.add_argument("--no-save", action="store_true", help="print only")
    given = parser.parse_args()
    lines = [f"# {datetime.date.today().isoformat()}, {machine()}"]
    lines += table([_HEADINGS, *map(_cells, comparisons())])
    print("\n".join(lines))
    if not given.no_save:
        _RESULTS.write_text("\n".join(lines) + "\n")


def _cells(one: Comparison) -> tuple[str, ...]:
    change = one.now - one.before
    best = "-" if one.best is None else f"{one.best:.2f}"
    verdict = "ok" if change >= -_MAX_DROP else "short"
    return (one.mix, one.stem, f"{one.before:.2f}", f"{one.now:.2f}", f"{change + 0.0:+.2f}", best, verdict)


if __name__ == "__main__":
    main()
