"""The device of an engine."""

import pytest

from stemyard_separator.engines.registry import resolve_device


@pytest.mark.parametrize(
    ("setting", "environment", "device"),
    [
        ("auto", {}, "auto"),
        ("auto", {"NVIDIA_VISIBLE_DEVICES": "void"}, "auto"),
        ("auto", {"NVIDIA_VISIBLE_DEVICES": "GPU-5f2c"}, "cuda"),
        ("cpu", {"NVIDIA_VISIBLE_DEVICES": "GPU-5f2c"}, "cpu"),
        ("cuda", {}, "cuda"),
    ],
)
def test_auto_requires_the_gpu_that_the_pod_requests(setting: str, environment: dict[str, str], device: str) -> None:
    assert resolve_device(setting, environment) == device
