"""What a run leaves to be read: one log of all of it, live what runs, and nodes that are of no use."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.azure.account import open_account
from backends.azure.errands import run_log_name
from backends.azure.reading import Reader
from stylizer.azure_verbs import _words
from stylizer.backend import Phase
from stylizer.checkpoint import Checkpoint, save_checkpoint
from stylizer.config import Config
from stylizer.errors import BackendRejected
from stylizer.jobs import FrameRange
from stylizer.network import Dims, TransformNetwork
from stylizer.transfer import merged
from stylizer.video import probe
from tests.azure_for_tests import Cloud, cloud, ended
from tests.azurite import Azurite, azurite, missing
from tests.emulator.script import Simulated
from tests.jobs_for_tests import chunk_spec, until
from tests.media import make_clip

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
        assert made.batch.violations == []


def reader(account: Cloud, chunk: int | None = None) -> Reader:
    return Reader(open_account(Config(azure=account.settings()), account.folder / "here"), 1, chunk)


def run_log(account: Cloud) -> list[dict[str, Any]]:
    """All lines of the run's log."""
    (name,) = account.batch.account.jobs
    logs = open_account(Config(azure=account.settings()), account.folder / "here").logs
    return [json.loads(line) for line in logs.get_text(run_log_name(name.rpartition("-")[0])).splitlines()]


def test_one_log_has_what_every_chunk_and_every_node_went_through(account: Cloud, tmp_path: Path) -> None:
    account.tell_workers(fates={"24": "fail"})
    backend, specs = account.backend(), [chunk_spec(tmp_path, n) for n in range(3)]
    backend.submit(specs)
    ended(backend, [spec.id for spec in specs])
    until(lambda: len({line["node"] for line in run_log(account) if line.get("state") == "gone"}) == 2)
    lines = run_log(account)
    for spec in specs:
        kinds = [line["kind"] for line in lines if line.get("of") == spec.id]
        assert kinds[-1] == ("failed" if spec is specs[1] else "finished")
    nodes = {line["node"] for line in lines if line["kind"] == "node"}
    assert nodes >= {line["node"] for line in lines if "of" in line}
    for node in nodes:
        states = [line["state"] for line in lines if line["kind"] == "node" and line["node"] == node]
        assert states[-1] == "gone" and len(states) > 1
    assert all(isinstance(line.get("at", 0.0), float) for line in lines)
    told = list(reader(account).read())
    assert any(of == specs[0].id for of, _ in told) and "gone" in {_words(text) for _, text in told}


def test_every_frame_of_a_real_worker_has_its_time(account: Cloud, tmp_path: Path) -> None:
    checkpoint, clip = tmp_path / "real.safetensors", probe(make_clip(tmp_path / "a clip.mp4"))
    save_checkpoint(Checkpoint(TransformNetwork(Dims()), {}), checkpoint)
    spec = replace(chunk_spec(tmp_path), clip=clip, frames=FrameRange(3, 9), checkpoint=checkpoint, precision="fp32")
    backend = account.backend(python=sys.executable)
    backend.submit([spec])
    assert ended(backend, [spec.id], 60.0)[spec.id].phase is Phase.DONE
    frames = [line for line in run_log(account) if line["kind"] == "frames"]
    assert frames[0]["first"] == 0 and sum(len(line["ms"]) for line in frames) == 6
    assert all(time > 0 for line in frames for time in line["ms"])
    assert "ms each, the slowest" in _words(json.dumps(frames[0]))


def test_what_runs_can_be_read_as_it_runs_and_is_not_told_twice(account: Cloud, tmp_path: Path) -> None:
    account.tell_workers(pace=3.0)
    backend, spec = account.backend(), chunk_spec(tmp_path)
    backend.submit([spec])
    until((tmp_path / "notes").exists)
    looker, heard = reader(account), []
    until(lambda: heard.extend(one for one in looker.read() if one[0] == spec.id) or heard)
    assert json.loads(heard[0][1])["kind"] == "progress" and backend.poll([spec.id])[0].phase is not Phase.DONE
    ended(backend, [spec.id])
    until(lambda: heard.extend(one for one in looker.read() if one[0] == spec.id) or len(heard) > 1)
    assert [json.loads(text)["kind"] for _, text in heard] == ["progress", "finished"]
    assert [json.loads(text)["kind"] for _, text in reader(account, 0).read()] == ["progress", "finished"]


def test_a_node_that_does_not_start_is_told_of_while_others_work(account: Cloud, tmp_path: Path) -> None:
    account.tell_workers(pace=2.0)
    first: list[str] = []

    def start(node: Any) -> Simulated:
        first[:] = first or [node.id]
        bad = Simulated(1.0, exit_code=9, files={"../stderr.txt": b"no driver here\n"})
        return bad if first == [node.id] else Simulated(1.0)

    account.batch.script.start_task = start
    backend, specs = account.backend(), [chunk_spec(tmp_path, n) for n in range(2)]
    backend.submit(specs)
    until(lambda: any("no driver here" in text for meter in backend.meters() for text in meter.said))
    (text,) = backend.meters()[0].said
    assert "exit code 9" in text and text.endswith("It said: no driver here.")
    ended(backend, [spec.id for spec in specs])
    assert {line["text"] for line in run_log(account) if line["kind"] == "startup"} == {"no driver here"}


def test_an_unusable_node_hands_its_logs_over(account: Cloud, tmp_path: Path) -> None:
    account.tell_workers(pace=2.0)
    spoiled: list[str] = []

    def unusable(node: Any) -> bool:
        if not spoiled:
            spoiled.append(node.id)
        return spoiled == [node.id]

    account.batch.script.unusable = unusable
    backend, specs = account.backend(), [chunk_spec(tmp_path, n) for n in range(2)]
    backend.submit(specs)
    until(lambda: backend.meters() and backend.meters()[0].said)
    (text,) = backend.meters()[0].said
    assert "NodeUnusable" in text and "Its logs are in the container" in text
    place = open_account(Config(azure=account.settings()), tmp_path / "here").node_logs
    (found,) = place.list("")
    assert found.name.rpartition("/")[0] in text and "NodeUnusable" in place.get_text(found.name)
    ended(backend, [spec.id for spec in specs])
    assert {line["node"] for line in run_log(account) if line["kind"] == "trouble"} == set(spoiled)


def test_when_all_nodes_are_unusable_it_is_said(account: Cloud, tmp_path: Path) -> None:
    account.batch.script.unusable = lambda node: True
    backend, spec = account.backend(), chunk_spec(tmp_path)
    backend.submit([spec])
    with pytest.raises(BackendRejected, match=r"of no use.*NodeUnusable"):
        until(lambda: not backend.poll([spec.id]))
    assert "Its logs are in" in backend.meters()[0].said[0]


def test_whatever_a_worker_printed_is_a_line(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("plain words\n" + '{"kind": "finished", "id": "1-00000-1"}\n' + "[" * 5000 + "\n" + '{"no": 1}\n')
    lines = [json.loads(line) for line in merged(log, "1-00000-1").splitlines()]
    assert [line["kind"] for line in lines] == ["text", "finished", "text", "text"]
    assert {line["of"] for line in lines} == {"1-00000-1"} and lines[0]["text"] == "plain words"
    log.write_bytes(b"x" * 3000 * 1000 + b"\n" + b"\xff" * 2000 * 1000)
    assert len(merged(log, "1-00000-1")) < 4 << 20
