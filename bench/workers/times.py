"""What a device was held for, from the times that the stand-in's processes have written."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Taken:
    """What some songs took, in seconds of a machine with the reckoned cores.

    Attributes:
        songs: their number.
        seconds: from the first fetched song to the last completed one.
        busy: that the network computed.
        starting: that the device was held before the engine was loaded.
        reading: that the network waited for the decoder.
        handing: that it waited for what takes its blocks.
        between: that the device had no song between two of a process, or before the first.
        late: that the network was woken too late, because this machine was busy.
        ending: that it was held after the last one.
        cpu: CPU seconds of all processes, unreckoned.
    """

    songs: int
    seconds: float
    busy: float = 0.0
    starting: float = 0.0
    reading: float = 0.0
    handing: float = 0.0
    between: float = 0.0
    late: float = 0.0
    ending: float = 0.0
    cpu: float = 0.0

    @property
    def held(self) -> float:
        """Seconds that a process held the device."""
        waiting = self.reading + self.handing + self.between + self.late
        return self.busy + self.starting + waiting + self.ending


def taken(times: Path, songs: int, seconds: float, slower: float) -> Taken:
    """Add up what the device was held for, in seconds `slower` times shorter than they were."""
    processes: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for line in times.read_text().splitlines():
        event = json.loads(line)
        processes[event["pid"]].append(event)
    totals: dict[str, float] = defaultdict(float)
    for events in processes.values():
        for name, value in _of_process(events).items():
            totals[name] += value
    cpu = totals.pop("cpu")
    return Taken(songs, seconds / slower, cpu=cpu, **{name: value / slower for name, value in totals.items()})


def _of_process(events: list[dict[str, Any]]) -> dict[str, float]:
    """Return the sums of one process."""
    at = {event["event"]: event["at"] for event in events}
    played = [event for event in events if event["event"] == "song"]
    found: dict[str, float] = defaultdict(float)
    found["starting"] = at["loaded"] - at["held"]
    since = at["loaded"]
    for song in played:
        found["between"] += song["begun"] - since
        since = song["at"]
        for name in ("busy", "reading", "handing"):
            found[name] += song[name]
        found["late"] += since - song["begun"] - song["busy"] - song["reading"] - song["handing"]
    found["ending"] = at["ended"] - since
    found["cpu"] = next(event["cpu"] for event in events if event["event"] == "ended")
    return found
