"""Loads the model in a background thread while other modules are imported and the audio is downloaded."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from stemyard_contract.handover import Assignment
from stemyard_contract.leasing import WorkerAssignment
from stemyard_separator.engines.protocol import SeparationEngine
from stemyard_separator.engines.registry import EngineOptions, load_engine
from stemyard_separator.logs import log
from stemyard_separator.process import available_cores
from stemyard_separator.settings import SeparatorSettings


class Loading(Protocol):
    """An engine that is being loaded, or in use by another song."""

    def result(self) -> SeparationEngine:
        """Wait for the engine; raises what `load_engine` raises."""


def start_loading(assignment: Assignment | WorkerAssignment, settings: SeparatorSettings) -> "Future[SeparationEngine]":
    """Start to load the Assignment's model; the future returns its engine or raises what `load_engine` raises."""
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load")
    try:
        return pool.submit(_load, assignment, settings)
    finally:
        pool.shutdown(wait=False)


def _load(assignment: Assignment | WorkerAssignment, settings: SeparatorSettings) -> SeparationEngine:
    threads = settings.threads or available_cores()
    engine = load_engine(
        EngineOptions(
            model=assignment.model,
            folder=settings.model_dir,
            threads=threads,
            stems=frozenset(assignment.stems),
            device=settings.device,
            preset=assignment.quality,
            compiled=settings.compile,
            residual=settings.residual,
        )
    )
    log("model loaded", model=assignment.model, digest=engine.digest, device=engine.device, threads=threads)
    return engine
