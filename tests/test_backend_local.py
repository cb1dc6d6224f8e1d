import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backends.local import LocalBackend
from stylizer.backend import Backend, Phase, Report
from stylizer.devices import Device
from stylizer.estimate import Measurement
from stylizer.wire import Spec
from tests.backend_contract import BackendContract
from tests.jobs_for_tests import chunk_spec, clip, config, look, until

WORKER = Path(__file__).with_name("fake_worker.py")
CPU = Device("cpu", "a small processor", 1 << 30, 2)
CARDS = (Device("cuda:0", "a card", 1 << 30), Device("cuda:1", "a card", 1 << 30), CPU)

Make = Callable[..., LocalBackend]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    made = []

    def build(devices: tuple[Device, ...] = (CPU,), stall_seconds: float = 60.0, **told: object) -> LocalBackend:
        monkeypatch.setenv("STYLIZER_FAKE", json.dumps({"notes": str(tmp_path / "notes"), **told}))
        backend = LocalBackend(
            config(stall_seconds=stall_seconds),
            command=[sys.executable, str(WORKER)],
            devices=lambda: devices,
            logs=tmp_path / "logs",
        )
        made.append(backend)
        return backend

    yield build
    for backend in made:
        backend.close()


def starts(folder: Path) -> list[list[str]]:
    """What each started spec noted: id, process, device."""
    notes = folder / "notes"
    return [line.split() for line in notes.read_text().splitlines()] if notes.exists() else []


def run(backend: LocalBackend, specs: list[Spec]) -> dict[str, Report]:
    backend.submit(specs)
    return BackendContract.ended(backend, [spec.id for spec in specs])


class TestContract(BackendContract):
    @pytest.fixture
    def backend(self, make: Make) -> Backend:
        return make()

    @pytest.fixture
    def slow_backend(self, make: Make) -> Backend:
        return make(pace=60.0)


def test_one_worker_takes_several_chunks_in_order(make: Make, tmp_path: Path) -> None:
    run(make(), [chunk_spec(tmp_path, n) for n in range(5)])
    noted = starts(tmp_path)
    assert [name for name, *_ in noted] == [chunk_spec(tmp_path, n).id for n in range(5)]
    assert len({process for _, process, _ in noted}) == 1


def test_two_devices_share_the_work(make: Make, tmp_path: Path) -> None:
    backend = make(devices=CARDS, pace=0.05)
    assert backend.capacity().total == 2
    run(backend, [chunk_spec(tmp_path, n) for n in range(4)])
    assert {device for *_, device in starts(tmp_path)} == {"cuda:0", "cuda:1"}


def test_a_device_that_was_asked_for_is_used(make: Make, tmp_path: Path) -> None:
    backend = make(devices=CARDS)
    reports = run(backend, [chunk_spec(tmp_path, 0, device="cpu"), chunk_spec(tmp_path, 1, device="mps")])
    assert reports["1-00000-1"].worker == "cpu (a small processor)"
    assert reports["1-00001-1"].phase is Phase.FAILED and not reports["1-00001-1"].retryable
    assert "'mps'" in reports["1-00001-1"].error


@pytest.mark.parametrize(
    ("fate", "said"),
    [("crash", "crashed (SIGSEGV)"), ("oom", "memory"), ("silent", "without finishing"), ("fail", "told to")],
)
@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_one_that_fails_costs_no_other(make: Make, tmp_path: Path, fate: str, said: str) -> None:
    reports = run(make(fates={"24": fate}), [chunk_spec(tmp_path, n) for n in range(4)])
    assert [reports[f"1-{n:05}-1"].phase for n in range(4)] == [Phase.DONE, Phase.FAILED, Phase.DONE, Phase.DONE]
    assert said in reports["1-00001-1"].error and reports["1-00001-1"].retryable
    assert sum(name == "1-00000-1" for name, *_ in starts(tmp_path)) == 1
    if fate == "crash":
        assert "about to crash" in reports["1-00001-1"].log
        assert "about to crash" in (tmp_path / "logs" / "1-00001-1.log").read_text()


def test_a_spec_that_is_not_understood_is_found_among_others(make: Make, tmp_path: Path) -> None:
    reports = run(make(fates={"24": "refuse"}), [chunk_spec(tmp_path, n) for n in range(3)])
    assert [reports[f"1-{n:05}-1"].phase for n in range(3)] == [Phase.DONE, Phase.FAILED, Phase.DONE]
    assert not reports["1-00001-1"].retryable and "does not understand" in reports["1-00001-1"].error


def test_lines_that_are_not_ours_are_ignored(make: Make, tmp_path: Path) -> None:
    reports = run(make(fates={"0": "garbage"}), [chunk_spec(tmp_path, n) for n in range(2)])
    assert {report.phase for report in reports.values()} == {Phase.DONE}


