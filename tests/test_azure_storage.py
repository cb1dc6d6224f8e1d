import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from azure.storage.blob import BlobClient

from backends.azure import storage as blobs
from backends.azure.errands import result_name
from backends.azure.faults import Missing, clean
from backends.azure.landing import land, largest
from backends.azure.links import account_of
from backends.azure.storage import BLOCK, Container, open_container
from stylizer import blobs as links
from stylizer.blobs import Broken
from stylizer.config import AzureDefaults, Config
from stylizer.errors import BackendRejected, BackendUnavailable, ConfigError
from stylizer.files import digest_of
from tests.azurite import Azurite, Login, azurite, missing
from tests.jobs_for_tests import chunk_spec

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")


@pytest.fixture(scope="module", params=[False, True], ids=["shared key", "entra"])
def running(request: pytest.FixtureRequest) -> Iterator[Azurite]:
    with azurite(oauth=request.param) as found:
        yield found


@pytest.fixture
def container(running: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Container:
    if running.cert:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(running.cert))
        monkeypatch.setenv("SSL_CERT_FILE", str(running.cert))
    made = Container(running.endpoint, f"c{abs(hash(str(tmp_path))):x}"[:30], Login() if running.cert else running.key)
    made.create()
    made.create()
    return made


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(hours=2)


def test_what_is_uploaded_comes_back_and_is_not_sent_twice(container: Container, tmp_path: Path) -> None:
    for name, size in (("small", 1000), ("large", BLOCK + 5), ("empty", 0)):
        path = tmp_path / name
        path.write_bytes(os.urandom(size))
        assert container.upload(path, f"content/{name}")
        assert not container.upload(path, f"content/{name}")
        back = container.download(f"content/{name}", tmp_path / f"{name} back", digest=digest_of(path))
        assert back.read_bytes() == path.read_bytes()
    assert [blob.size for blob in container.list("content/")] == [0, BLOCK + 5, 1000]
    assert not list(tmp_path.glob("*.part"))
    (tmp_path / "small").write_bytes(b"other")
    assert container.upload(tmp_path / "small", "content/small")
    assert container.get_text("content/small") == "other"


