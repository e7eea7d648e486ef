"""Exponents that scale decoded audio against clipping."""

import pytest

from stemyard_separator.audio.decode import exponent_for
from stemyard_separator.errors import SourceError


@pytest.mark.parametrize(("peak", "exponent"), [(0.0, 1), (1.0, 1), (1.99, 1), (2.0, 2), (3.9, 2), (4.0, 3), (1e6, 20)])
def test_exponents_scale_the_peak_into_24_bits(peak: float, exponent: int) -> None:
    assert exponent_for(peak) == exponent
    assert round(peak * 2.0**-exponent * 2**23) <= 2**23 - 1


def test_an_implausible_peak_is_refused() -> None:
    with pytest.raises(SourceError):
        exponent_for(1e30)
