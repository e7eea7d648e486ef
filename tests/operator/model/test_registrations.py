"""Which registered webhooks of a key count."""

from tests.operator.model.registered import registrations, webhook

ONE, TWO = "https://one.example.com/", "https://two.example.com/"


def test_only_enabled_webhooks_of_the_key_itself_count() -> None:
    found = registrations(a=[webhook(1, ONE), webhook(2, TWO, enabled=False)], b=[webhook(3, TWO)])
    assert [one.url for one in found.of("a")] == [ONE]
    assert found.of("c") == []
    assert found.by_url("a", TWO) is None
    assert found.by_id("a", webhook(3, TWO).id) is None
    assert found.by_id("b", webhook(3, TWO).id) == webhook(3, TWO)


def test_disabled_ones_can_be_asked_for() -> None:
    found = registrations(a=[webhook(1, ONE, enabled=False)])
    assert found.by_url("a", ONE, disabled=True) == found.by_id("a", webhook(1, ONE).id, disabled=True) is not None


def test_a_revoked_key_has_none() -> None:
    found = registrations(revoked=True, a=[webhook(1, ONE)])
    assert found.of("a", disabled=True) == []
