"""Nodes of the emulator run command lines for real: environment, files, ranges, killing, and storage over links."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from tests.azurite import Azurite, Login, azurite, needs_azurite
from tests.emulator.clients import client, job, pool, task
from tests.emulator.script import Script, Simulated
from tests.emulator.server import Emulator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the command lines of these tests are bash")
DEADLINE = 30.0


@pytest.fixture
def batch() -> Iterator[Emulator]:
    """One Spot node, ready."""
    script = Script(allocation_seconds=1, creating_seconds=1, boot_seconds=1, node_environment={"COLOUR": "ochre"})
    with Emulator(scale=1, script=script) as emulator, client(emulator) as sdk:
        sdk.create_pool(pool(target_low_priority_nodes=1))
        sdk.create_job(job())
        emulator.advance(10)
        yield emulator
    assert emulator.violations == []


@pytest.fixture
def sdk(batch: Emulator) -> Iterator[BatchClient]:
    with client(batch) as opened:
        yield opened


def finish(batch: Emulator, sdk: BatchClient, *tasks: m.BatchTaskCreateOptions) -> list[m.BatchTask]:
    """Add the tasks and wait for them."""
    sdk.create_tasks("job", list(tasks))
    wait_for(batch, "completed", *(t.id for t in tasks))
    return [sdk.get_task("job", t.id) for t in tasks]


def wait_for(batch: Emulator, state: str, *names: str) -> None:
    known = batch.account.jobs["job"].tasks
    batch.wait(lambda: all(known[name].state == state for name in names), DEADLINE)


def printed(sdk: BatchClient, name: str, file: str = "stdout.txt", **options: Any) -> bytes:
    return b"".join(sdk.download_task_file("job", name, file, **options))


def refused(sdk: BatchClient, name: str, file: str = "stdout.txt", **options: Any) -> int:
    """The status of a download that fails. The SDK neither reads nor closes what it then got."""
    with pytest.raises(HttpResponseError) as caught:
        printed(sdk, name, file, **options)
    response: Any = caught.value.response
    response.close()
    return int(caught.value.status_code or 0)


def code_of(found: m.BatchTask) -> str:
    assert found.execution_info and found.execution_info.failure_info
    return str(found.execution_info.failure_info.code)


def test_a_command_line_runs_in_batchs_environment(
    batch: Emulator, sdk: BatchClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "planted")
    setting = [m.EnvironmentSetting(name="STYLIZER_RUN", value="run 7")]
    (found,) = finish(batch, sdk, task("t", "env; pwd; echo oh >&2; exit 7", environment_settings=setting))
    assert found.execution_info and found.execution_info.exit_code == 7
    lines = printed(sdk, "t").decode().splitlines()
    variables = dict(line.split("=", 1) for line in lines if "=" in line)
    assert variables["STYLIZER_RUN"] == "run 7" and variables["COLOUR"] == "ochre"
    assert variables["AZ_BATCH_JOB_ID"] == "job" and variables["AZ_BATCH_TASK_ID"] == "t"
    assert variables["AZ_BATCH_NODE_IS_DEDICATED"] == "false"
    assert variables["AZ_BATCH_TASK_WORKING_DIR"] == lines[-1]
    assert found.node_info and variables["AZ_BATCH_NODE_ID"] == found.node_info.node_id
    assert "AZURE_CLIENT_SECRET" not in variables
    assert printed(sdk, "t", "stderr.txt") == b"oh\n"


def test_files_of_tasks_and_nodes(batch: Emulator, sdk: BatchClient) -> None:
    (found,) = finish(batch, sdk, task("t", "mkdir -p out; printf 0123456789 > out/a.bin; echo done"))
    names = {file.name for file in sdk.list_task_files("job", "t", recursive=True)}
    assert {"stdout.txt", "stderr.txt", "wd", "wd/out", "wd/out/a.bin"} <= names
    assert [file.name for file in sdk.list_task_files("job", "t", filter="startswith(name, 'std')")] == [
        "stderr.txt",
        "stdout.txt",
    ]
    whole = "wd/out/a.bin"
    ranges = {None: b"0123456789", "bytes=3-": b"3456789", "bytes=2-4": b"234", "bytes=-3": b"789", "bytes=8-99": b"89"}
    for wanted, content in ranges.items():
        assert printed(sdk, "t", whole, ocp_range=wanted) == content
    for wanted, status in {"bytes=10-": 416, "lines=1": 400}.items():
        assert refused(sdk, "t", whole, ocp_range=wanted) == status
    about = sdk.get_task_file_properties("job", "t", whole)
    assert (about.content_length, str(about.is_directory).lower()) == (10, "false")
    assert found.node_info and found.node_info.node_id
    path = f"workitems/job/t/{whole}"
    assert sdk.get_node_file_properties("pool", found.node_info.node_id, path).content_length == 10
    assert b"".join(sdk.download_node_file("pool", found.node_info.node_id, path)) == b"0123456789"
    assert path in {file.name for file in sdk.list_node_files("pool", found.node_info.node_id, recursive=True)}
    sdk.delete_task_file("job", "t", whole)
    for escape in (whole, "../../../../../../etc/passwd"):
        assert refused(sdk, "t", escape) == 404


def test_what_cannot_be_started(batch: Emulator, sdk: BatchClient) -> None:
    lost = m.BatchTaskCreateOptions(id="lost", command_line="/no/such/program --help")
    (found,) = finish(batch, sdk, lost)
    assert code_of(found) == "CommandProgramNotFound"
    unreachable = m.ResourceFile(http_url="http://127.0.0.1:9/clip.mp4?sig=x", file_path="clip.mp4")
    (found,) = finish(batch, sdk, task("no-input", resource_files=[unreachable]))
    assert code_of(found) == "BlobDownloadMiscError"


def children(batch: Emulator, sdk: BatchClient, name: str) -> list[psutil.Process]:
    """The processes of a task that writes their ids into wd/ids."""
    sdk.create_task("job", task(name, "sleep 300 & echo $! > ids; echo $$ >> ids; echo ready; wait"))
    wait_for(batch, "running", name)
    running = batch.account.jobs["job"].tasks[name]
    assert running.files is not None
    path = running.files / "wd" / "ids"
    batch.wait(lambda: path.is_file() and len(path.read_text().split()) == 2, DEADLINE)
    return [psutil.Process(int(number)) for number in path.read_text().split()]


def test_terminating_and_preempting_kill_all_that_was_started(batch: Emulator, sdk: BatchClient) -> None:
    batch.script.restore_seconds = None
    for name in ("terminated", "preempted"):
        processes = children(batch, sdk, name)
        if name == "terminated":
            sdk.terminate_task("job", name)
        else:
            batch.preempt(task_id=name)
        assert psutil.wait_procs(processes, timeout=DEADLINE)[1] == []
    assert sdk.get_task("job", "preempted").state == "active"
    assert refused(sdk, "terminated") == 409  # its files went with its node


def test_nothing_outlives_the_emulator() -> None:
    with Emulator(scale=1000) as batch, client(batch) as sdk:
        sdk.create_pool(pool(target_low_priority_nodes=1))
        sdk.create_job(job())
        processes = children(batch, sdk, "t")
    assert psutil.wait_procs(processes, timeout=DEADLINE)[1] == []
    assert not batch.folder.exists()


class Container:
    """A container of its own with user-delegation links that read, and others that write."""

    def __init__(self, storage: Azurite, name: str) -> None:
        self.client = BlobServiceClient(storage.endpoint, credential=Login(), connection_verify=str(storage.cert))
        self.blobs = self.client.create_container(name)
        end = datetime.now(UTC) + timedelta(hours=2)
        key = self.client.get_user_delegation_key(datetime.now(UTC) - timedelta(minutes=10), end)

        def link(**permission: bool) -> str:
            allowed = ContainerSasPermissions(**permission)
            query = generate_container_sas(storage.account, name, user_delegation_key=key, permission=allowed, expiry=end)
            return f"{storage.endpoint}/{name}?{query}"

        self.read, self.write = link(read=True, list=True), link(create=True, write=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.client.close()

    def blob_link(self, name: str) -> str:
        return self.read.replace("?", f"/{name}?")


@pytest.fixture(scope="module")
def storage() -> Iterator[Azurite]:
    with azurite(oauth=True) as running:
        yield running


@pytest.fixture
def media(batch: Emulator, storage: Azurite, request: pytest.FixtureRequest) -> Iterator[Container]:
    batch.account.trust = str(storage.cert)
    with Container(storage, request.node.name.replace("_", "-")[5:60]) as container:
        yield container


def output(pattern: str, container: str, path: str, condition: str = "tasksuccess") -> m.OutputFile:
    place = m.OutputFileBlobContainerDestination(container_url=container, path=path)
    when = m.OutputFileUploadConfiguration(upload_condition=m.OutputFileUploadCondition(condition))
    return m.OutputFile(file_pattern=pattern, destination=m.OutputFileDestination(container=place), upload_options=when)


@needs_azurite
def test_from_blob_over_a_node_to_blob(batch: Emulator, sdk: BatchClient, media: Container) -> None:
    media.blobs.upload_blob("in/00012/a.txt", b"blue ")
    media.blobs.upload_blob("in/00012/b/c.txt", b"sky")
    media.blobs.upload_blob("spec one.json", b"{}")
    inputs = [
        m.ResourceFile(http_url=media.blob_link("spec%20one.json"), file_path="chunk.json"),
        m.ResourceFile(storage_container_url=media.read, blob_prefix="in/00012/"),
    ]
    outputs = [
        output("out/**/*.txt", media.write, "painted/00012"),
        output("result.bin", media.write, "painted/whole.bin"),
        output("../std*.txt", media.write, "logs/chunk-00012", "taskcompletion"),
        output("*.never", media.write, "never", "taskfailure"),
    ]
    command = (
        "cat chunk.json; mkdir -p out/x; cat in/00012/a.txt in/00012/b/c.txt > out/x/y.txt; : > result.bin; : > a.never"
    )
    (found,) = finish(batch, sdk, task("t", command, resource_files=inputs, output_files=outputs))
    assert found.execution_info and found.execution_info.result == "success"
    stored = {blob.name: media.blobs.download_blob(blob.name).readall() for blob in media.blobs.list_blobs()}
    assert stored["painted/00012/x/y.txt"] == b"blue sky"
    assert stored["painted/whole.bin"] == b""
    assert stored["logs/chunk-00012/stdout.txt"] == b"{}"
    assert not any(name.startswith("never") for name in stored)
    assert b"painted/whole.bin" in printed(sdk, "t", "fileuploadout.txt")
    node = next(iter(sdk.list_nodes("pool")))
    logs = m.UploadBatchServiceLogsOptions(container_url=media.write, start_time=datetime.now(UTC))
    sent = sdk.upload_node_logs("pool", node.id, logs)
    assert sent.number_of_files_uploaded == len(list(media.blobs.list_blobs(name_starts_with=sent.virtual_directory_name)))


@needs_azurite
def test_links_that_do_not_allow_it(batch: Emulator, sdk: BatchClient, media: Container) -> None:
    write_only = media.write.replace("?", "/secret?")
    absent = m.ResourceFile(http_url=media.blob_link("absent"), file_path="x")
    forbidden = m.ResourceFile(http_url=write_only, file_path="x")
    nowhere = media.write.replace("?", "-nowhere?")
    first, second, third, fourth = finish(
        batch,
        sdk,
        task("absent", resource_files=[absent]),
        task("forbidden", resource_files=[forbidden]),
        task("read-only", "echo x > x", output_files=[output("x", media.read, "x")]),
        task("nowhere", "echo x > x", output_files=[output("x", nowhere, "x")]),
    )
    assert [code_of(first), code_of(second), code_of(third)] == [
        "BlobNotFound",
        "BlobAccessDenied",
        "FileUploadAccessDenied",
    ]
    # A delegated link is good for its own container only
    assert code_of(fourth) in ("FileUploadContainerNotFound", "FileUploadAccessDenied")


@needs_azurite
def test_a_simulated_task_uploads_for_real(batch: Emulator, sdk: BatchClient, media: Container) -> None:
    threads: list[str] = []

    def paint(folder: Path) -> None:
        threads.append(threading.current_thread().name)
        (folder / "chunk.nut").write_bytes(b"frames")

    batch.script.task = lambda task, node: Simulated(5, files={"../stdout.txt": b"{}\n"}, effect=paint)
    outputs = [output("chunk.nut", media.write, "c/0"), output("../stdout.txt", media.write, "c/log")]
    sdk.create_task("job", task("t", output_files=outputs))
    batch.advance(6)
    wait_for(batch, "completed", "t")
    assert {blob.name for blob in media.blobs.list_blobs()} == {"c/0", "c/log"}
    assert threads != [threading.main_thread().name]
