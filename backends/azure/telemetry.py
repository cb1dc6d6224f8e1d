"""What runs went through, as OpenTelemetry spans: one for each spec, one for each node. Off unless `azure.telemetry` is set.

They go to Application Insights where APPLICATIONINSIGHTS_CONNECTION_STRING is set, else to where the variables of
OpenTelemetry say (OTEL_EXPORTER_OTLP_ENDPOINT). No path, no link, no word of a person is in them.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stylizer.backend import Phase, Report
from stylizer.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

CONNECTION = "APPLICATIONINSIGHTS_CONNECTION_STRING"
OTLP = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
NANOSECONDS = 1_000_000_000


@dataclass(slots=True)
class Telemetry:
    """Spans, sent by a thread of their own; what cannot be sent is lost and disturbs nothing."""

    provider: TracerProvider
    tracer: Tracer
    nodes: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    """When each node came into which state."""

    def spec(self, job: int, report: Report) -> None:
        """A spec that has ended, well or not."""
        facts: dict[str, str | int | float] = {
            "stylizer.job": job,
            "stylizer.spec": report.id,
            "stylizer.worker": report.worker,
            "stylizer.frames": report.done,
            "stylizer.seconds": report.seconds,
        }
        kind = "fit" if "-fit-" in report.id else "chunk"
        begun = int((time.time() - report.seconds) * NANOSECONDS)
        span = self.tracer.start_span(kind, start_time=begun, attributes=facts)
        if report.phase is Phase.FAILED:
            from opentelemetry.trace import StatusCode  # noqa: PLC0415

            span.set_status(StatusCode.ERROR, report.code)
        span.end()

    def node(self, job: int, name: str, state: str, size: str, at: float) -> None:
        """A node came into a state; with "gone" its span is sent."""
        states = self.nodes.setdefault(name, [])
        states.append((at, state))
        if state != "gone":
            return
        begun = int(states[0][0] * NANOSECONDS)
        facts: dict[str, str | int] = {"stylizer.job": job, "stylizer.node": name, "stylizer.size": size}
        span = self.tracer.start_span("node", start_time=begun, attributes=facts)
        for when, what in self.nodes.pop(name):
            span.add_event(what, timestamp=int(when * NANOSECONDS))
        span.end(int(max(at, states[0][0]) * NANOSECONDS))

    def close(self) -> None:
        """Send what is left, for five seconds at most."""
        self.provider.force_flush(5000)
        self.provider.shutdown()


def telemetry() -> Telemetry:
    """ConfigError if what it needs is not installed, or nothing says where spans go."""
    try:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        exporter = _exporter()
    except ImportError as error:
        raise ConfigError(
            f"azure.telemetry is set, but {error.name} is not installed.", hint="pip install 'stylizer[telemetry]'"
        ) from None
    except ValueError:
        raise ConfigError(f"{CONNECTION} is not a connection string.", hint="Copy it from the portal.") from None
    provider = TracerProvider(resource=Resource.create({"service.name": "stylizer"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Telemetry(provider, provider.get_tracer("stylizer"))


def _exporter() -> SpanExporter:
    if connection := os.environ.get(CONNECTION):
        # The exporter would report on itself, to Microsoft.
        os.environ.setdefault("APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL", "true")
        from azure.monitor.opentelemetry.exporter import AzureMonitorTraceExporter  # noqa: PLC0415

        made: SpanExporter = AzureMonitorTraceExporter(connection_string=connection, disable_offline_storage=True)
        return made
    if not any(os.environ.get(name) for name in OTLP):
        raise ConfigError(
            "azure.telemetry is set, and nothing says where it goes.",
            hint=f"Set {CONNECTION} or {OTLP[0]} in the environment.",
        )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter()
