"""Presets and the qualities of the contract."""

from stemyard_contract.quality import DEFAULT_QUALITY, Quality
from stemyard_separator.engines.presets import DEFAULT_PRESET, PRESETS


def test_every_quality_is_a_preset() -> None:
    assert set(PRESETS) == set(Quality)
    assert Quality(DEFAULT_PRESET) is DEFAULT_QUALITY
