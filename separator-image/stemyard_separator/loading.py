"""Loads the model in a thread: its library and weights are read while the rest is imported and the audio comes."""

from concurrent.futures import Future, ThreadPoolExecutor

from stemyard_separator.cores import granted_cores
from stemyard_separator.engines.protocol import Engine
from stemyard_separator.engines.registry import Loading, load_engine
from stemyard_separator.logs import log
from stemyard_separator.stage import Stage


def load_meanwhile(stage: Stage) -> "Future[Engine]":
    """Begin to load the stage's model; the result is its engine, or raises what `load_engine` raises."""
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load")
    try:
        return pool.submit(_load, stage)
    finally:
        pool.shutdown(wait=False)


def _load(stage: Stage) -> Engine:
    threads = stage.settings.threads or granted_cores()
    given, settings = stage.assignment, stage.settings
    engine = load_engine(
        Loading(
            model=given.model,
            folder=settings.model_dir,
            threads=threads,
            stems=frozenset(given.stems),
            device=settings.device,
            preset=given.quality,
            compiled=settings.compile,
        )
    )
    log("loaded", model=stage.assignment.model, digest=engine.digest, device=engine.device, threads=threads)
    return engine
