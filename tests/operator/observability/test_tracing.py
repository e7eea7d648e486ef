"""Spans of the operator, which need a configured endpoint."""

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
from tests.operator.world import NAMESPACE, START, World

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
    assert separation_of(trimmed(resource), NAMESPACE).traceparent == TRACEPARENT


@pytest.mark.parametrize(
    "bad", ["", "x", f"00-{'0' * 32}-b7ad6b7169203331-01", f"{TRACEPARENT}-more", TRACEPARENT.upper()]
)
def test_an_invalid_traceparent_is_ignored(bad: str) -> None:
    assert traceparent_of(annotated(bad)) is None


def test_a_failed_attempt_is_a_span_with_an_error(tracing: Tracing, exported: InMemorySpanExporter) -> None:
    separation = separation_of(annotated(TRACEPARENT), NAMESPACE)
    tracing.status_written(
        StatusChange(separation, "default", "m", attempt=Span("fetch", START, START, "SourceNetwork"))
    )
    [span] = exported.get_finished_spans()
    assert span.name == "fetch"
    assert span.status.status_code is StatusCode.ERROR
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.attributes is not None
    assert span.attributes["stemyard.error"] == "SourceNetwork"


def test_separations_without_a_trace_have_no_spans(tracing: Tracing, exported: InMemorySpanExporter) -> None:
    separation = World().separation
    tracing.status_written(StatusChange(separation, "default", "m", whole=Span("separation", START, START)))
    delivery = WebhookTask("uid", "0" * 36, "https://example.com/hook", NAMESPACE)
    with tracing.webhook(separation, delivery) as headers:
        assert headers == {}
    assert exported.get_finished_spans() == ()


def test_a_webhook_propagates_the_trace_without_its_url_path(tracing: Tracing, exported: InMemorySpanExporter) -> None:
    delivery = WebhookTask("uid", "0" * 36, "https://example.com/hook?secret=1", NAMESPACE)
    with tracing.webhook(separation_of(annotated(TRACEPARENT), NAMESPACE), delivery) as headers:
        assert headers["traceparent"].startswith(f"00-{TRACE}-")
    [span] = exported.get_finished_spans()
    assert span.attributes is not None
    assert "secret" not in str(dict(span.attributes))


def test_a_webhook_whose_url_is_malformed_is_left_to_the_client_to_refuse(
    tracing: Tracing, exported: InMemorySpanExporter
) -> None:
    delivery = WebhookTask("uid", "0" * 36, "https://example.com:99999/hook", NAMESPACE)
    with tracing.webhook(separation_of(annotated(TRACEPARENT), NAMESPACE), delivery) as headers:
        assert headers["traceparent"].startswith(f"00-{TRACE}-")
    [span] = exported.get_finished_spans()
    assert span.attributes is not None
    assert "server.address" not in span.attributes


@pytest.mark.parametrize("module", ["stemyard_operator.manager", "stemyard_api.app"])
def test_opentelemetry_is_not_imported_without_an_endpoint(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    code = f"import sys, {module}; sys.exit('opentelemetry.exporter' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
    assert Tracing.open() is None
