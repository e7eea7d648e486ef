"""Who is notified: registered webhooks beside the deployment's and those of requests, each with its own secret."""

from typing import Any

from stemyard_contract.event_types import ENDS, EventType
from stemyard_contract.separationjob import SeparationJobSpec
from stemyard_operator.config.webhook_endpoints import NO_ENDPOINTS, Endpoints, parse
from stemyard_operator.decision.webhook_targets import Target, requested_targets, targets
from stemyard_operator.model.registrations import Registrations
from tests.operator.model.registered import registrations, webhook
from tests.operator.world import SPEC, settings

OWN, ONE, TWO = (f"https://{name}.example.com/hook" for name in ("own", "one", "two"))


def found(spec: dict[str, Any], known: Registrations, endpoints: Endpoints = NO_ENDPOINTS) -> list[Target]:
    parsed = SeparationJobSpec.model_validate({**SPEC, **spec})
    return list(targets(parsed, settings(webhook_url=OWN), endpoints, known))


def claims(*keys: str, **urls: str) -> dict[str, Any]:
    return {"claims": [{"key": key, **({"webhook": urls[key]} if key in urls else {})} for key in keys]}


def test_each_claiming_keys_webhooks_are_notified_of_their_events() -> None:
    started = webhook(1, ONE, events=[EventType.STARTED])
    known = registrations(a=[started, webhook(2, TWO)], b=[webhook(3, TWO)], c=[webhook(4, ONE)])
    got = found(claims("a", "b"), known)
    assert [(one.url, one.key, one.registration) for one in got] == [
        (OWN, None, None),
        (ONE, "a", started.id),
        (TWO, "b", webhook(3, TWO).id),
        (TWO, "a", webhook(2, TWO).id),
    ]
    assert [one.events for one in got] == [ENDS, {EventType.STARTED}, ENDS, ENDS]


def test_a_request_that_names_its_own_registered_url_is_one_delivery_of_both_events() -> None:
    known = registrations(a=[webhook(1, ONE, events=[EventType.STARTED])])
    [_, one] = found(claims("a", a=ONE), known)
    assert one.registration == webhook(1, ONE).id
    assert one.events == {EventType.STARTED, *ENDS}


def test_the_registered_url_of_another_key_is_another_delivery() -> None:
    """Else whoever names a URL first would choose whose secret signs, and the consumer would refuse it."""
    known = registrations(a=[webhook(1, ONE)])
    got = found(claims("b", "a", b=ONE), known)
    assert [(one.key, one.registration) for one in got[1:]] == [("b", None), ("a", webhook(1, ONE).id)]


def test_the_deployments_endpoint_and_a_registered_webhook_of_its_url_are_two_deliveries() -> None:
    text = f"endpoints: [{{name: crm, url: '{ONE}', keys: [a], secret: a-secret-of-the-crm}}]"
    got = found(claims("a"), registrations(a=[webhook(1, ONE)]), parse(text))
    assert [(one.endpoint, one.registration) for one in got[1:]] == [("crm", None), (None, webhook(1, ONE).id)]


def test_a_key_with_many_webhooks_displaces_none_of_another() -> None:
    keys = {
        f"k{key}": [webhook(100 * key + number, f"https://example.com/{number}") for number in range(32)]
        for key in range(3)
    }
    last = registrations(False, **keys, last=[webhook(999, ONE)])
    got = found(claims("k0", "k1", "k2", "last"), last)[1:]
    assert len(got) == 64
    assert ("last", ONE) in {(one.key, one.url) for one in got}
    assert {key: sum(one.key == key for one in got) for key in keys} == {"k0": 21, "k1": 21, "k2": 21}


def test_only_a_test_resolves_a_disabled_webhook() -> None:
    known = registrations(a=[webhook(1, ONE, enabled=False)])
    for test, wanted in ((False, None), (True, webhook(1, ONE).id)):
        spec = SeparationJobSpec.model_validate({**SPEC, **claims("a", a=ONE), "webhookTest": test})
        [one] = requested_targets(spec, NO_ENDPOINTS, known)
        assert one.registration == wanted
