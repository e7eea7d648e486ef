"""Fixtures of the separator's tests: a desk with an object store, and sources."""

from collections.abc import Iterator

import pytest

from stemyard_contract.separationjob import ObjectSource, Source, UploadSource
from tests.support.desk_double import DeskDouble


@pytest.fixture
def desk() -> Iterator[DeskDouble]:
    with DeskDouble() as running:
        yield running


@pytest.fixture
def upload() -> Source:
    return Source(upload=UploadSource(id="4b1d0a52-6f0e-4e0e-9d0e-0c6f3a0c1d11", owner="key"))


@pytest.fixture
def stored() -> Source:
    return Source(object=ObjectSource(key="incoming/2024/A song.final.mp3"))
