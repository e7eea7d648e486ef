"""Runs the functions of the web page's words in the JavaScript runtime that yt-dlp needs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

WORDS: Final = Path(__file__).parents[2] / "api/stemyard_api/web/words.js"
_DENO: Final = Path(sys.executable).with_name("deno")


def evaluate(expression: str) -> Any:
    """Return the value of a JavaScript expression, in which the module is `words`."""
    script = f"const words = await import({json.dumps(WORDS.as_uri())}); console.log(JSON.stringify({expression}));"
    done = subprocess.run([_DENO, "eval", script], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)
