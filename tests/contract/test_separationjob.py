"""Phases follow from conditions, and from nothing else."""

from datetime import UTC, datetime

import pytest

from stemyard_contract.models import MODELS, Flavour, resolve_model
from stemyard_contract.separationjob import Condition, Phase, phase_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def conditions(*given: tuple[str, str, str]) -> list[Condition]:
    return [
        Condition.model_validate({"type": kind, "status": status, "reason": reason, "lastTransitionTime": NOW})
        for kind, status, reason in given
    ]


@pytest.mark.parametrize(
    ("given", "phase"),
    [
        ((), Phase.PENDING),
        ((("Accepted", "True", "Valid"),), Phase.PENDING),
        ((("Accepted", "True", "Valid"), ("Fetched", "False", "ConcurrencyLimit")), Phase.PENDING),
        ((("Fetched", "False", "Running"),), Phase.FETCHING),
        ((("Fetched", "True", "Succeeded"),), Phase.QUEUED),
        ((("Fetched", "True", "Succeeded"), ("Admitted", "False", "Waiting")), Phase.QUEUED),
        ((("Fetched", "True", "Succeeded"), ("Admitted", "True", "Scheduled")), Phase.SEPARATING),
        ((("Admitted", "True", "Scheduled"), ("Complete", "True", "Verified")), Phase.COMPLETED),
        ((("Failed", "True", "SourceNotFound"),), Phase.FAILED),
        ((("Failed", "True", "Cancelled"),), Phase.CANCELLED),
    ],
)
def test_phase(given: tuple[tuple[str, str, str], ...], phase: Phase) -> None:
    assert phase_of(conditions(*given)) is phase
    assert phase_of(reversed(conditions(*given))) is phase


def test_auto_names_the_configured_model() -> None:
    assert resolve_model("auto", "spleeter-2stems") is MODELS["spleeter-2stems"]
    assert resolve_model("no-such-model", "spleeter-2stems") is None


def test_the_image_follows_the_engine() -> None:
    assert MODELS["spleeter-2stems"].flavour is Flavour.CPU
