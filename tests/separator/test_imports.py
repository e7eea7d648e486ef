"""What each stage imports before it does anything: start-up is paid by every track."""

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
"""The separator has no use for them at all."""
LATER = {"onnxruntime", "torch", "demucs", "yt_dlp", "onnx"}
"""Imported when needed: by a thread beside the download, or by a process of its own."""
STAGES = {
    "stemyard_separator.__main__": (LATER | {"numpy", "av", "soxr", "httpx"}, 340),
    "stemyard_separator.stages.model_loading": (LATER | {"av", "soxr", "httpx"}, 440),
    "stemyard_separator.stages.runner": (LATER, 480),
    "stemyard_separator.stages.fetch": (LATER, 500),
    "stemyard_separator.stages.separate": (LATER, 500),
    "stemyard_separator.engines.spleeter": ({"torch", "demucs", "onnx", "yt_dlp", "httpx"}, 380),
    "stemyard_separator.cli.run": (LATER | {"httpx"}, 440),
}
TOLD = """
import sys
for name in ("rich", "click", "pygments"):  # of the development environment; httpx would take them along
    sys.modules[name] = None
__import__(sys.argv[1])
import json
print(json.dumps(sorted(sys.modules)))
"""


def imported_by(module: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", TOLD, module], capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


@pytest.mark.parametrize("module", STAGES)
def test_a_stage_imports_only_what_it_needs_at_once(module: str) -> None:
    forbidden, most = STAGES[module]

    names = imported_by(module)

    found = {name.partition(".")[0] for name in names} & (NEVER | forbidden)
    assert not found
    assert len(names) <= most


@pytest.mark.parametrize("module", ["stemyard_separator.stages.runner", "stemyard_separator.stages.separate"])
def test_separate_does_not_build_the_models_of_the_resource(module: str) -> None:
    assert "stemyard_contract.separationjob" not in imported_by(module)
