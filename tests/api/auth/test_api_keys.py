"""Who is asking is told by the key alone."""

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
def test_anything_else_is_nobody(key: bytes | None) -> None:
    with pytest.raises(UnauthenticatedError):
        RING.identify(key)


def test_without_keys_nobody_enters_unless_it_is_open_to_all() -> None:
    with pytest.raises(UnauthenticatedError):
        Keyring().identify(b"")
    assert Keyring(open_to_all=True).identify(None) == Principal("default")
    with pytest.raises(UnauthenticatedError):
        Keyring([entry("default", "k")], open_to_all=True).identify(None)


def test_a_key_may_expire_and_one_id_may_have_two() -> None:
    ring = Keyring([entry("studio", "old", time.time() - 1), entry("studio", "next", time.time() + 60)])
    assert ring.identify(b"next").key_id == "studio"
    with pytest.raises(UnauthenticatedError):
        ring.identify(b"old")


def test_no_scope_includes_another() -> None:
    admin = Principal("boss", frozenset({Scope.ADMIN}))
    admin.require(Scope.ADMIN)
    for scope in (Scope.SUBMIT, Scope.READ):
        with pytest.raises(ForbiddenError, match=scope):
            admin.require(scope)


def test_a_key_travels_in_either_header() -> None:
    assert presented_key({b"x-api-key": b"k"}) == b"k"
    assert presented_key({b"authorization": b"Bearer k"}) == b"k"
    assert presented_key({b"authorization": b"bearer  k "}) == b"k"
    assert presented_key({b"authorization": b"Basic k"}) is None
    assert presented_key({b"x-api-key": b"k", b"authorization": b"Bearer other"}) == b"k"
    assert presented_key({}) is None


def test_an_upload_id_tells_its_owner() -> None:
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


def test_an_upload_id_has_one_spelling() -> None:
    upload_id = mint_upload_id("main", "default")
    for other in (upload_id.upper(), upload_id.replace("-", ""), f"{{{upload_id}}}"):
        assert other == upload_id or not belongs_to(other, "main", "default")
