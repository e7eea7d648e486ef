"""Checkpoints may contain arrays only."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from stemyard_separator.models.checkpoint import UnsafeCheckpointError, read_checkpoint


def checkpoint(value: object) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps(value, protocol=2))
    return content.getvalue()


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


@pytest.mark.parametrize("value", [Hostile(), {"a": Hostile()}, {"a": np.float64(1)}, {"a": "text"}, [1]])
def test_a_checkpoint_may_contain_arrays_only(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnsafeCheckpointError):
        read_checkpoint(checkpoint(value))
    assert capsys.readouterr().out == ""
