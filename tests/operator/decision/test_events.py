"""Events: fixed reasons, names that the API server refuses twice, at most four in a run."""

from stemyard_contract.handover import Outcome, WorkStage
from stemyard_operator.decision.events import events_of
from tests.operator.decision.test_webhook_outbox import ONE, OWN, finished
from tests.operator.world import World

FETCH, SEPARATE = WorkStage


def test_a_run_with_retries_tells_four_things_once() -> None:
    world, posted = World(), list[tuple[str, str]]()
    for number in range(60):
        before = world.separation
        decision = world.step()
        if decision.status is not None:
            found = events_of(before, decision.status, world.now)
            posted += [(event["reason"], event["metadata"]["name"]) for event in found]
        for stage in WorkStage:
            for name in world.live(stage):
                job = world.jobs[name]
                if number % 3:
                    world.run(job)
                elif name.endswith(("-1", "-2")):
                    world.end(job, "Failed", message=Outcome(stage=stage, code="INTERNAL").dump())
                else:
                    world.succeed(job)
        world.wait(7)
    assert {reason for reason, _ in posted} == {"Fetching", "Retrying", "Separating", "Completed"}
    assert len({name for _, name in posted}) == 4
    assert all(len(name) <= 63 for _, name in posted)


def test_an_event_reports_webhooks_that_are_given_up_once() -> None:
    world = finished({"webhooks": [{"url": ONE}]})
    world.settle()
    world.answer(OWN)
    world.answer(ONE, 410)
    before = world.separation
    decision = world.step()
    assert decision.status is not None
    [event] = events_of(before, decision.status, world.now)
    assert (event["reason"], event["type"]) == ("WebhookUndelivered", "Warning")
    assert event["message"].startswith("Gave up 1 of 2 webhooks")
    assert ONE not in event["message"]
    assert events_of(world.separation, world.separation.status, world.now) == []


def test_a_webhook_that_the_guard_refuses_is_told_once_and_before_it_is_given_up() -> None:
    world = finished({"webhooks": [{"url": ONE}]})
    world.settle()
    world.answer(OWN)
    told = []
    for _ in range(3):
        world.answer(ONE, 0, error="AddressRefused")
        before = world.separation
        decision = world.step()
        assert decision.status is not None
        told += [event for event in events_of(before, decision.status, world.now) if event["reason"] != "Completed"]
        world.wait(86400)
        world.settle()
    [event] = told
    assert (event["reason"], event["type"]) == ("WebhookRefused", "Warning")
    assert "was not sent" in event["message"]
    assert ONE not in event["message"]
