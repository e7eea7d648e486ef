"""What `run` applies."""

from typing import Any

import pytest

from stemyard_kubectl.errors import InvalidError
from stemyard_kubectl.manifests import LONGEST_NAME, manifest, source_of


@pytest.mark.parametrize(
    ("argument", "source", "begins"),
    [
        ("Queen – Bohemian Rhapsody!", {"searchQuery": "Queen – Bohemian Rhapsody!"}, "queen-bohemian-rhapsody-"),
        ("https://a.example/x/Night_Train.mp3?y=1", {"url": "https://a.example/x/Night_Train.mp3?y=1"}, "night-train-"),
        ("https://a.example", {"url": "https://a.example"}, "a-"),
        ("夜行列車", {"searchQuery": "夜行列車"}, "song-"),
        ("sep tember", {"searchQuery": "sep tember"}, "song-sep-tember-"),
        ("word " * 50, {"searchQuery": "word " * 50}, "word-word-"),
    ],
)
def test_names_are_of_the_source(argument: str, source: dict[str, Any], begins: str) -> None:
    body = manifest(source_of(argument), {})
    assert body["spec"]["source"] == source
    assert body["metadata"]["name"].startswith(begins)
    assert len(body["metadata"]["name"]) <= LONGEST_NAME


def test_what_cannot_be_changed_makes_another_name() -> None:
    def name(**options: Any) -> str:
        return str(manifest(source_of("a song"), options)["metadata"]["name"])

    assert name() == name(priority=3)
    assert len({name(), name(stems=["vocals"]), name(profile="gpu"), name(model="htdemucs")}) == 4
    assert manifest(source_of("a/b.flac", is_object=True), {}, "mine")["metadata"] == {"name": "mine"}


@pytest.mark.parametrize(
    ("argument", "options", "said"),
    [("", {}, "searchQuery"), ("x", {"stems": ["voice"]}, "stems"), ("x", {"priority": 5000}, "priority")],
)
def test_what_the_crd_refuses_is_said_before(argument: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        manifest(source_of(argument), options)
