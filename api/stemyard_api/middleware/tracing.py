"""Traces of requests that start separations.

Without `OTEL_EXPORTER_OTLP_ENDPOINT` OpenTelemetry is not imported and no middleware is added. The variables of the
OpenTelemetry specification apply (`OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS`, ...).
"""

from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stemyard_api.asgi import HttpMiddleware, logged_path, traceparent
from stemyard_api.settings import SettingsError
from stemyard_contract.trace_export import TracingUnavailableError, tracer_provider

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


def provider() -> "TracerProvider":
    """Return the tracer provider of the environment.

    Raises:
        SettingsError: the packages of the extra `tracing` are not installed.
    """
    try:
        return tracer_provider("stemyard-api")
    except TracingUnavailableError as error:
        raise SettingsError(str(error)) from error


class Tracing(HttpMiddleware):
    """Creates a span for every POST, a child of the caller's span if it sends a `traceparent`."""

    def __init__(self, app: ASGIApp, spans: "TracerProvider") -> None:
        super().__init__(app)
        self._tracer = spans.get_tracer("stemyard_api")

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        wire = TraceContextTextMapPropagator()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        span = self._tracer.start_span(f"POST {logged_path(scope['path'])}", wire.extract(headers), SpanKind.SERVER)
        carrier: dict[str, Any] = {}
        wire.inject(carrier, _context_of(span))
        token = traceparent.set(carrier.get("traceparent"))

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
                if message["status"] >= 500:
                    span.set_status(StatusCode.ERROR)
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            traceparent.reset(token)
            span.end()


def _context_of(span: Any) -> Any:  # noqa: ANN401 - of an optional package
    from opentelemetry.trace import set_span_in_context

    return set_span_in_context(span)
