"""The table of renderings: by real Helm, each row's values give what the row says, or are refused by its sentence."""

from collections.abc import Mapping
from typing import Final

import pytest

from charts.helm import HelmError, merge
from tests.chart import rows_identity, rows_network, rows_platform, rows_secrets, rows_tls
from tests.chart.rendered import render
from tests.chart.rows import Row, contains

ROWS: Final[Mapping[str, Row]] = {
    f"{table.__name__.rpartition('_')[2]}: {name}": row
    for table in (rows_identity, rows_network, rows_platform, rows_secrets, rows_tls)
    for name, row in table.ROWS.items()
}


@pytest.mark.parametrize("name", ROWS)
def test_a_rendering_is_as_its_row_says(name: str) -> None:
    row = ROWS[name]
    values = merge(row.base, row.values)
    if row.refused:
        with pytest.raises(HelmError) as refused:
            render(values)
        assert row.refused in str(refused.value)
        return
    assert row.faults(render(values)) == []


def test_every_row_says_something() -> None:
    assert [name for name, row in ROWS.items() if not (row.has or row.lacks or row.refused)] == []


def test_a_fragment_is_found_wherever_it_is() -> None:
    actual = {"a": [{"b": 1, "c": 2}, {"b": 3}], "d": "e"}
    assert contains(actual, {"a": [{"b": 3}, {"c": 2}]})
    assert not contains(actual, {"a": [{"b": 3, "c": 2}]})
    assert not contains(actual, {"d": {"e": 1}})
    assert not contains(actual, {"f": None})
