"""Export of traces by OpenTelemetry, which is imported only if its variables name an endpoint."""

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class TracingUnavailableError(Exception):
    """An endpoint is configured, but the packages of the extra `tracing` are not installed."""


def is_enabled() -> bool:
    """Return whether an endpoint for traces is configured."""
    return any(os.environ.get(name) for name in _ENDPOINTS)


def tracer_provider(service: str, *, shutdown_on_exit: bool = True) -> "TracerProvider":
    """Return the tracer provider that the environment configures.

    Args:
        service: name of the service, unless OTEL_SERVICE_NAME is set.
        shutdown_on_exit: whether spans that are pending at the end of the process are exported then.

    Raises:
        TracingUnavailableError: the packages are not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TracingUnavailableError(f"OTEL_EXPORTER_OTLP_ENDPOINT needs stemyard[tracing]: {error}") from error
    resource = Resource.create({SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME") or service})
    provider = TracerProvider(resource=resource, shutdown_on_exit=shutdown_on_exit)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
