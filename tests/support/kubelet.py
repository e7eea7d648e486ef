"""The kubelet and the Job controller of an operator's world: every Job gets its pod, runs briefly and ends."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from localcluster.errors import ApiRefusedError
from tests.support.operator_world import World

Failing = Callable[[dict[str, Any]], str | None]
"""Returns the failure code of a SeparationJob with this spec, None for success."""
_POLL_SECONDS = 0.1


@contextlib.contextmanager
def kubelet(world: World, failing: Failing = lambda _: None, work_seconds: float = 0.5) -> Iterator[None]:
    """Run the world's Jobs while the block runs."""
    stopping = threading.Event()
    thread = threading.Thread(target=_run, args=(world, failing, work_seconds, stopping))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _run(world: World, failing: Failing, work_seconds: float, stopping: threading.Event) -> None:
    seen: set[str] = set()
    while not stopping.wait(_POLL_SECONDS):
        jobs = [job for job in world.jobs().values() if job["metadata"]["uid"] not in seen]
        seen |= {job["metadata"]["uid"] for job in jobs}
        pods = [(job, world.run(job)) for job in jobs]
        if pods and not stopping.wait(work_seconds):
            for job, pod in pods:
                # the SeparationJob may have been deleted meanwhile
                with contextlib.suppress(ApiRefusedError):
                    _end(world, job, pod, failing)


def _end(world: World, job: dict[str, Any], pod: dict[str, Any], failing: Failing) -> None:
    name = job["metadata"]["ownerReferences"][0]["name"]
    code = failing(world.plane.api.get(world.path("separationjobs", name))["spec"])
    if code is None:
        world.succeed(job, pod)
    else:
        world.fail(job, pod, code)
