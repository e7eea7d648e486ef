"""Temporary credentials: how long links last, when they are renewed, and the errors while there are none."""

import threading
import time
from collections.abc import Callable

import pytest

from stemyard_contract.credential_renewal import KeysUnavailableError, RenewedKeys, SigningKeys


def test_links_last_as_long_as_requested_but_never_longer_than_the_keys() -> None:
    assert SigningKeys("a", "s").lifetime(604_800, 1000.0) == 604_800
    temporary = SigningKeys("a", "s", "t", expires_at=4600.9)
    assert temporary.lifetime(604_800, 1000.0) == 3600
    assert temporary.lifetime(900, 1000.0) == 900


def test_secrets_are_not_shown() -> None:
    assert "hunter2" not in repr(SigningKeys("a", "hunter2", "hunter2"))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Source:
    """Gives out keys that are valid for some seconds, or fails."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.count, self.broken = seconds, 0, False

    def load(self) -> SigningKeys:
        self.count += 1
        if self.broken:
            raise ValueError("the token is refused")
        return SigningKeys(f"key-{self.count}", "s", "t", time.time() + self.seconds)


def test_keys_are_renewed_before_they_expire() -> None:
    source = Source(2.0)
    keys = RenewedKeys(source.load, least=0.05)
    assert keys.current(wait=20).access_key == "key-1"
    used = set[str]()
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        used.add(keys.current().access_key)
        time.sleep(0.02)
    assert len(used) >= 3, "each was in use, and none expired"
    keys.close()


def test_keys_that_cannot_be_renewed_are_used_until_they_expire() -> None:
    source = Source(5)
    keys = RenewedKeys(source.load, least=0.05)
    keys.current(wait=20)
    source.broken = True
    count = source.count
    until(lambda: source.count > count)
    assert _there(keys), "renewed after half of their time at the latest"
    until(lambda: not _there(keys))
    with pytest.raises(KeysUnavailableError, match="the token is refused"):
        keys.current()
    source.broken = False
    until(lambda: _there(keys))
    keys.close()


def _there(keys: RenewedKeys) -> bool:
    try:
        keys.current()
    except KeysUnavailableError:
        return False
    return True


def test_whoever_signs_does_not_wait_for_the_first_keys() -> None:
    go = threading.Event()

    def load() -> SigningKeys:
        go.wait(20)
        return SigningKeys("a", "s")

    keys = RenewedKeys(load)
    before = time.monotonic()
    with pytest.raises(KeysUnavailableError, match="have not been loaded yet"):
        keys.current()
    assert time.monotonic() - before < 5
    go.set()
    assert keys.current(wait=20).access_key == "a"
    keys.close()
