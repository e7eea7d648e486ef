"""Downmix matrices."""

import numpy as np
import pytest

from stemyard_separator.audio.channels import stereo_matrix


@pytest.mark.parametrize(
    ("channels", "left"),
    [
        (("FC",), [1]),
        (("FL", "FR"), [1, 0]),
        (("DL", "DR"), [1, 0]),
        (("FL", "FR", "FC", "LFE", "BL", "BR"), [1, 0, 0.7071, 0, 0.7071, 0]),
        (("FL", "FR", "FC", "LFE", "SL", "SR"), [1, 0, 0.7071, 0, 0.7071, 0]),
        (("NONE",) * 6, [1, 0, 0.7071, 0, 0.7071, 0]),
        (("NONE",) * 9, [0.5] * 9),
    ],
)
def test_downmix(channels: tuple[str, ...], left: list[float]) -> None:
    assert np.allclose(stereo_matrix(channels)[0], left, atol=1e-4)
