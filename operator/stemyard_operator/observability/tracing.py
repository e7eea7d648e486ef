"""Spans of separations and their webhooks, and the only importer of OpenTelemetry.

A separation lives for minutes, perhaps in several processes: its spans are made when the status write that ends them
has succeeded, from times that the cluster knows. So each is exported once, whoever leads by then.

Without `OTEL_EXPORTER_OTLP_ENDPOINT` nothing of it is imported. The variables of the OpenTelemetry specification hold.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Self

from stemyard_contract.address_guard import origin_of
from stemyard_operator.decision.status_change import Span, StatusChange
from stemyard_operator.errors import ConfigurationError
from stemyard_operator.model.separation import Separation
from stemyard_operator.webhooks.dispatcher import WebhookTask

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_NANOSECONDS: Final = 10**9
_LAST_WORDS_MILLISECONDS: Final = 2000


class Tracing:
    """Makes spans below the trace that a SeparationJob's annotation names; one without it has no spans."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("stemyard_operator")
        self._wire = TraceContextTextMapPropagator()

    @classmethod
    def open(cls) -> Self | None:
        """Return what the environment says, None where it names no endpoint.

        Raises:
            ConfigurationError: the packages of the extra `tracing` are not installed.
        """
        if not any(os.environ.get(name) for name in _ENDPOINTS):
            return None
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import SERVICE_NAME, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise ConfigurationError(f"OTEL_EXPORTER_OTLP_ENDPOINT needs stemyard[tracing]: {error}") from error
        name = os.environ.get("OTEL_SERVICE_NAME") or "stemyard-operator"
        provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    async def close(self) -> None:
        """Export what waits, for a bounded time."""
        await asyncio.to_thread(self._provider.force_flush, _LAST_WORDS_MILLISECONDS)
        await asyncio.to_thread(self._provider.shutdown)

    def wrote(self, account: StatusChange) -> None:
        """Make the spans that a status write ended."""
        separation = account.separation
        if separation.traceparent is None:
            return
        about = {"stemyard.track_id": separation.track_id, "stemyard.run": separation.spec.run}
        for span in account.spans:
            told = {**about, "stemyard.model": account.model, "stemyard.profile": account.profile}
            self._span(separation.traceparent, span, told | ({"stemyard.error": span.error} if span.error else {}))

    @contextmanager
    def webhook(self, separation: Separation, task: WebhookTask) -> Iterator[Mapping[str, str]]:
        """Make a span of an attempt at a webhook while the block runs; yield the headers that hand the trace on."""
        if separation.traceparent is None:
            yield {}
            return
        from opentelemetry.trace import SpanKind

        told = {"stemyard.track_id": separation.track_id, "stemyard.webhook": task.id}
        told |= {"server.address": origin_of(task.url)}
        parent = self._wire.extract({"traceparent": separation.traceparent})
        with self._tracer.start_as_current_span("webhook", parent, SpanKind.CLIENT, told):
            headers: dict[str, str] = {}
            self._wire.inject(headers)
            yield headers

    def _span(self, traceparent: str, span: Span, told: Mapping[str, Any]) -> None:
        from opentelemetry.trace import StatusCode

        parent = self._wire.extract({"traceparent": traceparent})
        made = self._tracer.start_span(span.name, parent, attributes=dict(told), start_time=_nanoseconds(span.begun))
        if span.error:
            made.set_status(StatusCode.ERROR, span.error)
        made.end(_nanoseconds(max(span.begun, span.ended)))


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * _NANOSECONDS)
