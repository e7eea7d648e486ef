"""A real Chromium before the whole system; nothing of what the page talks to is made up."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from localcluster.control_plane import ControlPlane
from tests.api_server.conftest import install_crd
from tests.support import chromium
from tests.support.web_world import World, world
from tests.web.songs import finished
from tests.web.visitor import Visitor

expect.set_options(timeout=30_000)  # a bound for a machine with much else to do; nothing waits for it to pass


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder needs a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The system, started once; tests keep apart by asking for different songs."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as plane:
        install_crd(plane)
        with world(plane, tmp_path_factory.mktemp("world")) as found:
            yield found


@pytest.fixture(scope="session")
def song(running: World) -> str:
    """A track that is completed, for tests that only listen."""
    return finished(running)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, headless."""
    program = chromium.program()
    if program is None:
        pytest.fail("no chromium here: `make test-browser` installs it as root on Debian; or set STEMYARD_CHROMIUM")
    with chromium.launched(program) as found:
        yield found


@pytest.fixture
def visitor(browser: Browser, running: World) -> Iterator[Visitor]:
    """Somebody with an empty browser; at the end nothing must have been blocked, thrown or logged as an error."""
    with Visitor.arriving(browser, running.url) as found:
        yield found
