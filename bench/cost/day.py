"""A simulated day of submissions: songs of unequal popularity, results that are kept, and cards that serve in order."""

import heapq
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.cost.song import Floats

DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the day is like; nothing of it is measured.

    Attributes:
        submissions: requests of the day.
        songs: size of the catalogue that is requested from.
        exponent: of Zipf's law: the probability of the song of rank r is proportional to r^-exponent. Measured for
            requests of media: 0.6 to 1.2 (Breslau et al. 1999; Cha et al. 2007).
        kept_days: how long a result is kept, from its completion.
        peak: highest rate of requests over the mean; the rate follows a cosine over the day.
        median_length: of a song in seconds; lengths are log-normal.
        spread: standard deviation of the logarithm of the length.
    """

    submissions: int = 1_000_000
    songs: int = 5_000_000
    exponent: float = 0.9
    kept_days: float = 30
    peak: float = 2.0
    median_length: float = 210
    spread: float = 0.35


@dataclass(frozen=True, slots=True)
class Day:
    """Separations of a day: the second of the day at which each is requested, and the length of its song."""

    hit_rate: float
    at: Floats
    lengths: Floats


def simulated(assumed: Assumptions, seed: int = 1) -> Day:
    """Return the day of an installation that has run for longer than results are kept.

    A request finds a kept result with the probability lambda T / (1 + lambda T), where lambda is the rate of requests
    for its song and T the time that results are kept: the hit rate of a cache whose entries expire T after they were
    made, whatever is read in between (Jung, Berger, Balakrishnan: Modeling TTL-based Internet caches, 2003).
    """
    random = np.random.default_rng(seed)
    weights = np.arange(1, assumed.songs + 1, dtype=np.float64) ** -assumed.exponent
    weights /= weights.sum()
    requested = random.choice(assumed.songs, assumed.submissions, p=weights)
    expected = weights[requested] * assumed.submissions * assumed.kept_days
    missed = random.random(assumed.submissions) >= expected / (1 + expected)
    separations = int(missed.sum())
    lengths = assumed.median_length * np.exp(random.normal(0, assumed.spread, separations))
    return Day(1 - separations / assumed.submissions, _moments(assumed, separations, random), lengths)


def _moments(assumed: Assumptions, number: int, random: np.random.Generator) -> Floats:
    """Return sorted moments whose rate is 1 - (peak - 1) cos(2 pi t / DAY) times the mean."""
    grid = np.linspace(0, DAY, 10_001)
    turns = 2 * np.pi * grid / DAY
    share = (turns - (assumed.peak - 1) * np.sin(turns)) / (2 * np.pi)
    return np.interp(np.sort(random.random(number)), share, grid)


def waits(at: Floats, held: Floats, cards: int) -> Floats:
    """Return the seconds that each separation waits for one of the cards, first come first served."""
    free = [0.0] * cards
    waited = np.zeros(at.size)
    for index, (moment, seconds) in enumerate(zip(at.tolist(), held.tolist(), strict=True)):
        start = max(moment, free[0])
        waited[index] = start - moment
        heapq.heapreplace(free, start + seconds)
    return waited


def cards_for(at: Floats, held: Floats, longest: float) -> int:
    """Return the fewest cards with which 95 % of the separations wait no longer than `longest` seconds."""
    least, most = 1, int(np.ceil(held.sum() / DAY)) + 1
    while np.quantile(waits(at, held, most), 0.95) > longest:
        least, most = most + 1, most * 2
    while least < most:
        middle = (least + most) // 2
        if np.quantile(waits(at, held, middle), 0.95) > longest:
            least = middle + 1
        else:
            most = middle
    return least