def test_a_silent_worker_is_ended(make: Make, tmp_path: Path) -> None:
    report = run(make(fates={"0": "hang"}, stall_seconds=1.5), [chunk_spec(tmp_path)])["1-00000-1"]
    assert report.phase is Phase.FAILED and report.retryable and "said nothing for" in report.error


def test_cancelling_the_running_one_leaves_the_others(make: Make, tmp_path: Path) -> None:
    backend = make(fates={"0": "hang"})
    specs = [chunk_spec(tmp_path, n) for n in range(3)]
    backend.submit(specs)
    until(lambda: starts(tmp_path))
    backend.cancel([specs[0].id, specs[2].id])
    assert BackendContract.ended(backend, [specs[1].id])[specs[1].id].phase is Phase.DONE
    assert specs[2].id not in {name for name, *_ in starts(tmp_path)}


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    command = [str(tmp_path / "no such worker")]
    backend = LocalBackend(config(), command=command, devices=lambda: (CPU,), logs=tmp_path)
    report = run(backend, [chunk_spec(tmp_path)])["1-00000-1"]
    assert report.phase is Phase.FAILED and "could not be started" in report.error
    backend.close()


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = f"""
import sys, time
from pathlib import Path
from backends.local import LocalBackend
from stylizer.devices import Device
from tests.jobs_for_tests import chunk_spec, config
folder = Path({str(tmp_path)!r})
backend = LocalBackend(config(), command=[sys.executable, {str(WORKER)!r}], devices=lambda: (Device("cpu", "x", 1, 1),),
                       logs=folder)
backend.submit([chunk_spec(folder)])
time.sleep(60)
"""
    told = {"notes": str(tmp_path / "notes"), "pace": 60}
    env = {**os.environ, "STYLIZER_FAKE": json.dumps(told), "PYTHONPATH": str(WORKER.parent.parent)}
    with subprocess.Popen([sys.executable, "-c", program], env=env) as parent:
        until(lambda: starts(tmp_path))
        worker = int(starts(tmp_path)[0][1])
        parent.kill()
    until(lambda: not alive(worker))


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    # Nobody may be there to reap an orphan.
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_slow_card_holds_up_nobody(make: Make, tmp_path: Path) -> None:
    backend = make(devices=CARDS, paces={"cuda:0": 0.6, "cuda:1": 0.02})
    run(backend, [chunk_spec(tmp_path, n) for n in range(12)])
    taken = [device for *_, device in starts(tmp_path)]
    assert taken.count("cuda:0") <= 3 and taken.count("cuda:1") >= 9


def test_what_failed_on_one_device_is_tried_on_another(make: Make, tmp_path: Path) -> None:
    backend = make(devices=CARDS, pace=0.3, fates={"0": "fail"})
    run(backend, [chunk_spec(tmp_path, 0), chunk_spec(tmp_path, 1)])
    run(backend, [replace(chunk_spec(tmp_path, 0), id=f"1-00000-{attempt}") for attempt in (2,)])
    tries = [device for name, _, device in starts(tmp_path) if name.startswith("1-00000")]
    assert sorted(tries) == ["cuda:0", "cuda:1"]


def test_a_device_that_fails_job_after_job_rests_and_no_job_is_blamed(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.local.REST_SECONDS", 1.0)
    backend = make(fates={"24": "fail", "48": "fail", "72": "fail"})
    specs = [replace(chunk_spec(tmp_path, n), id=f"{n}-{n:05}-1") for n in (1, 2, 3)]
    reports = run(backend, list(specs))
    assert [reports[spec.id].phase for spec in specs] == [Phase.FAILED, Phase.FAILED, Phase.LOST]
    assert "failed 3 jobs in a row" in reports["3-00003-1"].error
    began = time.monotonic()
    assert run(backend, [chunk_spec(tmp_path, 0)])["1-00000-1"].phase is Phase.DONE
    assert time.monotonic() - began > 0.5


def test_a_worker_that_takes_too_much_memory_is_ended(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.local.MEMORY_SHARE", 1e-6)
    report = run(make(pace=30.0), [chunk_spec(tmp_path)])["1-00000-1"]
    assert report.phase is Phase.FAILED and "more memory than it may" in report.error


def test_an_estimate_rests_on_what_was_measured(tmp_path: Path) -> None:
    measured = Measurement("cpu (a small processor)", "fp32", 32, 24, 40.0, 0.1, 1.0)
    backend = LocalBackend(config(), measurements=[measured])
    estimate = backend.estimate(clip(tmp_path, frames=100), look(tmp_path))
    # 10 s of painting, 180 steps of a fit and its beginning, the start and the joining, as is usual.
    assert estimate.seconds == pytest.approx(10 + 18 + 1.5 + 8 + 0.1, abs=0.01) and "measured here on cpu" in estimate.basis
