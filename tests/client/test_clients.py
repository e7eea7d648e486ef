"""Both clients offer the same, with the same words."""

import inspect

import pytest

from stemyard_client import AsyncClient, AsyncSeparation, Client, Separation

SPECIAL = {"__aenter__": "__enter__", "__aexit__": "__exit__"}


def offered(kind: type) -> dict[str, object]:
    return {SPECIAL.get(name, name): value for name, value in vars(kind).items() if not name.startswith("__module")}


@pytest.mark.parametrize(("plain", "other"), [(Client, AsyncClient), (Separation, AsyncSeparation)])
def test_the_asynchronous_client_has_the_same_methods(plain: type, other: type) -> None:
    mine, theirs = offered(plain), offered(other)
    assert mine.keys() == theirs.keys()
    for name, member in mine.items():
        if not inspect.isfunction(member) or name.startswith("__"):
            continue
        twin = theirs[name]
        assert inspect.isfunction(twin)
        assert list(inspect.signature(member).parameters) == list(inspect.signature(twin).parameters), name
        assert (inspect.getdoc(member) or "") == (inspect.getdoc(twin) or "").replace("AsyncClient", "Client"), name