def test_an_upload_that_broke_goes_on(container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(4 * BLOCK))
    stage, staged = BlobClient.stage_block, []

    def breaking(self: BlobClient, name: str, *args: object, **options: object) -> object:
        if len(staged) >= 2:
            container.stop()
            raise OSError("the laptop was closed")
        staged.append(name)
        return stage(self, name, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(BlobClient, "stage_block", breaking)
    monkeypatch.setattr(blobs, "LANES", 1)
    with pytest.raises(BackendUnavailable):
        container.upload(path, "large")
    assert not container.exists("large")

    def counting(self: BlobClient, name: str, *args: object, **options: object) -> object:
        staged.append(name)
        return stage(self, name, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(BlobClient, "stage_block", counting)
    again = Container(container.url, container.name, container._credential)
    assert again.upload(path, "large")
    assert len(staged) == 4 and len(set(staged)) == 4
    assert digest_of(again.download("large", tmp_path / "back")) == digest_of(path)


def test_a_download_is_whole_or_not_at_all(container: Container, tmp_path: Path) -> None:
    container.put_text("name", "content")
    facts = container.facts("name")
    target = tmp_path / "target"
    for wrong in ({"etag": "0x1"}, {"digest": "0" * 64}, {"most": 3}):
        with pytest.raises(BackendRejected):
            container.download("name", target, **wrong)  # type: ignore[arg-type]
        assert not target.exists() and not list(tmp_path.glob("*.part"))
    assert container.download("name", target, etag=facts.etag, most=7).read_text() == "content"
    with pytest.raises(Missing):
        container.download("nothing", target)
    assert target.read_text() == "content"


def test_a_result_is_no_larger_than_it_said_and_than_it_can_be(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = chunk_spec(tmp_path)
    container.put_text(result_name("run", spec.id), "x" * 100)
    assert land(container, "run", spec, 100).read_text() == "x" * 100
    spec.output.unlink()
    with pytest.raises(BackendRejected, match="at most 99"):
        land(container, "run", spec, 99)
    assert 64 * 48 * 24 < largest(spec) < 1 << 30
    monkeypatch.setattr("backends.azure.landing.largest", lambda _: 50)
    with pytest.raises(BackendRejected, match="at most 50"):
        land(container, "run", spec, 10**15)
    assert not spec.output.exists()


def test_texts_have_facts_and_tails(container: Container) -> None:
    assert container.put_text("run/state/a.progress", "", metadata={"done": "5"}, overwrite=False)
    assert not container.put_text("run/state/a.progress", "x", overwrite=False)
    (found,) = container.list("run/state/", metadata=True)
    assert found.metadata == {"done": "5"} and abs(found.modified - time.time()) < 60
    assert container.get_text("run/state/a.progress") == ""
    container.put_text("log", "one\ntwo\n")
    assert container.tail("log", 4) == b"two\n" and container.tail("log", 8) == container.tail("none", 0) == b""
    container.delete("log")
    container.delete("log")
    assert not container.exists("log")


def test_one_holds_a_lease(container: Container) -> None:
    container.lease("run/lock", "one")
    container.lease("run/lock", "one")
    with pytest.raises(BackendRejected, match="Another stylizer"):
        container.lease("run/lock", "two")
    container.release("run/lock", "one")
    container.release("run/lock", "one")
    container.lease("run/lock", "two")


def test_links_read_or_write_one_blob(container: Container, tmp_path: Path) -> None:
    container.put_text("given", "content")
    read, write = container.read_link("given", soon()), container.write_link("made", soon())
    links.fetch(read, tmp_path / "given", 7)
    assert (tmp_path / "given").read_text() == "content" and links.is_there(read)
    assert not links.is_there(container.read_link("nothing", soon()))
    large = tmp_path / "large"
    large.write_bytes(os.urandom(links.BLOCK + 7))
    links.put_file(write, large)
    assert digest_of(container.download("made", tmp_path / "back")) == digest_of(large)
    links.put(write, b"", {"done": "7"})
    assert container.facts("made").metadata["done"] == "7"
    for refused in (
        lambda: links.put(read, b"x"),
        lambda: links.fetch(write, tmp_path / "x", 7),
        lambda: links.put(write.replace("/made?", "/other?"), b"x"),
        lambda: links.fetch(container.read_link("given", datetime.now(UTC) - timedelta(minutes=1)), tmp_path / "x", 7),
    ):
        with pytest.raises(Broken, match="refused: HTTP 403") as caught:
            refused()
        assert "sig=" not in str(caught.value)


def test_no_link_lives_longer_than_it_can(container: Container) -> None:
    with pytest.raises(ConfigError, match="seven days"):
        container.read_link("x", datetime.now(UTC) + timedelta(days=8))
    assert container.read_link("x", datetime.now(UTC) + timedelta(days=6, hours=23))


def test_a_link_goes_on_where_it_broke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylizer.blobs.time.sleep", lambda seconds: None)
    content, asked = os.urandom(3 << 20), []

    class Flaky(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Range", ""))
            start = int(asked[-1].removeprefix("bytes=").rstrip("-") or 0)
            if len(asked) == 2:
                self.send_response(503)
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start : start + (1 << 20) if len(asked) == 1 else None])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        link = f"http://127.0.0.1:{server.server_address[1]}/blob?sig=secret"
        links.fetch(link, tmp_path / "got", len(content))
        assert (tmp_path / "got").read_bytes() == content
        assert asked[0] == "" and asked[-1] == f"bytes={1 << 20}-"
        with pytest.raises(Broken, match="more than it should"):
            links.fetch(link, tmp_path / "got", 5)
    finally:
        server.shutdown()
        server.server_close()


def test_nothing_is_sent_in_the_open(tmp_path: Path) -> None:
    with pytest.raises(Broken, match="not https") as caught:
        links.fetch("http://storage.example/blob?sig=secret", tmp_path / "x", 1)
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match="not https"):
        Container("http://storage.example", "c", Login())


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLIZER_AZURE_STORAGE_KEY", "a2V5")
    config = Config(azure=AzureDefaults(media="https://mine.blob.core.chinacloudapi.cn", shared_key=True))
    found, prefix = open_container("az://mine/box/in/here/", config)
    assert (found.url, found.name, prefix) == ("https://mine.blob.core.chinacloudapi.cn", "box", "in/here")
    assert open_container("az://other/box", config)[0].url == "https://other.blob.core.windows.net"
    monkeypatch.setenv("STYLIZER_AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:10000/devstoreaccount1")
    assert open_container("az://other/box", config)[0].url == "http://127.0.0.1:10000/devstoreaccount1"
    for wrong in ("az://only", "https://a/b", "az:///b"):
        with pytest.raises(ConfigError, match="no address"):
            open_container(wrong, config)
    monkeypatch.delenv("STYLIZER_AZURE_STORAGE_KEY")
    with pytest.raises(ConfigError, match="not in the environment"):
        open_container("az://mine/box", config)
    assert account_of("https://mine.blob.core.windows.net") == "mine"


def test_messages_lose_their_secrets() -> None:
    dirty = "GET https://a.blob/c/b?sv=1&sig=abc%3D&se=2 with Bearer eyJ0.x and AccountKey=k3y== failed\nRequestId: 1"
    assert clean(dirty) == "GET https://a.blob/c/b?… with Bearer … and AccountKey=… failed"
    assert clean("") == "no reason given"
