"""The default model folder."""

from pathlib import Path

import pytest

from stemyard_separator.models.folder import default_model_folder


@pytest.mark.parametrize(
    ("variables", "images", "folder"),
    [
        ({"STEMYARD_MODEL_DIR": "/weights"}, True, "/weights"),
        ({}, True, "images"),
        ({"XDG_CACHE_HOME": "/cache"}, False, "/cache/stemyard/models"),
    ],
)
def test_the_default_model_folder(tmp_path: Path, variables: dict[str, str], images: bool, folder: str) -> None:
    image_folder = tmp_path / "images"
    if images:
        image_folder.mkdir()

    result = default_model_folder(variables, image_folder)

    assert result == (image_folder if folder == "images" else Path(folder))
