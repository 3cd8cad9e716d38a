"""
Shall a worker export traces?  The variables are OpenTelemetry's own, of which the SDK reads the rest.

Traces are off unless `OTEL_TRACES_EXPORTER` is `otlp`; OpenTelemetry itself would export without being asked.
"""

from collections.abc import Mapping
from importlib.util import find_spec

EXPORTER, DISABLED = "OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED"
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
PARTS = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")


def wants_traces(environ: Mapping[str, str]) -> bool:
    """Return whether the variables in *environ* ask for traces."""
    return _exporter(environ) not in {"", "none"} and environ.get(DISABLED, "").strip().lower() != "true"


def tracing_problems(environ: Mapping[str, str]) -> list[str]:
    """Return why a worker cannot export the traces that *environ* asks for; empty if it can, or need not."""
    if not wants_traces(environ):
        return []
    problems = []
    if (exporter := _exporter(environ)) != "otlp":
        problems.append(f"{EXPORTER} is {exporter!r}: a worker exports traces by `otlp`, or with `none` not at all.")
    for name in PROTOCOLS:
        protocol = environ.get(name, "").strip()
        if protocol and protocol != PROTOCOL:
            problems.append(f"{name} is {protocol!r}: a worker sends traces by {PROTOCOL}; leave the variable out.")
    if not all(map(_is_installed, PARTS)):
        problems.append(
            f"{EXPORTER} asks for traces, which need the extra `otel`: pip install 'murmuration-connector[otel]'."
        )
    return problems


def _exporter(environ: Mapping[str, str]) -> str:
    return environ.get(EXPORTER, "").strip().lower()


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False
