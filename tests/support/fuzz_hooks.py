"""What schemathesis cannot know: an Idempotency-Key may not come twice with two requests. Loaded by its process."""

import re
import uuid
from typing import Any

import schemathesis

_DECENT = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,198}[\x21-\x7e])?")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Make every decent key one of its own; indecent ones stay as they are."""
    for name, value in (case.headers or {}).items():
        if name.lower() == "idempotency-key" and isinstance(value, str) and _DECENT.fullmatch(value):
            case.headers[name] = f"{value}-{uuid.uuid4()}"
