"""Trace propagation from the API to the operator: the W3C `traceparent` as an annotation. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

from stemyard_contract.separationjob import GROUP

ANNOTATION_TRACEPARENT: Final = f"{GROUP}/traceparent"
"""Annotation with the trace of the request that created the SeparationJob (W3C Trace Context, version 00)."""
_FORM: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent_of(resource: Mapping[str, Any]) -> str | None:
    """Return the `traceparent` of a SeparationJob, or None if it is absent or malformed."""
    value = (resource["metadata"].get("annotations") or {}).get(ANNOTATION_TRACEPARENT, "")
    return value if _FORM.fullmatch(value) else None
