"""A namespace is known once it was listed, until the API server refuses it."""

from stemyard_operator.namespaces import Namespaces


def test_before_its_first_list_a_namespace_is_unknown() -> None:
    namespaces = Namespaces(["music", "film"])
    assert not namespaces.is_known("music")
    assert not namespaces.is_known("never watched")
    assert namespaces.listed("music")
    assert namespaces.is_known("music")
    assert not namespaces.all_known
    assert not namespaces.listed("music")


def test_a_refused_namespace_is_unknown_until_it_is_listed_again() -> None:
    namespaces = Namespaces(["music"])
    namespaces.listed("music")
    assert namespaces.failed("music", "403", refused=True)
    assert not namespaces.failed("music", "403", refused=True)
    assert not namespaces.is_known("music")
    assert namespaces.errors == {"music": "list: 403"}
    assert namespaces.listed("music")
    assert namespaces.is_known("music")
    assert namespaces.errors == {}


def test_an_api_server_that_does_not_answer_leaves_a_namespace_known() -> None:
    namespaces = Namespaces(["music"])
    namespaces.listed("music")
    assert not namespaces.failed("music", "503", refused=False)
    assert namespaces.is_known("music")
    assert namespaces.errors == {"music": "list: 503"}


def test_a_watch_that_fails_is_an_error_until_it_works() -> None:
    namespaces = Namespaces(["music"])
    namespaces.listed("music")
    namespaces.broken("music", "watch of jobs", "403")
    namespaces.listed("music")
    assert namespaces.is_known("music")
    assert namespaces.errors == {"music": "watch of jobs: 403"}
    namespaces.failed("music", "503", refused=False)
    assert namespaces.errors == {"music": "watch of jobs: 403; list: 503"}
    namespaces.recovered("music", "watch of jobs")
    assert namespaces.errors == {"music": "list: 503"}


def test_ages_are_those_of_complete_lists() -> None:
    now = 100.0
    namespaces = Namespaces(["music", "film"], lambda: now)
    namespaces.listed("music")
    now += 5
    namespaces.failed("music", "503", refused=False)
    assert namespaces.ages == {"music": 5, "film": None}
