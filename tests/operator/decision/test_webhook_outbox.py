"""The outbox: who is notified of a run's end, when, how often, and what is written about it."""

from datetime import timedelta
from typing import Any

import pytest

from stemyard_contract.handover import WorkStage
from stemyard_contract.outbox import WebhookStatus
from stemyard_contract.separationjob import Condition, Phase
from stemyard_contract.webhook import RETRY_SCHEDULE, EventType, webhook_id
from stemyard_operator.config.webhook_endpoints import parse
from tests.operator.model.registered import registrations, webhook
from tests.operator.world import NAME, NAMESPACE, SPEC, World, settings

OWN, ONE, TWO = (f"https://{name}.example.com/hook" for name in ("own", "one", "two"))
TRACK = f"{NAMESPACE}.{NAME}"


def finished(spec: dict[str, Any] | None = None, **config: Any) -> World:
    """A separation that has just ended well."""
    more = {name: config.pop(name) for name in ("annotations", "endpoints", "registrations") if name in config}
    world = World(spec={**SPEC, **(spec or {})}, config=settings(**{"webhook_url": OWN, **config}), **more)
    for stage in WorkStage:
        world.settle()
        job = world.job(stage)
        world.run(job)
        world.wait(6)
        world.settle()
        world.succeed(job)
    while world.phase() is not Phase.COMPLETED:
        world.step()
    return world


def of(world: World, url: str) -> WebhookStatus:
    [found] = [one for one in world.separation.status.webhooks if one.url == url]
    return found


def delivered_condition(world: World) -> Condition:
    return {one.type: one for one in world.separation.status.conditions}["WebhooksDelivered"]


def test_the_write_that_ends_a_run_names_all_targets() -> None:
    claims = [{"key": "a", "webhook": TWO}, {"key": "b", "webhook": ONE}, {"key": "c"}]
    world = finished({"webhooks": [{"url": ONE}], "claims": claims})
    status = world.writes[-1]
    assert status.phase is Phase.COMPLETED
    assert [one.url for one in status.webhooks] == [OWN, ONE, TWO]
    assert all(one.pending and one.attempts == 0 for one in status.webhooks)
    assert of(world, ONE).id == webhook_id(TRACK, 1, EventType.COMPLETED, ONE)
    assert (
        delivered_condition(world).status,
        delivered_condition(world).reason,
        delivered_condition(world).message,
    ) == ("False", "Delivering", "0 of 3 delivered")


def test_without_addresses_there_is_neither_delivery_nor_condition() -> None:
    world = finished(webhook_url=None)
    assert "webhooks" not in {key for key, value in world.status.items() if value}
    assert "WebhooksDelivered" not in {one["type"] for one in world.status["conditions"]}


def test_failures_and_cancellations_are_sent_too() -> None:
    world = World(spec={**SPEC, "cancel": True}, config=settings(webhook_url=OWN))
    world.settle()
    assert world.phase() is Phase.CANCELLED
    assert of(world, OWN).id == webhook_id(TRACK, 1, EventType.CANCELLED, OWN)
    world = World(spec={**SPEC, "model": "nope"}, config=settings(webhook_url=OWN))
    world.settle()
    assert of(world, OWN).id == webhook_id(TRACK, 1, EventType.FAILED, OWN)


def test_a_good_delivery_takes_one_write() -> None:
    world = finished({"webhooks": [{"url": ONE}]})
    writes = len(world.writes)
    world.settle()
    assert set(world.in_hand.values()) == {OWN, ONE}
    for url in (OWN, ONE):
        world.answer(url)
    world.settle()
    assert len(world.writes) == writes + 1
    assert (delivered_condition(world).status, delivered_condition(world).reason) == ("True", "Delivered")
    assert of(world, OWN).delivered_at == world.now
    assert of(world, OWN).last_status == 200
    assert world.in_hand == {}


def test_results_wait_a_moment_for_those_of_other_targets() -> None:
    world = finished({"webhooks": [{"url": ONE}]})
    writes = len(world.writes)
    world.settle()
    world.answer(OWN)
    decision = world.step()
    assert decision.status is None
    assert decision.requeue_after == pytest.approx(2)
    world.answer(ONE, 500)
    world.settle()
    assert len(world.writes) == writes + 1
    assert (of(world, OWN).attempts, of(world, ONE).attempts) == (1, 1)


