"""`python -m bench.api`: prints `name value unit target ok|short`, and writes the same to `bench/results/`."""

import argparse
import datetime
import tempfile
from itertools import chain
from pathlib import Path

from bench.api import limits, reading, slow_clients, streaming
from bench.api.servers import bench
from bench.separation.figures import machine

_RESULTS = Path(__file__).parents[1] / "results" / "api.txt"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.api", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved runs of each; the median is reported")
    parser.add_argument("--seconds", type=float, default=3.0, help="duration of one run")
    parser.add_argument("--no-save", action="store_true", help="print only")
    given = parser.parse_args()
    lines = [f"# {datetime.date.today().isoformat()}, {machine()}"]
    print(lines[0], flush=True)
    with tempfile.TemporaryDirectory() as folder, bench(Path(folder)) as made:
        measured = (
            reading.figures(made, given.rounds, given.seconds),
            slow_clients.figures(made, given.rounds, given.seconds),
            streaming.figures(made, given.rounds),
            limits.figures(made, Path(folder), given.seconds),
        )
        for figure in chain.from_iterable(measured):
            lines.append(figure.line())
            print(lines[-1], flush=True)
    if not given.no_save:
        _RESULTS.parent.mkdir(exist_ok=True)
        _RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
