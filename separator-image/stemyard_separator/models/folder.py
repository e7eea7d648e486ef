"""The model folder: weight files, and `models.json` with the origin, licence and digest of each."""

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
_CHUNK_BYTES: Final = 1 << 20


class ModelRecord(BaseModel):
    """Origin, licence and digest of one weight file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    file: str
    """Name of the weight file in the same folder."""
    sha256: str
    """SHA-256 of the weight file."""
    bytes: int
    licence: str
    source: str
    """Origin of the weights, with the version."""
    source_sha256: str
    """SHA-256 of the file they were converted from."""


class ModelIndex(BaseModel):
    """`models.json`."""

    models: dict[str, ModelRecord] = {}


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A weight file whose digest has been verified."""

    name: str
    path: Path
    digest: str
    """`sha256:<hex>`."""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def replace_file(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(content)
    draft.replace(path)


def read_index(folder: Path) -> ModelIndex:
    """Return the index of a model folder, empty if it has none.

    Raises:
        ModelError: MODEL_CORRUPT if it cannot be parsed.
    """
    path = folder / INDEX_FILE
    if not path.exists():
        return ModelIndex()
    try:
        return ModelIndex.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ModelError(FailureCode.MODEL_CORRUPT, f"{path} is not a model index.") from error


def add_record(folder: Path, name: str, record: ModelRecord) -> None:
    """Add a model to the folder's index, atomically."""
    index = ModelIndex(models=read_index(folder).models | {name: record})
    replace_file(folder / INDEX_FILE, f"{index.model_dump_json(indent=2)}\n".encode())


def has_model(folder: Path, name: str) -> bool:
    """Return whether a model folder has a model.

    Raises:
        ModelError: MODEL_CORRUPT if its index cannot be parsed.
    """
    record = read_index(folder).models.get(name)
    return record is not None and (folder / record.file).is_file()


def verified_model(folder: Path, name: str) -> InstalledModel:
    """Return a model of the folder after verifying its digest.

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
    """Copy a model from another model folder, such as that of an image, if it has it; return whether it has.

    Raises:
        ModelError: MODEL_CORRUPT if the weights do not match the index.
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


_IMAGE_FOLDER: Final = Path("/models")


def default_model_folder(environment: Mapping[str, str], image_folder: Path = _IMAGE_FOLDER) -> Path:
    """Return STEMYARD_MODEL_DIR, else `/models` if it exists (as in images), else a folder in the user's cache."""
    if configured := environment.get("STEMYARD_MODEL_DIR"):
        return Path(configured)
    if image_folder.is_dir():
        return image_folder
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stemyard" / "models"
