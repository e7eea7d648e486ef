"""A trace collector that receives spans by OTLP over HTTP."""

import gzip
from dataclasses import dataclass
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.http_server import Exchange, HttpServer


@dataclass(frozen=True)
class Span:
    """An exported span."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    seconds: float
    attributes: dict[str, Any]


class Collector:
    """Stores every received span."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._server = HttpServer(self._route)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that make a process export spans to it without delay."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self._server.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}

    def named(self, name: str) -> list[Span]:
        return [span for span in list(self.spans) if span.name == name]

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(None, None, None)

    def _route(self, exchange: Exchange) -> None:
        assert exchange.route_path == "/v1/traces"
        body = exchange.body()
        if exchange.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = {one.key: one.value.string_value for one in group.resource.attributes}["service.name"]
            self.spans += [_span(service, span) for scope in group.scope_spans for span in scope.spans]
        exchange.answer(200)


def _span(service: str, span: Any) -> Span:
    attributes = {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}
    seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
    return Span(service, span.name, *ids, seconds, attributes)
