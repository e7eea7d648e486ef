"""`python -m bench.webhooks`: prints `name value unit target ok|short`, and writes the same to `bench/results/`."""

import argparse
import datetime
from pathlib import Path

from bench.separation.figures import machine
from bench.webhooks.measuring import bench, deliveries, pending

_RESULTS = Path(__file__).parents[1] / "results" / "webhooks.txt"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.webhooks", description=__doc__)
    parser.add_argument("--separations", type=int, default=30, help="number of separations with 64 deliveries each")
    parser.add_argument("--rounds", type=int, default=100, help="number of sequential separations")
    parser.add_argument("--no-save", action="store_true", help="print only")
    given = parser.parse_args()
    lines = [f"# {datetime.date.today().isoformat()}, {machine()}"]
    print(lines[0], flush=True)
    with bench() as made:
        for figures in (deliveries(made, given.separations), pending(made, given.rounds)):
            for figure in figures:
                lines.append(figure.line())
                print(lines[-1], flush=True)
    if not given.no_save:
        _RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
