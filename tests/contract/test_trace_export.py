"""Traces are exported where the environment names an endpoint, and OpenTelemetry is not needed elsewhere."""

import sys

import pytest

from stemyard_contract.trace_export import TracingUnavailableError, is_enabled, tracer_provider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def test_either_endpoint_enables_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    assert not is_enabled()
    for name in ENDPOINTS:
        with monkeypatch.context() as environment:
            environment.setenv(name, "http://127.0.0.1:1")
            assert is_enabled()


def test_the_service_has_its_name_unless_the_environment_gives_another(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, expected in (("", "stemyard-api"), ("mine", "mine")):
        monkeypatch.setenv("OTEL_SERVICE_NAME", name)
        provider = tracer_provider("stemyard-api", shutdown_on_exit=False)
        assert provider.resource.attributes["service.name"] == expected
        provider.shutdown()


def test_the_extra_is_named_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(TracingUnavailableError, match=r"needs stemyard\[tracing\]"):
        tracer_provider("stemyard-api")
