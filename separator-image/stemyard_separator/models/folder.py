"""The model folder: weight files beside `models.json`, which says where each came from and what its digest is."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from stemyard_contract.failures import FailureCode
from stemyard_separator.errors import ModelError

INDEX_FILE: Final = "models.json"
_BLOCK: Final = 1 << 20


class ModelRecord(BaseModel):
    """What is known about one model's weights."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    file: str
    """Name of the weight file in the same folder."""
    sha256: str
    """SHA-256 of the weight file."""
    bytes: int
    licence: str
    source: str
    """Where the weights come from, with the version."""
    source_sha256: str
    """SHA-256 of what they were converted from."""


class ModelIndex(BaseModel):
    """`models.json`."""

    models: dict[str, ModelRecord] = {}


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """Weights whose digest has been checked."""

    name: str
    path: Path
    digest: str
    """`sha256:<hex>`."""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_index(folder: Path) -> ModelIndex:
    """Return the index of a model folder, empty where there is none.

    Raises:
        ModelError: MODEL_CORRUPT if it cannot be read.
    """
    path = folder / INDEX_FILE
    if not path.exists():
        return ModelIndex()
    try:
        return ModelIndex.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ModelError(FailureCode.MODEL_CORRUPT, f"{path} is not a model index.") from error


def add_record(folder: Path, name: str, record: ModelRecord) -> None:
    """Enter a model in the folder's index; the index appears whole or not at all."""
    index = ModelIndex(models=read_index(folder).models | {name: record})
    draft = folder / f".{INDEX_FILE}"
    draft.write_text(index.model_dump_json(indent=2) + "\n")
    draft.replace(folder / INDEX_FILE)


def verified_model(folder: Path, name: str) -> InstalledModel:
    """Return a model of the folder after checking its digest.

    Raises:
        ModelError: MODEL_MISSING or MODEL_CORRUPT.
    """
    record = read_index(folder).models.get(name)
    if record is None or not (folder / record.file).is_file():
        raise ModelError(
            FailureCode.MODEL_MISSING,
            f"{folder} has no weights for {name}; fill it with `stemyard-models prefetch`.",
        )
    digest = file_sha256(folder / record.file)
    if digest != record.sha256:
        raise ModelError(FailureCode.MODEL_CORRUPT, f"{record.file} has digest {digest}, not {record.sha256}.")
    return InstalledModel(name=name, path=folder / record.file, digest=f"sha256:{digest}")


def copy_model(name: str, source: Path, folder: Path) -> bool:
    """Have in a folder what another has of a model, such as one that an image was built with; return whether it is.

    Raises:
        ModelError: MODEL_CORRUPT if the other's weights are not what its index says.
    """
    record = read_index(source).models.get(name)
    if record is None:
        return False
    if read_index(folder).models.get(name) != record or not (folder / record.file).is_file():
        original = verified_model(source, name)
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{record.file}.part"
        shutil.copyfile(original.path, draft)
        draft.replace(folder / record.file)
        add_record(folder, name, record)
    verified_model(folder, name)
    return True


_IN_IMAGES: Final = Path("/models")


def default_model_folder(environment: Mapping[str, str], in_images: Path = _IN_IMAGES) -> Path:
    """Return STEMYARD_MODEL_DIR, else `/models` where it exists, as in images, else a folder of the user's cache."""
    if given := environment.get("STEMYARD_MODEL_DIR"):
        return Path(given)
    if in_images.is_dir():
        return in_images
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stemyard" / "models"
