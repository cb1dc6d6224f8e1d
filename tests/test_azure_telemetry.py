"""What runs went through arrives at a collector and at Application Insights, and only where it was asked for."""

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stylizer.backend import Phase
from stylizer.errors import BackendRejected
from tests.azure_for_tests import Cloud, cloud, ended
from tests.azurite import Azurite, azurite, missing
from tests.jobs_for_tests import chunk_spec, until

traces = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")


@pytest.fixture(scope="module")
def storage() -> Iterator[Azurite]:
    with azurite() as running:
        yield running


@pytest.fixture
def account(storage: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    (tmp_path / "look.safetensors").write_bytes(b"a checkpoint, as far as these tests go")
    with cloud(storage, tmp_path, monkeypatch) as made:
        yield made


class Collector(ThreadingHTTPServer):
    """Takes whatever is posted."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        super().__init__(("127.0.0.1", 0), Taking)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Taking(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body))
        answer = b"" if "v1/traces" in self.path else b'{"itemsReceived": 1, "itemsAccepted": 1, "errors": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def painted(account: Cloud, folder: Path, **settings: object) -> None:
    """One chunk well and one not, until the machines are gone."""
    account.tell_workers(fates={"24": "fail"})
    backend, specs = account.backend(**settings), [chunk_spec(folder, n) for n in range(2)]
    backend.submit(specs)
    phases = {report.phase for report in ended(backend, [spec.id for spec in specs]).values()}
    assert phases == {Phase.DONE, Phase.FAILED}
    until(lambda: backend.meters() and backend.meters()[0].final)
    backend.close()


def test_a_collector_hears_of_every_spec_and_node(
    account: Cloud, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    painted(account, tmp_path, telemetry=True)
    spans: list[Any] = []
    for _, body in collector.got:
        request = traces.ExportTraceServiceRequest.FromString(body)
        spans += [span for of in request.resource_spans for scope in of.scope_spans for span in scope.spans]
    facts = [(span.name, {one.key: one.value.string_value for one in span.attributes}, span) for span in spans]
    chunks = {found["stylizer.spec"]: span for name, found, span in facts if name == "chunk"}
    assert sorted(chunks) == ["1-00000-1", "1-00001-1"]
    assert [span.status.message for _, span in sorted(chunks.items())] == ["", "fail"]
    for name, found, span in facts:
        assert span.end_time_unix_nano >= span.start_time_unix_nano
        if name == "node":
            assert found["stylizer.size"] == "Standard_D2s_v3" and span.events[-1].name == "gone" and len(span.events) > 1
    assert sum(name == "node" for name, *_ in facts) in (1, 2)
    whole = b"".join(body for _, body in collector.got)
    secrets = (str(tmp_path), "sig=", account.batch.account.key, account.storage.key)
    assert not any(secret.encode() in whole for secret in secrets)


def test_application_insights_hears_of_it_by_connection_string(
    account: Cloud, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("azure.monitor.opentelemetry.exporter")
    key = "11111111-2222-3333-4444-555555555555"
    monkeypatch.setenv(
        "APPLICATIONINSIGHTS_CONNECTION_STRING", f"InstrumentationKey={key};IngestionEndpoint={collector.url}/"
    )
    painted(account, tmp_path, telemetry=True)
    told = [one for _, body in collector.got for one in json.loads(body)]
    specs = {one["data"]["baseData"]["properties"].get("stylizer.spec") for one in told if "baseData" in one["data"]}
    assert {"1-00000-1", "1-00001-1"} <= specs and {one["iKey"] for one in told} == {key}


def test_nothing_is_sent_where_it_was_not_asked_for(
    account: Cloud, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    painted(account, tmp_path)
    assert collector.got == []


def test_where_nothing_says_where_to_it_is_said(account: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("APPLICATIONINSIGHTS_CONNECTION_STRING", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    backend = account.backend(telemetry=True)
    backend.submit([chunk_spec(tmp_path)])
    with pytest.raises(BackendRejected, match="nothing says where it goes"):
        until(lambda: not backend.poll(["1-00000-1"]))
