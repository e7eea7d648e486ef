import pytest

from stemyard_cli.durations import seconds_of


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), (" 12h ", 43200), ("7d", 604800)])
def test_durations(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "9999999999s", "\u0663d"])
def test_others_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration such as"):
        seconds_of(text)
