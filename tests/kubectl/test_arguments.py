"""Options of the connection may be anywhere."""

import pytest

from stemyard_kubectl.arguments import in_front


@pytest.mark.parametrize(
    ("given", "ordered"),
    [
        ("why song -n music", "-n music why song"),
        ("why song -nmusic", "-nmusic why song"),
        ("why song --namespace=music --context home", "--namespace=music --context home why song"),
        ("--kubeconfig a why song", "--kubeconfig a why song"),
        ("queue -A", "queue -A"),
        ("run a --name b", "run a --name b"),
        ("run -- -n --context", "run -- -n --context"),
        ("why song -n", "-n why song"),
        ("", ""),
    ],
)
def test_they_are_moved_to_the_front(given: str, ordered: str) -> None:
    assert in_front(given.split()) == ordered.split()
