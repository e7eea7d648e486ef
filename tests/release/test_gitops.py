"""The health script of the GitOps page, run as Argo CD runs it, on what the operator writes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lupa
import pytest
import yaml

from stemyard_contract.handover import WorkStage
from tests.operator.decision.test_decide import fetched, separating
from tests.operator.decision.test_suspend import stopped, suspend
from tests.operator.world import SPEC, World

PAGE = (Path(__file__).parents[2] / "docs/13-gitops.md").read_text()
DOCUMENTS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
[SCRIPT] = [
    one["data"]["resource.customizations.health.stemyard.dev_SeparationJob"]
    for one in DOCUMENTS
    if one.get("kind") == "ConfigMap"
]


def completed() -> World:
    world = separating(World())
    world.succeed(world.job(WorkStage.SEPARATE))
    world.settle()
    return world


def failed() -> World:
    world = World(spec={**SPEC, "model": "nope"})
    world.settle()
    return world


def suspended() -> World:
    world = fetched(World())
    suspend(world)
    stopped(world, WorkStage.SEPARATE)
    world.settle()
    return world


def rerun() -> World:
    world = completed()
    world.spec = {**world.spec, "run": 2}
    return world


@pytest.mark.parametrize(
    ("make", "health"),
    [
        (World, "Progressing"),
        (lambda: separating(World()), "Progressing"),
        (completed, "Healthy"),
        (failed, "Degraded"),
        (suspended, "Suspended"),
        (rerun, "Progressing"),
    ],
)
def test_argo_cd_says_what_is(make: Callable[[], World], health: str) -> None:
    lua: Any = lupa.LuaRuntime(unpack_returned_tuples=True)
    judge = lua.eval(f"function(obj) {SCRIPT} end")
    assert judge(lua.table_from(make().resource, recursive=True)).status == health
