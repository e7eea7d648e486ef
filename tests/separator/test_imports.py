"""Modules that each stage imports at start-up, which every track pays for."""

import json
import subprocess
import sys

import pytest

NEVER = {
    "boto3",
    "fastapi",
    "kopf",
    "kubernetes",
    "redis",
    "scipy",
    "uvicorn",
    "aiohttp",
    "asyncio",
    "pydantic_settings",
}
"""Never needed by the separator."""
LATER = {"onnxruntime", "torch", "demucs", "yt_dlp", "onnx"}
"""Imported later: by a thread during the download, or by a separate process."""
STAGES = {
    "stemyard_separator.__main__": (LATER | {"numpy", "av", "soxr", "httpx"}, 340),
    "stemyard_separator.stages.model_loading": (LATER | {"av", "soxr", "httpx"}, 440),
    "stemyard_separator.stages.runner": (LATER, 480),
    "stemyard_separator.stages.fetch": (LATER, 500),
    "stemyard_separator.stages.separate": (LATER, 500),
    "stemyard_separator.engines.spleeter": ({"torch", "demucs", "onnx", "yt_dlp", "httpx"}, 380),
    "stemyard_separator.cli.run": (LATER | {"httpx"}, 450),
}
PROGRAM = """
import sys
for name in ("rich", "click", "pygments"):  # only in the development environment, where httpx imports them
    sys.modules[name] = None
__import__(sys.argv[1])
import json
print(json.dumps(sorted(sys.modules)))
"""


def imported_by(module: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, module], capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


@pytest.mark.parametrize("module", STAGES)
def test_a_stage_imports_only_what_it_needs_at_startup(module: str) -> None:
    forbidden, most = STAGES[module]

    names = imported_by(module)

    found = {name.partition(".")[0] for name in names} & (NEVER | forbidden)
    assert not found
    assert len(names) <= most


@pytest.mark.parametrize("module", ["stemyard_separator.stages.runner", "stemyard_separator.stages.separate"])
def test_separate_does_not_import_the_models_of_the_custom_resource(module: str) -> None:
    assert "stemyard_contract.separationjob" not in imported_by(module)
