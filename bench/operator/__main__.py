"""`python -m bench.operator`: prints `name value unit target ok|short`, and writes the same to `bench/results/`."""

import argparse
import asyncio
import datetime
import tempfile
from pathlib import Path

from bench.operator.figures import Plan, figures, memory
from bench.operator.system import system
from bench.separation.figures import machine

_RESULTS = Path(__file__).parents[1] / "results" / "operator.txt"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.operator", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000, help="separations of each operator")
    parser.add_argument("--rounds", type=int, default=10, help="interleaved batches, in alternating order")
    parser.add_argument("--at-once", type=int, default=40, help="concurrent separations in a batch")
    parser.add_argument(
        "--idle", type=int, default=5000, help="idle completed separations beside which the third operator works"
    )
    parser.add_argument("--live", type=int, default=10000, help="completed separations with which memory is measured")
    parser.add_argument(
        "--steady-seconds",
        type=float,
        default=90,
        help="duration of the latency measurement at two separations a second",
    )
    parser.add_argument("--pod-seconds", type=float, default=0.5, help="seconds that each simulated pod runs")
    parser.add_argument("--only", choices=["memory"], help="measure one part; nothing is saved")
    parser.add_argument("--no-save", action="store_true", help="print only")
    given = parser.parse_args()
    plan = Plan(given.jobs, given.rounds, given.at_once, given.idle, given.live, given.steady_seconds)
    lines = [
        f"# {datetime.date.today().isoformat()}, {machine()}",
        f"# {plan.jobs} separations of each operator in {plan.rounds} rounds, {plan.at_once} at once; nodes simulated, "
        f"each pod {given.pod_seconds:g} s; beside {plan.idle} idle ones; memory with {plan.live} completed ones "
        "and a sweep due; everything on this machine",
    ]
    print("\n".join(lines), flush=True)

    async def run() -> None:
        async for figure in (memory if given.only else figures)(made, plan):
            lines.append(figure.line())
            print(lines[-1], flush=True)

    with tempfile.TemporaryDirectory() as folder, system(Path(folder), given.pod_seconds) as made:
        asyncio.run(run())
    if not (given.no_save or given.only):
        _RESULTS.parent.mkdir(exist_ok=True)
        _RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
