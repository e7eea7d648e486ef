"""`python -m bench.cost`: card-seconds and cost of a song, and a simulated day of a million submissions.

Computed from the figures of `bench.separation` with a GPU; what is assumed beside them is printed with the result.
Prints `name value unit target ok|short`, and writes the same to `bench/results/cost.txt`.
"""

import argparse
import dataclasses
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from bench.cost.day import DAY, Assumptions, cards_for, simulated, waits
from bench.cost.song import MODES, Held
from bench.separation.figures import Figure, parsed

_RESULTS = Path(__file__).parents[1] / "results"
_SONG: Final = 180.0
_MOST_WAIT: Final = 60.0
PRICES: Final = {"L4": 0.78, "A100_80GB": 2.45, "H100": 4.76, "H200": 6.35}
"""US dollars an hour, on demand: RunPod's list of March 2026, as https://deploybase.ai/articles/runpod-gpu-pricing
repeats it."""
BANDWIDTHS: Final = {"L4": 300, "A100_80GB": 2039, "H100": 3350, "H200": 4800}
"""GB/s of memory, by NVIDIA's data sheets. Only the H200 is measured: for the others the network is assumed to be
slower by this ratio, which is what bounds it; start, encoding and upload are not the card's."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cost", description=__doc__)
    parser.add_argument("--no-save", action="store_true", help="print only")
    given = parser.parse_args()
    figures = parsed((_RESULTS / "separation-demucs-gpu.txt").read_text())
    assumed = Assumptions()
    said = ", ".join(f"{name} {value:g}" for name, value in dataclasses.asdict(assumed).items())
    lines = [
        f"# {datetime.date.today().isoformat()}, computed from bench/results/separation-demucs-gpu.txt (H200)",
        f"# assumed: {said}; cards that serve in order, with 95 % of waits within {_MOST_WAIT:g} s",
    ]
    lines += [one.line() for one in (*_song(Held.of(figures, MODES[0]), figures), *_day(figures, assumed))]
    print("\n".join(lines))
    if not given.no_save:
        (_RESULTS / "cost.txt").write_text("\n".join(lines) + "\n")


def _song(held: Held, figures: dict[str, float]) -> Iterator[Figure]:
    yield Figure("cost.held_3_min", held.seconds(_SONG), "card_s")
    for mode in MODES:
        yield Figure(f"cost.busy_{mode}_3_min", Held.of(figures, mode).busy(_SONG), "card_s")
    for card, price in PRICES.items():
        slower = BANDWIDTHS["H200"] / BANDWIDTHS[card]
        seconds = held.seconds(_SONG) + held.busy(_SONG) * (slower - 1)
        yield Figure(f"cost.1000_songs_{card}", seconds / 3600 * price * 1000, "USD")


def _day(figures: dict[str, float], assumed: Assumptions) -> Iterator[Figure]:
    held, day = Held.of(figures, MODES[0]), simulated(assumed)
    yield Figure("cost.day_hit_rate", day.hit_rate * 100, "%")
    yield Figure("cost.day_separations", day.at.size, "separations")
    for name, each in (
        ("one_job_each", held.seconds(day.lengths)),
        ("if_held_only_while_busy", held.busy(day.lengths)),
    ):
        cards = cards_for(day.at, each, _MOST_WAIT)
        waited = waits(day.at, each, cards)
        yield Figure(f"cost.day_mean_{name}", each.sum() / DAY, "cards")
        yield Figure(f"cost.day_needed_{name}", cards, "cards")
        yield Figure(f"cost.day_wait_p50_{name}", float(np.quantile(waited, 0.5)), "s")
        yield Figure(f"cost.day_wait_p99_{name}", float(np.quantile(waited, 0.99)), "s")


if __name__ == "__main__":
    main()
