"""Generates the page of all metrics from what the operator and the API register."""

from collections.abc import Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry

from documentation.tables import table
from stemyard_api.observability.metrics import GaugeValues
from stemyard_api.observability.metrics import Metrics as ApiMetrics
from stemyard_operator.observability.metrics import Metrics as OperatorMetrics
from stemyard_operator.observability.readings import Reading

_HEAD: Final = """# Reference of the metrics

<!-- Generated from the registries of operator and API by `make generate`. Do not edit. -->

Every metric of Stemyard's own. What to make of them, with queries: [observability](../05-observability.md);
when they mean trouble: the [runbook](../08-runbook.md). A histogram `x` has the
series `x_bucket`, `x_sum` and `x_count`.
"""
_OWN: Final = "stemyard_"
_COLUMNS: Final = ("metric", "type", "labels", "meaning")


class _Fixed:
    """Readings with one value of each kind, which is enough to have every gauge described."""

    def now(self) -> Reading:
        """Return the values."""
        return Reading(
            leader=True,
            phases={},
            due=0,
            later=0,
            retries=0,
            watch_age=0,
            resync_age=0,
            namespaces={},
            mirror_lag=0,
            mirror_waiting=0,
            dependencies={},
        )


def metrics_reference() -> str:
    """Return the page, in Markdown."""
    operator, api = OperatorMetrics(), ApiMetrics()
    operator.expose(_Fixed())  # type: ignore[arg-type]
    api.watch(lambda: GaugeValues(streams=0, backend="local", up={}))
    parts = [_HEAD]
    for title, registry in (("Operator, `:8086/metrics`", operator.registry), ("API, `:5501/metrics`", api._registry)):
        parts += [f"\n## {title}\n\n", table(_COLUMNS, sorted(_rows(registry)))]
    return "".join(parts)


def _rows(registry: CollectorRegistry) -> Iterator[tuple[str, str, str, str]]:
    for collector in registry._collector_to_names:
        for family in collector.collect():
            if family.name.startswith(_OWN):
                name = f"`{family.name}{'_total' if family.type == 'counter' else ''}`"
                yield name, family.type, _labels(collector, family), family.documentation


def _labels(collector: Any, family: Any) -> str:  # noqa: ANN401 - the names are private to the library
    """Return the names of labels: of the object that counts, else of the family that was made for this scrape."""
    found: Any = getattr(collector, "_labelnames", None) or getattr(family, "_labelnames", None) or ()
    return ", ".join(f"`{name}`" for name in found)