def test_a_slow_target_does_not_hold_the_record_of_another() -> None:
    world = finished({"webhooks": [{"url": ONE}]})
    world.settle()
    world.answer(OWN)
    world.attempted_seconds = 2.5
    world.settle()
    assert of(world, OWN).delivered_at is not None
    assert of(world, ONE).pending


def test_attempts_follow_the_schedule_and_then_end() -> None:
    world = finished()
    gaps = []
    for number in range(len(RETRY_SCHEDULE)):
        world.settle()
        assert list(world.in_hand.values()) == [OWN], number
        world.answer(OWN, 500)
        world.settle()
        due = of(world, OWN).next_attempt_at
        if due is not None:
            gaps.append((due - world.now).total_seconds())
            assert world.requeue_after is not None
            assert world.requeue_after <= gaps[-1]
            world.wait(gaps[-1])
    assert len(gaps) == len(RETRY_SCHEDULE) - 1
    for gap, planned in zip(gaps, RETRY_SCHEDULE[1:], strict=True):
        assert planned <= gap <= planned * 1.2
    assert of(world, OWN).attempts == len(RETRY_SCHEDULE)
    assert (delivered_condition(world).reason, delivered_condition(world).message) == (
        "Undelivered",
        "0 of 1 delivered",
    )
    world.wait(10**6)
    world.settle()
    assert world.in_hand == {}


@pytest.mark.parametrize(
    ("status", "more", "again"),
    [
        (410, {}, None),
        (0, {"hopeless": True, "error": "AddressRefused"}, None),
        (0, {"error": "Timeout"}, 5),
        (302, {"error": "Redirected"}, 5),
        (404, {}, 5),
        (503, {"retry_after": 90.0}, 90),
        (429, {"retry_after": 1.0}, 5),
        (503, {"retry_after": 1e9}, 86400),
    ],
)
def test_what_an_answer_leads_to(status: int, more: dict[str, Any], again: float | None) -> None:
    world = finished()
    world.settle()
    world.answer(OWN, status, **more)
    world.settle()
    found = of(world, OWN)
    assert (found.attempts, found.last_status, found.last_error) == (1, status, more.get("error"))
    assert found.delivered_at is None
    if again is None:
        assert found.next_attempt_at is None
    else:
        assert found.next_attempt_at is not None
        pause = (found.next_attempt_at - world.now).total_seconds()
        assert again <= pause <= again * 1.2


def test_a_killed_operator_attempts_again_what_was_not_recorded() -> None:
    world = finished()
    world.settle()
    first = dict(world.in_hand)
    world.restart()
    world.settle()
    assert world.in_hand == first
    world.answer(OWN)
    world.settle()
    world.restart()
    world.settle()
    assert world.in_hand == {}


def test_a_new_address_on_a_finished_track_gets_one_delivery() -> None:
    world = finished()
    world.settle()
    world.answer(OWN)
    world.settle()
    world.spec = {**world.spec, "claims": [{"key": "a", "webhook": ONE}]}
    world.generation += 1
    world.settle()
    assert list(world.in_hand.values()) == [ONE]
    assert delivered_condition(world).reason == "Delivering"
    world.answer(ONE)
    world.settle()
    assert delivered_condition(world).status == "True"
    world.spec = {**world.spec, "claims": [{"key": "a"}]}
    world.generation += 1
    world.settle()
    assert world.in_hand == {}
    assert of(world, ONE).delivered_at is not None


def test_a_key_that_withdraws_leaves_nothing_in_the_outbox() -> None:
    shared = "https://shared.example.com/hook"
    claims = [{"key": key, "webhook": url} for key, url in (("a", ONE), ("b", TWO), ("c", shared), ("d", shared))]
    world = finished({"claims": claims})
    world.settle()
    world.answer(ONE)
    world.settle()
    world.spec = {**world.spec, "claims": [claims[1], claims[3]]}
    world.generation += 1
    world.settle()
    found = {one.url: one.key for one in world.separation.status.webhooks}
    assert found == {OWN: None, TWO: "b", shared: "d"}
    for url in (OWN, TWO, shared):
        world.answer(url)
    world.settle()
    assert (delivered_condition(world).status, delivered_condition(world).message) == ("True", "3 of 3 delivered")


