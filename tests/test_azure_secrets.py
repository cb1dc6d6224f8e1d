"""Keys and signed links are found nowhere that somebody else may read: they are planted, a run is made, all is searched."""

import json
import logging
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.azure.account import open_account
from backends.azure.client import Batch
from backends.azure.storage import Container
from stylizer.backend import Phase
from stylizer.config import Config
from stylizer.errors import BackendError
from stylizer.wire import dumps
from tests.azure_for_tests import FAKE_NODE, Cloud, cloud
from tests.azurite import Azurite, azurite, missing
from tests.jobs_for_tests import chunk_spec, until

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")

SPY = """
import json, os, runpy, sys
sys.argv[0] = NODE
try:
    runpy.run_path(NODE, run_name="__main__")
finally:
    with open(NOTES, "a") as file:
        file.write(json.dumps([dict(os.environ), sys.argv, os.listdir()]) + chr(10))
"""


@pytest.fixture(scope="module")
def storage() -> Iterator[Azurite]:
    with azurite() as running:
        yield running


@pytest.fixture
def account(storage: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    (tmp_path / "look.safetensors").write_bytes(b"a checkpoint, as far as these tests go")
    with cloud(storage, tmp_path, monkeypatch) as made:
        yield made


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes().decode("latin-1")


def test_no_secret_is_anywhere(account: Cloud, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    spy = tmp_path / "spy.py"
    spy.write_text(f"NODE, NOTES = {str(FAKE_NODE)!r}, {str(tmp_path / 'spied.txt')!r}\n{SPY}")
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(spy))}"
    account.tell_workers(fates={"24": "fail"})
    spoiled: list[str] = []
    # The first node is of no use and hands its logs over by a link of its own.
    account.batch.script.unusable = lambda node: not spoiled and not spoiled.append(node.id)  # type: ignore[func-returns-value]
    backend = account.backend(python=command)
    specs = [chunk_spec(tmp_path, n) for n in range(2)]
    backend.submit(specs)
    until(lambda: {r.phase for r in backend.poll([s.id for s in specs])} == {Phase.DONE, Phase.FAILED})
    reports = backend.poll([spec.id for spec in specs])
    until(lambda: any("Its logs are in" in text for meter in backend.meters() for text in meter.said))
    opened = open_account(Config(azure=account.settings()), tmp_path / "here")
    errands = "".join(opened.logs.get_text(blob.name) for blob in opened.logs.list("") if "/errands/" in blob.name)
    with account.batch.clock.lock:
        tasks = [task.document() for job in account.batch.account.jobs.values() for task in job.tasks.values()]
        links = "".join(str(task["resourceFiles"]) for task in tasks)
        command_lines = [task["commandLine"] for task in tasks]
    signatures = set(re.findall(r"sig=([^&'\"\\ ]+)", errands + links))
    assert len(signatures) > 10
    secrets = {account.batch.account.key, account.storage.key, *signatures}

    searched = dict(texts(tmp_path)) | dict(texts(account.batch.folder))
    assert any(name.endswith("spied.txt") for name in searched) and any(name.endswith(".meter.json") for name in searched)
    assert "AZ_BATCH_TASK_ID" in (tmp_path / "spied.txt").read_text()
    left = [name for line in (tmp_path / "spied.txt").read_text().splitlines() for name in json.loads(line)[2]]
    assert "painted.nut" in left and "errands.json" not in left
    searched |= {f"task {n}": line for n, line in enumerate(command_lines)}
    # The emulator's nodes fetch resource files in threads of this very process; that is none of ours.
    log = "".join(
        caplog.handler.format(record) for record in caplog.records if not str(record.threadName).startswith("node")
    )
    assert "azure.core" in log
    searched |= {"log": log, "reports": repr(reports), "specs": "".join(map(dumps, specs)), "said": repr(backend.meters())}
    for container in (opened.media, opened.logs, opened.node_logs):
        searched |= {blob.name: container.get_text(blob.name) for blob in container.list("") if "/errands/" not in blob.name}
    found = [(secret[:6], name) for secret in secrets for name, text in searched.items() if secret in text]
    assert found == []


def test_errors_hold_no_secret(account: Cloud, tmp_path: Path) -> None:
    opened = open_account(Config(azure=account.settings()), tmp_path / "here")
    wrong = "d3Jvbmcga2V5IHRoYXQgaXMgYSBzZWNyZXQgdG9v"
    container = Container(account.storage.endpoint, "nowhere", wrong)
    from azure.core.credentials import AzureNamedKeyCredential  # noqa: PLC0415

    batch = Batch(account.batch.url, AzureNamedKeyCredential(account.batch.account.name, wrong))
    said = []
    for act in (
        lambda: container.get_text("x"),
        lambda: opened.media.get_text("x"),
        lambda: list(batch.jobs("")),
        lambda: opened.batch.job("x"),
    ):
        with pytest.raises(BackendError) as caught:
            act()
        said.append(f"{caught.value.message} {caught.value.hint} {caught.value.__cause__} {caught.value!r}")
    for secret in (wrong, account.storage.key, account.batch.account.key, "SharedKey ", "sig="):
        assert not any(secret in text for text in said)
    assert "Azure refuses us" in said[0] and "Azure does not take our sign-in" in said[2]
