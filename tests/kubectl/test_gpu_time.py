"""GPU time by profile."""

from typing import Any

import pytest

from stemyard_kubectl.commands.tables import hours
from stemyard_kubectl.gpu_time import by_profile, requested_gpus
from stemyard_kubectl.separations import Separation
from tests.kubectl.resources import separation

RESULT = {"stems": {}, "manifestKey": "k", "model": "m", "modelDigest": "d", "realTimeFactor": 0.05, "device": "cuda"}


def completed(name: str, gpu_seconds: float, **result: Any) -> Separation:
    return separation(
        name,
        "Completed",
        spec={"profile": "gpu"},
        usage={"cpuSeconds": 40, "gpuSeconds": gpu_seconds},
        source={"duration": 200},
        result={**RESULT, **result},
    )


def test_held_and_busy_are_summed() -> None:
    found = [
        completed("a", 20),
        completed("b", 30),
        completed("copied", 0, copiedFrom="a"),
        separation("c", "Failed", spec={"profile": "gpu"}, usage={"gpuSeconds": 50}),
        separation("d", "Separating", spec={"profile": "gpu"}, job="d-s1-1"),
        separation("e", "Completed", usage={"cpuSeconds": 7}),
    ]
    gpu, default = by_profile(found, {("music", "d-s1-1"): 2})
    assert (gpu.profile, gpu.held, gpu.busy, gpu.share) == ("gpu", 100, 20, 0.2)
    assert (gpu.running, gpu.gpus, gpu.completed, gpu.failed, gpu.cpu) == (1, 2, 3, 1, 120)
    assert (default.profile, default.cpu, default.share) == ("default", 7, None)
    assert [time.gpus for time in by_profile(found, None)] == [None, None]


@pytest.mark.parametrize(
    ("limits", "gpus"),
    [
        ({"nvidia.com/gpu": "2", "cpu": "4"}, 2),
        ({"nvidia.com/mig-1g.10gb": 1}, 1),
        ({"amd.com/gpu": 1}, 1),
        ({"cpu": 1}, 0),
        (None, 0),
    ],
)
def test_gpus_of_any_vendor_count(limits: dict[str, Any] | None, gpus: int) -> None:
    job = {"spec": {"template": {"spec": {"containers": [{"resources": {"limits": limits}}]}}}}
    assert requested_gpus(job) == gpus


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (90, "1.5 min"), (5400, "1.5 h")])
def test_times_are_short(seconds: float, text: str) -> None:
    assert hours(seconds) == text