def test_settings_changed_after_the_end_add_no_target() -> None:
    world = finished(webhook_url=None)
    world.config = settings(webhook_url=OWN)
    world.settle()
    assert world.in_hand == {}


def test_many_late_addresses_push_out_those_no_longer_named() -> None:
    world = finished()
    for number in range(90):
        world.spec = {**world.spec, "claims": [{"key": "a", "webhook": f"https://example.com/{number}"}]}
        world.generation += 1
        world.settle()
        for url in list(world.in_hand.values()):
            world.answer(url)
        world.settle()
    urls = [one.url for one in world.separation.status.webhooks]
    assert len(urls) == 81
    assert "https://example.com/89" in urls
    assert "https://example.com/0" not in urls


def test_the_end_of_a_run_names_registered_webhooks_with_ids_of_their_own() -> None:
    claims = [{"key": "a", "webhook": ONE}, {"key": "b"}]
    known = registrations(a=[webhook(1, TWO)], b=[webhook(2, ONE)])
    world = finished({"claims": claims}, registrations=known)
    got = [(one.url, one.key, one.registration) for one in world.separation.status.webhooks]
    assert got == [(OWN, None, None), (ONE, "a", None), (TWO, "a", webhook(1, TWO).id), (ONE, "b", webhook(2, ONE).id)]
    ids = [one.id for one in world.separation.status.webhooks]
    assert ids[1] == webhook_id(TRACK, 1, EventType.COMPLETED, ONE)
    assert ids[3] == webhook_id(TRACK, 1, EventType.COMPLETED, ONE, registration=webhook(2, ONE).id)


def test_webhooks_registered_after_the_end_are_not_notified_of_it() -> None:
    world = finished({"claims": [{"key": "a"}]})
    world.registrations = registrations(a=[webhook(1, ONE)])
    world.settle()
    assert [one.url for one in world.separation.status.webhooks] == [OWN]


def test_a_withdrawn_claim_takes_its_registered_webhooks_with_it() -> None:
    known = registrations(a=[webhook(1, ONE)], b=[webhook(2, ONE)])
    world = finished({"claims": [{"key": "a"}, {"key": "b"}]}, registrations=known)
    world.spec = {**world.spec, "claims": [{"key": "b"}]}
    world.generation += 1
    world.settle()
    assert [(one.url, one.key) for one in world.separation.status.webhooks] == [(OWN, None), (ONE, "b")]


def test_a_new_run_begins_with_an_empty_outbox_and_tells_anew() -> None:
    world = finished()
    first = of(world, OWN).id
    world.spec = {**world.spec, "run": 2}
    world.settle()
    assert world.separation.status.webhooks == []
    world.spec = {**world.spec, "cancel": True}
    world.settle()
    for name in list(world.jobs):
        world.vanish(world.jobs[name])
    world.settle()
    assert of(world, OWN).id != first


def wish(world: World, text: str) -> None:
    world.annotations = {"stemyard.dev/redeliver": text}
    world.settle()


def test_what_was_delivered_is_delivered_again_once_for_each_wish() -> None:
    world = finished({"webhooks": [{"url": ONE}]})
    world.settle()
    for url in (OWN, ONE):
        world.answer(url)
    world.settle()
    first = of(world, ONE).id
    for number, text in enumerate((first, f"{first} again", f"{first},nobody")):
        wish(world, text)
        assert list(world.in_hand) == [first], number
        assert (of(world, ONE).attempts, delivered_condition(world).reason) == (0, "Delivering")
        world.answer(ONE)
        world.settle()
        assert (world.in_hand, delivered_condition(world).status) == ({}, "True")
        world.restart()
        world.settle()
        assert world.in_hand == {}
    wish(world, "all 1")
    assert set(world.in_hand.values()) == {OWN, ONE}


