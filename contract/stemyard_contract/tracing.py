"""How a trace goes from a request to the operator: as the W3C `traceparent` in an annotation. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

from stemyard_contract.separationjob import GROUP

ANNOTATION_TRACEPARENT: Final = f"{GROUP}/traceparent"
"""On a SeparationJob: the trace of the request that made it, https://www.w3.org/TR/trace-context/ version 00."""
_FORM: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent_of(resource: Mapping[str, Any]) -> str | None:
    """Return the trace that a SeparationJob belongs to, None where it belongs to none or says so badly."""
    told = (resource["metadata"].get("annotations") or {}).get(ANNOTATION_TRACEPARENT, "")
    return told if _FORM.fullmatch(told) else None
