"""Runs steps in parallel or in sequence."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait


def run_parallel(*steps: Callable[[], object]) -> None:
    """Run each step in a thread and wait for all of them, then raise the first error, if any."""
    with ThreadPoolExecutor(max_workers=len(steps)) as pool:
        started = [pool.submit(step) for step in steps]
        wait(started)
    for each in started:
        each.result()


def sequence(*steps: Callable[[], object]) -> Callable[[], None]:
    """Return one step that runs several in order."""

    def run_all() -> None:
        for step in steps:
            step()

    return run_all