def test_a_delivery_that_was_given_up_gets_the_whole_schedule_again_and_a_pending_one_is_due() -> None:
    world = finished({"webhooks": [{"url": ONE}]}, webhook_schedule=(0.0, 100.0))
    world.settle()
    world.answer(OWN, 410)
    world.answer(ONE, 500)
    world.settle()
    assert of(world, OWN).next_attempt_at is None
    wish(world, "all")
    assert (of(world, OWN).attempts, of(world, ONE).attempts) == (0, 1)
    for url in (OWN, ONE):
        world.answer(url, 500)
    world.settle()
    assert of(world, OWN).pending
    assert not of(world, ONE).pending


def test_a_wish_that_was_there_before_the_end_changes_nothing() -> None:
    world = finished(annotations={"stemyard.dev/redeliver": "all"})
    world.settle()
    world.answer(OWN)
    world.settle()
    assert world.in_hand == {}
    assert of(world, OWN).attempts == 1


def test_only_subscribers_are_notified_of_an_end() -> None:
    wanted = [{"url": ONE, "events": ["separation.failed", "separation.started"]}, {"url": TWO}]
    assert [one.url for one in finished({"webhooks": wanted}).separation.status.webhooks] == [OWN, TWO]
    world = finished({"webhooks": wanted[:1]}, webhook_events=("separation.failed",))
    assert world.separation.status.webhooks == []
    assert "WebhooksDelivered" not in {one["type"] for one in world.status["conditions"]}
    late = [{"key": "a", "webhook": TWO, "webhookEvents": ["separation.failed"]}]
    world.spec = {**world.spec, "claims": late}
    world.settle()
    assert world.in_hand == {}


def test_the_deployments_endpoints_are_frozen_with_their_names() -> None:
    text = f"endpoints: [{{name: crm, url: '{ONE}', keys: [a]}}, {{name: other, url: '{TWO}'}}]"
    claims = [{"key": "a"}, {"key": "c", "webhook": TWO}]
    world = finished({"claims": claims}, endpoints=parse(text))
    found = {one.url: (one.endpoint, one.key) for one in world.separation.status.webhooks}
    assert found == {OWN: (None, None), ONE: ("crm", "a"), TWO: ("other", "c")}


def test_a_test_runs_nothing_tells_only_whom_it_names_and_tries_once() -> None:
    spec = {**SPEC, "webhookTest": True, "webhooks": [{"url": ONE, "events": ["separation.failed"]}]}
    world = World(spec={**spec, "ttlSecondsAfterFinished": 60}, config=settings(webhook_url=OWN))
    world.settle()
    assert (world.phase(), world.jobs, len(world.writes)) == (Phase.COMPLETED, {}, 1)
    assert [one.url for one in world.separation.status.webhooks] == [ONE]
    assert of(world, ONE).id == webhook_id(TRACK, 1, EventType.TEST, ONE)
    world.answer(ONE, 500)
    world.settle()
    assert (of(world, ONE).attempts, of(world, ONE).pending) == (1, False)
    world.wait(61)
    world.step()
    assert world.deleted


def test_deletion_waits_for_delivery() -> None:
    world = finished({"ttlSecondsAfterFinished": 60})
    world.settle()
    world.answer(OWN, 500)
    world.settle()
    world.wait(3600)
    world.step()
    assert not world.deleted
    world.settle()
    world.answer(OWN)
    world.settle()
    assert world.deleted


def test_deletion_waits_for_what_is_delivered_again() -> None:
    world = finished({"ttlSecondsAfterFinished": 10**7})
    world.settle()
    world.answer(OWN)
    world.settle()
    world.wait(10**7)
    wish(world, "all")
    world.step()
    assert (world.deleted, list(world.in_hand.values())) == (False, [OWN])
    world.answer(OWN)
    world.settle()
    assert world.deleted


def test_deletion_does_not_wait_for_ever_for_a_consumer_whose_turn_never_comes() -> None:
    world = finished({"ttlSecondsAfterFinished": 60})
    world.settle()
    world.now += timedelta(seconds=sum(RETRY_SCHEDULE))
    world.step()
    assert not world.deleted
    world.now += timedelta(seconds=sum(RETRY_SCHEDULE))
    world.step()
    assert world.deleted
