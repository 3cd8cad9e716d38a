"""Traces are off unless somebody asks for them, and what cannot be done is said before the worker starts."""

import pytest

from connector.config import tracing
from connector.config.tracing import tracing_problems, wants_traces

ON = {"OTEL_TRACES_EXPORTER": "otlp"}


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, False),
        ({"OTEL_TRACES_EXPORTER": ""}, False),
        ({"OTEL_TRACES_EXPORTER": "none"}, False),
        (ON, True),
        ({"OTEL_TRACES_EXPORTER": " OTLP "}, True),
        ({**ON, "OTEL_SDK_DISABLED": "true"}, False),
        ({**ON, "OTEL_SDK_DISABLED": "false"}, True),
    ],
)
def test_who_wants_traces(environ, wanted):
    """One standard variable turns them on; without it an address alone does not."""
    assert wanted is wants_traces(environ)
    assert [] == tracing_problems(environ)


def test_all_problems_at_once(monkeypatch):
    """Each names the variable and the cure."""
    monkeypatch.setattr(tracing, "PARTS", ("connector", "no_such.package"))
    environ = {"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    exporter, protocol, extra = tracing_problems(environ)

    assert "OTEL_TRACES_EXPORTER is 'zipkin': a worker exports traces by `otlp`, or with `none` not at all." == exporter
    assert protocol.startswith("OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc': a worker sends traces by http/protobuf")
    assert extra.endswith("pip install 'murmuration-connector[otel]'.")


def test_nothing_is_missing_where_nothing_is_asked(monkeypatch):
    """Without the extra a worker starts as ever."""
    monkeypatch.setattr(tracing, "PARTS", ("no_such.package",))

    assert [] == tracing_problems({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
