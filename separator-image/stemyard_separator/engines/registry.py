"""Which engine runs a model, and whether this image has it."""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.models import MODELS
from stemyard_contract.models import Engine as EngineName
from stemyard_separator.engines.protocol import Engine
from stemyard_separator.errors import ModelError
from stemyard_separator.models.folder import verified_model

Loader = Callable[[Path, str, int], Engine]


def _load_spleeter(folder: Path, model: str, threads: int) -> Engine:
    from stemyard_separator.engines.spleeter import SpleeterEngine  # each engine's library is imported when needed

    return SpleeterEngine(verified_model(folder, model), threads)


_LOADERS: Final = MappingProxyType[EngineName, Loader]({EngineName.SPLEETER: _load_spleeter})


def load_engine(model_name: str, folder: Path, threads: int) -> Engine:
    """Return the engine with this model's weights loaded.

    Args:
        model_name: name of the catalogue, never `auto`.
        folder: model folder.
        threads: cores it may use.

    Raises:
        ModelError: MODEL_MISSING if the model, its engine or its weights are not here; MODEL_CORRUPT.
    """
    model = MODELS.get(model_name)
    if model is None:
        raise ModelError(FailureCode.MODEL_MISSING, f"There is no model {model_name}; there are {', '.join(MODELS)}.")
    loader = _LOADERS.get(model.engine)
    if loader is None:
        raise ModelError(
            FailureCode.MODEL_MISSING,
            f"{model_name} needs the engine {model.engine}, which only the {model.flavour} image has.",
        )
    return loader(folder, model_name, threads)
