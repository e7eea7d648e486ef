"""Targets of `run` when another run writes the same ones meanwhile."""

from pathlib import Path

import pytest

from stemyard_separator.cli.targets import move_to_targets


def files(folder: Path) -> tuple[list[Path], list[Path]]:
    made = [folder / "made-vocals", folder / "made-instrumental"]
    for file in made:
        file.write_text("new")
    return made, [folder / "vocals.mp3", folder / "instrumental.mp3"]


def test_all_files_get_their_names(tmp_path: Path) -> None:
    made, targets = files(tmp_path)

    move_to_targets(made, targets, force=False)

    assert [target.read_text() for target in targets] == ["new", "new"]
    assert len(list(tmp_path.iterdir())) == 2


def test_what_another_run_has_written_meanwhile_is_kept_and_nothing_added(tmp_path: Path) -> None:
    made, targets = files(tmp_path)
    targets[1].write_text("theirs")

    with pytest.raises(FileExistsError, match="exists already; --force replaces it"):
        move_to_targets(made, targets, force=False)

    assert targets[1].read_text() == "theirs"
    assert not targets[0].exists()


def test_force_replaces_it(tmp_path: Path) -> None:
    made, targets = files(tmp_path)
    targets[1].write_text("theirs")

    move_to_targets(made, targets, force=True)

    assert [target.read_text() for target in targets] == ["new", "new"]
