"""Notices of runs under way: they ride on writes that are made anyway, and cost none."""

import json
from dataclasses import replace

from stemyard_contract.event_types import ENDS, EventType
from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import Phase, SeparationJobSpec, SeparationJobStatus
from stemyard_contract.webhook import webhook_id
from stemyard_operator.config.webhook_endpoints import NO_ENDPOINTS
from stemyard_operator.decision.webhook_progress import ProgressWebhook, progress_webhooks, started_webhooks
from stemyard_operator.decision.webhook_targets import Target, targets
from tests.operator.decision.test_webhook_outbox import TRACK
from tests.operator.world import SPEC, START, World, settings

ONE, TWO = (f"https://{name}.example.com/hook" for name in ("one", "two"))
EVERYTHING = frozenset(EventType)


def separated(*subscribers: Target) -> tuple[World, list[ProgressWebhook]]:
    """Take a separation from its creation to its end, two minutes a stage; return its progress webhooks."""
    world, notices = World(), list[ProgressWebhook]()

    def turn() -> None:
        before = world.separation
        decision = world.step()
        if decision.status is not None:
            notices.extend(progress_webhooks(before, decision.status, subscribers))

    for stage in WorkStage:
        for _ in range(3):
            turn()
        world.run(world.job(stage))
        for _ in range(12):
            if stage is WorkStage.SEPARATE:
                world.progress = min(95.0, (world.progress or 10) + 7)
            world.wait(10)
            turn()
        world.succeed(world.job(stage))
    while world.phase() is not Phase.COMPLETED:
        turn()
    return world, notices


def test_subscribers_get_progress_by_the_status_writes_made_anyway() -> None:
    quiet, none = separated(*targets(SeparationJobSpec.model_validate(SPEC), settings(webhook_url=ONE), NO_ENDPOINTS))
    loud, some = separated(Target(ONE, EVERYTHING), Target(TWO, frozenset({EventType.STARTED})))
    assert none == []
    assert {(one.url, one.event) for one in some} == {(ONE, EventType.PROGRESS)}
    assert 3 <= len(some) <= 6
    assert len({one.id for one in some}) == len(some)
    percents = [json.loads(one.body)["progress"] for one in some]
    assert percents == sorted(set(percents))
    assert some[0].id == webhook_id(TRACK, 1, EventType.PROGRESS, ONE, percents[0])
    assert len(quiet.writes) == len(loud.writes)


def test_the_start_is_sent_until_the_status_records_it() -> None:
    world, subscribers = (
        World(),
        [Target(ONE, EVERYTHING), Target(TWO, frozenset({EventType.STARTED}), "crm", "team-a")],
    )
    world.settle()
    found = started_webhooks(world.separation, [*subscribers, Target("https://other.example.com", ENDS)])
    assert [(one.url, one.event, one.endpoint, one.key) for one in found] == [
        (ONE, EventType.STARTED, None, None),
        (TWO, EventType.STARTED, "crm", "team-a"),
    ]
    assert found[0].id == webhook_id(TRACK, 1, EventType.STARTED, ONE)
    assert found[0].body.decode() == (
        f'{{"status": "processing", "track_id": "{TRACK}", "progress": 0, '
        f'"created_at": {START.timestamp()}, "phase": "Fetching"}}'
    )
    running = world.separation
    knows = running.status.model_copy(update={"started_at": world.now})
    assert started_webhooks(replace(running, status=knows), subscribers) == []
    earlier = replace(running, spec=running.spec.model_copy(update={"run": 2}), status=knows)
    assert [one.run for one in started_webhooks(earlier, subscribers)] == [2, 2]


def test_the_end_is_no_progress_and_another_run_starts_anew() -> None:
    world, _ = separated()
    before, subscribers = world.separation, [Target(ONE, EVERYTHING)]
    assert progress_webhooks(replace(before, status=SeparationJobStatus(run=1)), before.status, subscribers) == []
    after = SeparationJobStatus(run=2, progress=10, phase=Phase.SEPARATING)
    [found] = progress_webhooks(before, after, subscribers)
    assert found.id == webhook_id(TRACK, 2, EventType.PROGRESS, ONE, 10)


def test_what_a_status_does_not_say_counts_as_nothing_done() -> None:
    fresh, subscribers = World().separation, [Target(ONE, EVERYTHING)]
    [started] = started_webhooks(fresh, subscribers)
    assert json.loads(started.body)["progress"] == 0
    at_one = SeparationJobStatus(run=1, phase=Phase.FETCHING, progress=1)
    [first] = progress_webhooks(fresh, at_one, subscribers)
    assert (first.run, json.loads(first.body)["progress"]) == (1, 1)
    assert progress_webhooks(fresh, at_one.model_copy(update={"progress": None}), subscribers) == []
