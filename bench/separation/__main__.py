"""`python -m bench.separation`: prints `name value unit target ok|short`, and writes the same to `bench/results/`."""

import argparse
import datetime
import importlib.util
from pathlib import Path

from bench.separation.figures import Figure, machine
from bench.separation.stages import figures

_RESULTS = Path(__file__).parents[1] / "results" / "separation.txt"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.separation", description=__doc__)
    parser.add_argument("--minutes", default="3,10,60", help="lengths of the songs")
    parser.add_argument("--repeats", type=int, default=3, help="runs of the shortest song; the best counts")
    parser.add_argument("--no-save", action="store_true", help="print only")
    given = parser.parse_args()
    lines = [f"# {datetime.date.today().isoformat()}, {machine()}"]
    print(lines[0], flush=True)
    for figure in (*figures([float(each) for each in given.minutes.split(",")], given.repeats), *_demucs()):
        lines.append(figure.line())
        print(lines[-1], flush=True)
    if not given.no_save:
        _RESULTS.parent.mkdir(exist_ok=True)
        _RESULTS.write_text("\n".join(lines) + "\n")


def _demucs() -> list[Figure]:
    if importlib.util.find_spec("torch") is None:
        print("# demucs: skipped, torch is not installed here")
        return []
    return []


if __name__ == "__main__":
    main()
