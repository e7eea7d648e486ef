"""`python -m bench.mutation`: changes the pure cores in small ways, and counts the changes that their tests notice.

The sample is the same each time. Ends with 1 if fewer than 95 % are noticed, or one that is not is unexplained.
"""

import argparse
import os
import random
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.mutation.mutants import Mutant, mutants_of
from bench.mutation.running import baseline, survivors
from bench.mutation.subjects import ROOT, SUBJECTS, Subject

EXPLAINED: Final = Path(__file__).parent / "explained.toml"
_LEAST_KILLED: Final = 0.95
_SEED: Final = 20260723

Key = tuple[str, str, str, str]


def explained() -> dict[Key, str]:
    """Return why mutants that survive are no faults of the tests, by module, scope and change."""
    entries = tomllib.loads(EXPLAINED.read_text())["mutant"]
    return {(one["module"], one["scope"], one["before"], one["after"]): one["why"] for one in entries}


def key_of(subject: Subject, mutant: Mutant) -> Key:
    """Return what names a mutant in the list of explained ones."""
    return (subject.name, mutant.scope, mutant.before, mutant.after)


def sample(mutants: Sequence[Mutant], size: int) -> list[Mutant]:
    """Return so many mutants, always the same ones, in the order of the source; all of them for 0."""
    if size == 0 or size >= len(mutants):
        return list(mutants)
    chosen = random.Random(_SEED).sample(range(len(mutants)), size)
    return [mutants[index] for index in sorted(chosen)]


def _measure(subject: Subject, size: int, jobs: int, known: dict[Key, str]) -> tuple[int, int, int]:
    """Return the numbers of mutants, of killed ones, and of those that survived unexplained; print each of these."""
    chosen = sample(mutants_of(subject.source, str(ROOT / subject.path)), size)
    lived = list(survivors(subject, chosen, baseline(subject), jobs))
    unknown = [mutant for mutant in lived if key_of(subject, mutant) not in known]
    counts = f"{len(chosen) - len(lived)} of {len(chosen)} killed"
    print(f"{subject.name}: {counts}, {len(lived)} survived, {len(lived) - len(unknown)} of them explained", flush=True)
    for mutant in unknown:
        print(f"  {mutant.scope or 'module'}: {mutant.before}  ->  {mutant.after}", flush=True)
    return len(chosen), len(chosen) - len(lived), len(unknown)


def main() -> int:
    """Measure the chosen modules; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.mutation", description=__doc__)
    names = [subject.name for subject in SUBJECTS]
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"default: all of {', '.join(names)}")
    parser.add_argument("--sample", type=int, default=40, help="mutants of each module, 0 for all (default: 40)")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1), help="processes at a time")
    given = parser.parse_args()
    if unknown := set(given.modules) - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    chosen = [subject for subject in SUBJECTS if not given.modules or subject.name in given.modules]
    known = explained()
    figures = [_measure(subject, given.sample, given.jobs, known) for subject in chosen]
    total, killed, unexplained = (sum(column) for column in zip(*figures, strict=True))
    print(f"all: {killed} of {total} killed, {killed / total:.1%}; {unexplained} survivors are unexplained")
    return int(killed < _LEAST_KILLED * total or unexplained > 0)


if __name__ == "__main__":
    raise SystemExit(main())
