"""Callers are identified by their key alone."""

import time

import pytest

from stemyard_api.auth.api_keys import KeyEntry, Keyring, Principal, Scope, digest, presented_key
from stemyard_api.errors import ForbiddenError, UnauthenticatedError
from stemyard_api.services.stored_sources import belongs_to, mint_upload_id


def entry(key_id: str, key: str, expires_at: float | None = None) -> KeyEntry:
    return KeyEntry(Principal(key_id), digest(key.encode()), expires_at)


RING = Keyring([entry("default", "correct"), entry("studio", "horse")])


def test_each_key_has_its_id() -> None:
    assert RING.identify(b"correct") == Principal("default")
    assert RING.identify(b"horse") == Principal("studio")


@pytest.mark.parametrize("key", [None, b"", b"wrong", b"correct ", b"CORRECT", "córrect".encode(), b"\xff"])
def test_any_other_key_is_refused(key: bytes | None) -> None:
    with pytest.raises(UnauthenticatedError):
        RING.identify(key)


def test_without_keys_requests_are_refused_unless_insecure() -> None:
    with pytest.raises(UnauthenticatedError):
        Keyring().identify(b"")
    assert Keyring(open_to_all=True).identify(None) == Principal("default")
    with pytest.raises(UnauthenticatedError):
        Keyring([entry("default", "k")], open_to_all=True).identify(None)


def test_keys_expire_and_an_id_may_have_two_keys() -> None:
    ring = Keyring([entry("studio", "old", time.time() - 1), entry("studio", "next", time.time() + 60)])
    assert ring.identify(b"next").key_id == "studio"
    with pytest.raises(UnauthenticatedError):
        ring.identify(b"old")


def test_an_empty_key_is_refused_whatever_is_stored() -> None:
    ring = Keyring([entry("nobody", "")])
    for key in (None, b""):
        with pytest.raises(UnauthenticatedError):
            ring.identify(key)


def test_a_principal_learns_that_its_key_was_revoked_changed_or_expired() -> None:
    kept, gone, changed = entry("a", "kept"), entry("a", "gone"), entry("b", "changed")
    ring = Keyring([kept, gone, changed, entry("c", "brief", time.time() + 0.05)])
    one, two, three, brief = (ring.identify(key) for key in (b"kept", b"gone", b"changed", b"brief"))
    assert all(each.validity.holds() for each in (one, two, three, brief))
    ring.replace([entry("a", "kept"), KeyEntry(Principal("b", frozenset({Scope.READ})), changed.digest)])
    assert [each.validity.holds() for each in (one, two, three)] == [True, False, False]
    assert ring.identify(b"kept").validity.holds()
    time.sleep(0.06)
    assert not brief.validity.holds()


def test_no_scope_includes_another() -> None:
    admin = Principal("boss", frozenset({Scope.ADMIN}))
    admin.require(Scope.ADMIN)
    for scope in (Scope.SUBMIT, Scope.READ):
        with pytest.raises(ForbiddenError, match=scope):
            admin.require(scope)


def test_both_headers_carry_a_key() -> None:
    assert presented_key({b"x-api-key": b"k"}) == b"k"
    assert presented_key({b"authorization": b"Bearer k"}) == b"k"
    assert presented_key({b"authorization": b"bearer  k "}) == b"k"
    assert presented_key({b"authorization": b"Basic k"}) is None
    assert presented_key({b"x-api-key": b"k", b"authorization": b"Bearer other"}) == b"k"
    assert presented_key({}) is None


def test_an_upload_id_identifies_its_owner() -> None:
    minted = {mint_upload_id("main", "default") for _ in range(100)}
    assert len(minted) == 100
    for upload_id in minted:
        assert belongs_to(upload_id, "main", "default")
        assert not belongs_to(upload_id, "main", "studio")
        assert not belongs_to(upload_id, "other", "default")
        assert upload_id[14] == "8"


@pytest.mark.parametrize("text", ["", "x", "0" * 36, "8a1e0f0e-8d0c-8b9f-9a55-0d7c6f1b2a34", "../" * 12])
def test_no_other_text_is_an_upload_id(text: str) -> None:
    assert not belongs_to(text, "main", "default")


def test_an_upload_id_has_one_canonical_form() -> None:
    upload_id = mint_upload_id("main", "default")
    for other in (upload_id.upper(), upload_id.replace("-", ""), f"{{{upload_id}}}"):
        assert other == upload_id or not belongs_to(other, "main", "default")
