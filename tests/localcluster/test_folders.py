"""Where the cluster keeps things, by environment."""

from pathlib import Path

from localcluster.folders import folders_of


def test_home_is_the_last_resort() -> None:
    folders = folders_of({"HOME": "/home/ann"})
    assert folders.cache == Path("/home/ann/.cache/stemyard")
    assert folders.state == Path("/home/ann/.local/state/stemyard")


def test_xdg_base_directories_come_before_home() -> None:
    folders = folders_of({"HOME": "/home/ann", "XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": "/s"})
    assert (folders.cache, folders.state) == (Path("/c/stemyard"), Path("/s/stemyard"))


def test_our_own_variables_win_and_are_taken_as_they_are() -> None:
    environment = {"HOME": "/h", "XDG_CACHE_HOME": "/c", "STEMYARD_CACHE": "/big/cache", "STEMYARD_STATE": "/big/state"}
    folders = folders_of(environment)
    assert (folders.cache, folders.state) == (Path("/big/cache"), Path("/big/state"))


def test_an_empty_variable_counts_as_unset() -> None:
    assert folders_of({"HOME": "/h", "STEMYARD_CACHE": ""}).cache == Path("/h/.cache/stemyard")
