"""Spans of the operator, and that there is nothing of them where no endpoint is named."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from stemyard_contract.tracing import ANNOTATION_TRACEPARENT, traceparent_of
from stemyard_operator.decision.status_change import Span, StatusChange
from stemyard_operator.informer.cache_entry import trimmed
from stemyard_operator.model.separation import separation_of
from stemyard_operator.observability.tracing import Tracing
from stemyard_operator.webhooks.dispatcher import WebhookTask
from tests.operator.world import START, World

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exported: InMemorySpanExporter) -> Iterator[Tracing]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exported))
    yield Tracing(provider)
    provider.shutdown()


def annotated(traceparent: str) -> dict[str, object]:
    resource = World().resource
    return {**resource, "metadata": {**resource["metadata"], "annotations": {ANNOTATION_TRACEPARENT: traceparent}}}


def test_the_projection_keeps_the_trace_and_no_other_annotation() -> None:
    resource = annotated(TRACEPARENT)
    resource["metadata"]["annotations"]["other"] = "x" * 1000  # type: ignore[index]
    assert trimmed(resource)["metadata"]["annotations"] == {ANNOTATION_TRACEPARENT: TRACEPARENT}
    assert separation_of(trimmed(resource)).traceparent == TRACEPARENT


@pytest.mark.parametrize(
    "bad", ["", "x", f"00-{'0' * 32}-b7ad6b7169203331-01", f"{TRACEPARENT}-more", TRACEPARENT.upper()]
)
def test_what_is_no_trace_is_none(bad: str) -> None:
    assert traceparent_of(annotated(bad)) is None


def test_a_failed_attempt_is_a_span_with_an_error(tracing: Tracing, exported: InMemorySpanExporter) -> None:
    separation = separation_of(annotated(TRACEPARENT))
    tracing.wrote(StatusChange(separation, "default", "m", attempt=Span("fetch", START, START, "SourceNetwork")))
    [span] = exported.get_finished_spans()
    assert span.name == "fetch"
    assert span.status.status_code is StatusCode.ERROR
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.attributes is not None
    assert span.attributes["stemyard.error"] == "SourceNetwork"


def test_separations_without_a_trace_have_no_spans(tracing: Tracing, exported: InMemorySpanExporter) -> None:
    separation = World().separation
    tracing.wrote(StatusChange(separation, "default", "m", whole=Span("separation", START, START)))
    delivery = WebhookTask("uid", "0" * 36, "https://example.com/hook")
    with tracing.webhook(separation, delivery) as headers:
        assert headers == {}
    assert exported.get_finished_spans() == ()


def test_a_webhook_hands_the_trace_on_and_tells_no_path(tracing: Tracing, exported: InMemorySpanExporter) -> None:
    delivery = WebhookTask("uid", "0" * 36, "https://example.com/hook?secret=1")
    with tracing.webhook(separation_of(annotated(TRACEPARENT)), delivery) as headers:
        assert headers["traceparent"].startswith(f"00-{TRACE}-")
    [span] = exported.get_finished_spans()
    assert span.attributes is not None
    assert "secret" not in str(dict(span.attributes))


@pytest.mark.parametrize("module", ["stemyard_operator.manager", "stemyard_api.app"])
def test_nothing_is_loaded_where_no_endpoint_is_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    code = f"import sys, {module}; sys.exit('opentelemetry.exporter' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
    assert Tracing.open() is None
