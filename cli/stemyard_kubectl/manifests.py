"""The SeparationJob that `run` applies: the same words make the same one, so that a repeated command joins it."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from stemyard_contract.separationjob import API_VERSION, KIND, SeparationJobSpec
from stemyard_kubectl.errors import InvalidError

LONGEST_NAME: Final = 40
"""Characters of the name of a SeparationJob."""
_DIGEST: Final = 8
_RESERVED: Final = "sep-"
"""Names that begin so are the API's."""


def source_of(argument: str, *, is_object: bool = False) -> dict[str, Any]:
    """Return the source that an argument of `run` means."""
    if is_object:
        return {"object": {"key": argument}}
    if argument.lower().startswith(("http://", "https://")):
        return {"url": argument}
    return {"searchQuery": argument}


def manifest(source: Mapping[str, Any], options: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """Return a SeparationJob to apply.

    Args:
        source: as `source_of` returns it.
        options: other fields of the spec.
        name: its name; empty for one made of the words of the source and a digest of what cannot be changed later.

    Raises:
        InvalidError: the CRD would refuse a field.
    """
    spec = {"source": dict(source), **options}
    try:
        SeparationJobSpec.model_validate(spec)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name or _name(spec)}, "spec": spec}


def _name(spec: Mapping[str, Any]) -> str:
    """Return a name by which people recognise the source."""
    [(kind, value)] = spec["source"].items()
    text = value["key"] if kind == "object" else value
    if kind != "searchQuery":
        text = re.sub(r"[?#].*", "", text).rstrip("/").rpartition("/")[2].rpartition(".")[0] or text
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    words = f"song-{words}" if words.startswith(_RESERVED) else words
    fixed = {field: value for field, value in spec.items() if field != "priority"}
    digest = hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:_DIGEST]
    return f"{words[: LONGEST_NAME - _DIGEST - 1].strip('-') or 'song'}-{digest}"
