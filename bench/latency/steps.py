"""The steps between a request and its links, from what was seen of them. Pure."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from bench.separation.figures import Figure

TARGET_SECONDS: Final = 5.0
"""From the POST to the links, on an idle machine."""
_STAGES: Final = ("fetch", "separate")
_OF_A_STAGE: Final = (
    ("job", "its Job is created"),
    ("pod", "its pod is created"),
    ("scheduled", "its pod has a node"),
    ("process", "the container's process starts"),
    ("line", "the stage's first log line: its imports are done"),
    ("mark", "the commit mark is written"),
)
STEPS: Final[Mapping[str, str]] = {
    "seen": "the SeparationJob is created",
    "answered": "POST answered",
    **{f"{stage}_{name}": f"{stage}: {what}" for stage in _STAGES for name, what in _OF_A_STAGE},
    "completed": "the status is Completed",
    "links": "GET answers with links",
}
"""Each step's meaning, in order; the first begins with the POST."""
_AFTERWARDS: Final = {
    "fetch_ended": "fetch: its Job has ended, after its mark",
    "separate_ended": "separate: its Job has ended, after its mark",
}
Moments = Mapping[str, float]
"""Seconds since the POST, by step; a step that was not seen is missing."""


def durations(moments: Moments) -> dict[str, float]:
    """Return the seconds of each step since the one before it that was seen; never negative, as clocks are read."""
    found, before = {}, 0.0
    for step in STEPS:
        if step in moments:
            found[step] = max(0.0, moments[step] - before)
            before = max(before, moments[step])
    return found


def figures(rounds: Sequence[Moments]) -> list[Figure]:
    """Return the median of each step, of the whole, and of what follows the marks."""
    each = [durations(moments) for moments in rounds]
    totals = [moments["links"] for moments in rounds]
    found = [
        Figure(f"latency.{step}", 1000 * median(one[step] for one in each if step in one), "ms")
        for step in STEPS
        if any(step in one for one in each)
    ]
    for name in _AFTERWARDS:
        mark = name.replace("ended", "mark")
        late = [moments[name] - moments[mark] for moments in rounds if name in moments and mark in moments]
        if late:
            found.append(Figure(f"latency.{name}_after_mark", 1000 * median(late), "ms"))
    spread = (Figure("latency.fastest", min(totals), "s"), Figure("latency.slowest", max(totals), "s"))
    return [*found, *spread, Figure("latency.post_to_links", median(totals), "s", TARGET_SECONDS)]


def table(rounds: Sequence[Moments]) -> list[str]:
    """Return a table: each step in milliseconds, median and each round."""
    each = [durations(moments) for moments in rounds]
    lines = []
    for step, meaning in STEPS.items():
        seen = [f"{1000 * one[step]:7.0f}" if step in one else "      -" for one in each]
        known = [one[step] for one in each if step in one]
        middle = f"{1000 * median(known):7.0f}" if known else "      -"
        lines.append(f"# {middle} ms  {meaning:<62} {' '.join(seen)}")
    return lines
