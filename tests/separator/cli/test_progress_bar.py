"""The line of the progress bar."""

import pytest

from stemyard_separator.cli.progress_bar import format_duration, format_line


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@pytest.mark.parametrize("name", ["a.mp3", "a very long name of a song that does not fit into the line.flac"])
def test_the_bar_fits_the_terminal(columns: int, name: str) -> None:
    for done in (0.0, 0.5, 1.0):
        assert len(format_line(name, "separating", done, 3.0, columns)) < columns


def test_the_bar_shows_step_share_and_remaining_time() -> None:
    line = format_line("a.mp3", "separating", 0.25, 30.0, 80)
    assert line.startswith("a.mp3  separating ━")
    assert line.endswith("25%  1:30 left")
    assert (format_duration(59.6), format_duration(3700)) == ("1:00", "1:01:40")
