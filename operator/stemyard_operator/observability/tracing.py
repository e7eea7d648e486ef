"""Creates spans of separations and their webhooks, by OpenTelemetry.

A separation takes minutes and may span several leaders: a span is created after the status write that ends it, from
times that the cluster recorded, so that it is exported once.

Without `OTEL_EXPORTER_OTLP_ENDPOINT` OpenTelemetry is not imported. The variables of its specification configure it.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Self

from stemyard_contract.address_guard import origin_of
from stemyard_contract.trace_export import TracingUnavailableError, is_enabled, tracer_provider
from stemyard_operator.decision.status_change import Span, StatusChange
from stemyard_operator.errors import ConfigurationError
from stemyard_operator.model.separation import Separation
from stemyard_operator.webhooks.dispatcher import WebhookTask

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_NANOSECONDS: Final = 10**9
_FLUSH_MILLISECONDS: Final = 2000


class Tracing:
    """Creates spans in the trace that a SeparationJob's annotation names; without the annotation there are none."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("stemyard_operator")
        self._wire = TraceContextTextMapPropagator()

    @classmethod
    def open(cls) -> Self | None:
        """Return the tracing that the environment configures, None without an endpoint.

        Raises:
            ConfigurationError: the packages of the extra `tracing` are not installed.
        """
        if not is_enabled():
            return None
        try:
            return cls(tracer_provider("stemyard-operator", shutdown_on_exit=False))
        except TracingUnavailableError as error:
            raise ConfigurationError(str(error)) from error

    async def close(self) -> None:
        """Export pending spans, for a bounded time."""
        await asyncio.to_thread(self._provider.force_flush, _FLUSH_MILLISECONDS)
        await asyncio.to_thread(self._provider.shutdown)

    def status_written(self, change: StatusChange) -> None:
        """Create the spans that a status write ended."""
        separation = change.separation
        if separation.traceparent is None:
            return
        about = {"stemyard.track_id": separation.track_id, "stemyard.run": separation.spec.run}
        for span in change.spans:
            attributes = {**about, "stemyard.model": change.model, "stemyard.profile": change.profile}
            self._span(
                separation.traceparent, span, attributes | ({"stemyard.error": span.error} if span.error else {})
            )

    @contextmanager
    def webhook(self, separation: Separation, task: WebhookTask) -> Iterator[Mapping[str, str]]:
        """Create a span of a webhook attempt around the block; yield the headers that propagate the trace."""
        if separation.traceparent is None:
            yield {}
            return
        from opentelemetry.trace import SpanKind

        attributes = {"stemyard.track_id": separation.track_id, "stemyard.webhook": task.id}
        with suppress(ValueError):  # the client refuses a malformed URL, and records that
            attributes["server.address"] = origin_of(task.url)
        parent = self._wire.extract({"traceparent": separation.traceparent})
        with self._tracer.start_as_current_span("webhook", parent, SpanKind.CLIENT, attributes):
            headers: dict[str, str] = {}
            self._wire.inject(headers)
            yield headers

    def _span(self, traceparent: str, span: Span, attributes: Mapping[str, Any]) -> None:
        from opentelemetry.trace import StatusCode

        parent = self._wire.extract({"traceparent": traceparent})
        created = self._tracer.start_span(
            span.name, parent, attributes=dict(attributes), start_time=_nanoseconds(span.begun)
        )
        if span.error:
            created.set_status(StatusCode.ERROR, span.error)
        created.end(_nanoseconds(max(span.begun, span.ended)))


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * _NANOSECONDS)
