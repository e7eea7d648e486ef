"""A measured figure with its target, and a description of the machine."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """One line of a result; the target is optional."""

    name: str
    value: float
    unit: str
    target: float | None = None
    better: Literal["more", "less"] = "less"

    @property
    def verdict(self) -> str:
        if self.target is None:
            return "info"
        good = self.value >= self.target if self.better == "more" else self.value <= self.target
        return "ok" if good else "short"

    def line(self) -> str:
        target = "-" if self.target is None else f"{'>=' if self.better == 'more' else '<='}{self.target:g}"
        return f"{self.name} {self.value:.3f} {self.unit} {target} {self.verdict}"


def parsed(text: str) -> dict[str, float]:
    """Return the values of a file of results by name, as `Figure.line` has written them."""
    rows = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return {row[0]: float(row[1]) for row in rows}


def machine() -> str:
    """Return the machine in one line, with its load average."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    load = "/".join(f"{each:.1f}" for each in os.getloadavg())
    cores = len(os.sched_getaffinity(0))
    kernel = platform.release().partition("-")[0]
    return f"{names[0] if names else platform.machine()}, {cores} cores, {memory:.0f} GiB, Linux {kernel}, load {load}"
