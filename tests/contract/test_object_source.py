"""Which objects of the bucket may be sources, and which never."""

import pytest

from stemyard_contract.object_source import ObjectKeyError, allows, check_object_key, check_prefixes, owner_key

INSTALL = "install-1"
PREFIXES = check_prefixes(("incoming", "library/masters/"), INSTALL)


@pytest.mark.parametrize("key", ["incoming/a.mp3", "library/masters/2024/a b.flac", "incoming/Söng (live).wav"])
def test_objects_below_an_allowed_prefix(key: str) -> None:
    assert check_object_key(key) == key
    assert allows(PREFIXES, key, INSTALL)


@pytest.mark.parametrize(
    "key",
    [
        "incoming",
        "incoming-secret/a.mp3",
        "library/a.mp3",
        "other/incoming/a.mp3",
        "install-1/stems/t/k/vocals.mp3",
        "install-2/uploads/default/id/source",
        "INCOMING/a.mp3",
    ],
)
def test_objects_elsewhere(key: str) -> None:
    assert check_object_key(key) == key
    assert not allows(PREFIXES, key, INSTALL)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/incoming/a.mp3",
        "incoming/",
        "incoming//a.mp3",
        "incoming/../install-1/owner.json",
        "incoming/./a.mp3",
        "..",
        "incoming/a\nb.mp3",
        "incoming/a\x00.mp3",
        "incoming/\ud800.mp3",
        "incoming/" + "ä" * 508,
    ],
)
def test_keys_that_stores_read_differently(key: str) -> None:
    with pytest.raises(ObjectKeyError):
        check_object_key(key)
    assert not allows(PREFIXES, key, INSTALL)


def test_the_object_that_marks_an_installation_keeps_its_name() -> None:
    """Installations of other versions look for it: another name would hide who owns a prefix."""
    assert owner_key(INSTALL) == "install-1/owner.json"


def test_the_shortest_key() -> None:
    assert check_object_key("a") == "a"


def test_the_longest_key() -> None:
    assert allows(PREFIXES, "incoming/" + "x" * (1024 - len("incoming/")), INSTALL)


def test_nothing_is_allowed_by_default() -> None:
    assert not allows((), "incoming/a.mp3", INSTALL)


@pytest.mark.parametrize("prefix", ["", "/", "..", "a//b", "install-1", "install-1/stems/"])
def test_prefixes_that_would_open_too_much(prefix: str) -> None:
    with pytest.raises(ObjectKeyError):
        check_prefixes((prefix,), INSTALL)
