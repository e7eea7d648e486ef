"""Which engine runs a model, and whether this image has it."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Stem
from stemyard_contract.models import MODELS
from stemyard_contract.models import Engine as EngineName
from stemyard_separator.engines.presets import DEFAULT_PRESET, PRESETS
from stemyard_separator.engines.protocol import Engine
from stemyard_separator.errors import ConfigurationError, ModelError
from stemyard_separator.models.catalogue import CATALOGUE
from stemyard_separator.models.folder import verified_model

_GIVEN: Final = "NVIDIA_VISIBLE_DEVICES"
"""Set by NVIDIA's device plugin in containers whose pod asked for a GPU."""
_NONE: Final = frozenset({"", "none", "void"})


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What to load, and what for.

    Attributes:
        model: name of the catalogue, never `auto`.
        folder: model folder.
        threads: cores it may use.
        stems: what will be taken from it; none means everything it gives.
        device: `cpu`, `cuda`, or `auto`: a GPU where there is one.
        preset: `fast`, `balanced` or `best`.
        compiled: whether torch compiles the networks.
    """

    model: str
    folder: Path
    threads: int
    stems: frozenset[Stem] = frozenset()
    device: str = "auto"
    preset: str = DEFAULT_PRESET
    compiled: bool = False


Loader = Callable[[EngineOptions], Engine]


def _load_spleeter(loading: EngineOptions) -> Engine:
    if loading.device == "cuda":
        raise ModelError(FailureCode.DEVICE_UNAVAILABLE, f"{loading.model} runs on processors only.")
    # the digest is taken while the library is imported, which is so only when needed: both take about as long
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="digest") as pool:
        model = pool.submit(verified_model, loading.folder, loading.model)
        from stemyard_separator.engines.spleeter import SpleeterEngine

    return SpleeterEngine(model.result(), loading.threads)


def _load_demucs(loading: EngineOptions) -> Engine:
    if find_spec("torch") is None or find_spec("demucs") is None:
        raise ModelError(
            FailureCode.MODEL_MISSING,
            f"{loading.model} needs the engine {EngineName.DEMUCS}, which only the cuda image has.",
        )
    stems = loading.stems or MODELS[loading.model].stems
    needed = CATALOGUE[loading.model].needed(stems)
    weights = [verified_model(loading.folder, each.name) for each in needed]
    set_passive_wait_policy()
    from stemyard_separator.engines.demucs import DemucsEngine

    specialists = [each.stems for each in needed]
    device = resolve_device(loading.device, os.environ)
    preset = PRESETS[loading.preset]
    return DemucsEngine(weights, specialists, stems, device, preset, loading.threads, loading.compiled)


_LOADERS: Final = MappingProxyType[EngineName, Loader](
    {EngineName.SPLEETER: _load_spleeter, EngineName.DEMUCS: _load_demucs}
)


def load_engine(loading: EngineOptions) -> Engine:
    """Return the engine with a model's weights loaded.

    Raises:
        ModelError: MODEL_MISSING if the model, its engine or its weights are not here; MODEL_CORRUPT;
            DEVICE_UNAVAILABLE if a GPU was asked for and cannot be used.
        ConfigurationError: the preset is not known, or a stem is none of the model's.
    """
    model = MODELS.get(loading.model)
    if model is None:
        raise ModelError(
            FailureCode.MODEL_MISSING, f"There is no model {loading.model}; there are {', '.join(MODELS)}."
        )
    if loading.preset not in PRESETS:
        raise ConfigurationError(f"There is no preset {loading.preset}; there are {', '.join(PRESETS)}.")
    if missing := sorted(loading.stems - model.stems):
        gives = ", ".join(sorted(model.stems))
        raise ConfigurationError(f"{loading.model} does not give {', '.join(missing)}; it gives {gives}.")
    return _LOADERS[model.engine](loading)


def set_passive_wait_policy() -> None:
    """Have threads sleep instead, unless the environment says otherwise; only before torch is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def resolve_device(setting: str, environment: Mapping[str, str]) -> str:
    """Return `cuda` where a GPU was asked for, so that its absence is a failure; otherwise the setting itself."""
    if setting == "auto" and environment.get(_GIVEN, "") not in _NONE:
        return "cuda"
    return setting
