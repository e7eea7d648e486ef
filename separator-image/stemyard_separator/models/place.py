"""Where model weights lie unless somebody says so."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

_IN_IMAGES: Final = Path("/models")


def default_model_folder(environment: Mapping[str, str], in_images: Path = _IN_IMAGES) -> Path:
    """Return STEMYARD_MODEL_DIR, else `/models` where it exists, as in images, else a folder of the user's cache."""
    if given := environment.get("STEMYARD_MODEL_DIR"):
        return Path(given)
    if in_images.is_dir():
        return in_images
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stemyard" / "models"
