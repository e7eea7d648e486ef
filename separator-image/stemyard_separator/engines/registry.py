"""Loads the engine of a model, if this image has it."""

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
from stemyard_contract.models import MODELS, Engine
from stemyard_separator.engines.presets import DEFAULT_PRESET, PRESETS
from stemyard_separator.engines.protocol import SeparationEngine
from stemyard_separator.errors import ConfigurationError, ModelError
from stemyard_separator.models.catalogue import CATALOGUE
from stemyard_separator.models.folder import verified_model

_VISIBLE_DEVICES: Final = "NVIDIA_VISIBLE_DEVICES"
"""Set by NVIDIA's device plugin in containers whose pod requests a GPU."""
_NO_DEVICE: Final = frozenset({"", "none", "void"})


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options for loading an engine.

    Attributes:
        model: name in the catalogue, not `auto`.
        folder: model folder.
        threads: CPU threads.
        stems: requested stems; empty means all stems of the model.
        device: `cpu`, `cuda`, or `auto`: a GPU if there is one.
        preset: `fast`, `balanced` or `best`.
        compiled: whether to compile the networks with torch.
        residual: whether `other` is what all other stems leave, so that they sum to the mix; of demucs.
    """

    model: str
    folder: Path
    threads: int
    stems: frozenset[Stem] = frozenset()
    device: str = "auto"
    preset: str = DEFAULT_PRESET
    compiled: bool = False
    residual: bool = True


def _load_spleeter(options: EngineOptions) -> SeparationEngine:
    if options.device == "cuda":
        raise ModelError(FailureCode.DEVICE_UNAVAILABLE, f"{options.model} runs on the CPU only.")
    # verify the digest while onnxruntime is imported: both take about as long
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="digest") as pool:
        model = pool.submit(verified_model, options.folder, options.model)
        from stemyard_separator.engines.spleeter import SpleeterEngine

    return SpleeterEngine(model.result(), options.threads, wide=PRESETS[options.preset].wide)


def _load_demucs(options: EngineOptions) -> SeparationEngine:
    if find_spec("torch") is None or find_spec("demucs") is None:
        raise ModelError(
            FailureCode.MODEL_MISSING,
            f"{options.model} needs the engine {Engine.DEMUCS}, which only the cuda image has.",
        )
    stems = options.stems or MODELS[options.model].stems
    files = CATALOGUE[options.model].needed(stems)
    set_passive_wait_policy()
    # verify the digests while torch is imported
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="digest") as pool:
        weights = [pool.submit(verified_model, options.folder, file.name) for file in files]
        from stemyard_separator.engines.demucs import DemucsEngine

    return DemucsEngine(
        [model.result() for model in weights],
        [file.stems for file in files],
        stems,
        resolve_device(options.device, os.environ),
        PRESETS[options.preset],
        options.threads,
        options.compiled,
        options.residual,
    )


_LOADERS: Final = MappingProxyType[Engine, Callable[[EngineOptions], SeparationEngine]](
    {Engine.SPLEETER: _load_spleeter, Engine.DEMUCS: _load_demucs}
)


def load_engine(options: EngineOptions) -> SeparationEngine:
    """Return the model's engine with its weights loaded.

    Raises:
        ModelError: MODEL_MISSING if the model, its engine or its weights are missing; MODEL_CORRUPT;
            DEVICE_UNAVAILABLE if a GPU is required and unusable.
        ConfigurationError: the preset is unknown, or the model does not have a requested stem.
    """
    model = MODELS.get(options.model)
    if model is None:
        raise ModelError(
            FailureCode.MODEL_MISSING, f"There is no model {options.model}; there are {', '.join(MODELS)}."
        )
    if options.preset not in PRESETS:
        raise ConfigurationError(f"There is no preset {options.preset}; there are {', '.join(PRESETS)}.")
    if missing := sorted(options.stems - model.stems):
        available = ", ".join(sorted(model.stems))
        raise ConfigurationError(f"{options.model} does not give {', '.join(missing)}; it gives {available}.")
    return _LOADERS[model.engine](options)


def set_passive_wait_policy() -> None:
    """Make idle OpenMP threads sleep instead of spin, unless the environment sets a policy; call before torch's import.

    Spinning threads would take the cores that encoders use meanwhile.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def resolve_device(setting: str, environment: Mapping[str, str]) -> str:
    """Return `cuda` for `auto` in a pod that requests a GPU, so that an unusable GPU is an error; else the setting."""
    if setting == "auto" and environment.get(_VISIBLE_DEVICES, "") not in _NO_DEVICE:
        return "cuda"
    return setting
