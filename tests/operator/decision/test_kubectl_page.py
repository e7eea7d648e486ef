"""The page for kubectl users names every condition, reason and event there is, and no other."""

import re
from pathlib import Path

from stemyard_contract.separationjob import ConditionType, Reason
from stemyard_operator.decision import events

PAGE = (Path(__file__).parents[3] / "docs/04-kubectl.md").read_text()


def words(text: str) -> set[str]:
    return set(re.findall(r"`([A-Z]\w+)`", text))


def rows() -> list[list[str]]:
    table = PAGE.partition("| condition | reason | means |\n|---|---|---|\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_every_reason_is_explained() -> None:
    assert set().union(*(words(reason) for _, reason, _ in rows())) == set(Reason)


def test_every_condition_is_explained() -> None:
    named = {name for condition, _, _ in rows() for name in re.findall(r"`(\w+)(?:=\w+)?`", condition)}
    assert named == set(ConditionType)


def test_every_event_is_listed() -> None:
    listed = PAGE.partition("Events have fixed reasons")[2].partition("\n\n")[0]
    assert words(listed) == set(events.REASONS)
