"""Steps that run at once: each announces itself, and the first error waits for the others before it is raised."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait


def together(*steps: Callable[[], object]) -> None:
    """Run steps in threads of their own and wait for all of them; then raise the first error, if any."""
    with ThreadPoolExecutor(max_workers=len(steps)) as pool:
        started = [pool.submit(step) for step in steps]
        wait(started)
    for each in started:
        each.result()


def in_turn(*steps: Callable[[], object]) -> Callable[[], None]:
    """One step made of several, run one after the other."""

    def run_all() -> None:
        for step in steps:
            step()

    return run_all
