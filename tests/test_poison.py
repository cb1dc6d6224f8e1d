"""Files that crash, hang or bloat whatever opens them: each costs its own job, with a reason, and nothing else."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from backends.local import LocalBackend
from stylizer import commands
from stylizer.devices import Device
from stylizer.jobs import Encoding, Job, JobState
from stylizer.runner import Runner
from stylizer.store import Store
from tests.jobs_for_tests import clip, config, look, media, places

WORKER = Path(__file__).with_name("fake_worker.py")
POISON = {"crash.mp4": "crash", "hang.mp4": "hang", "hog.mp4": "hog"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "jobs.db") as made:
        yield made
        assert made.check() == []


def add(store: Store, root: Path, name: str) -> Job:
    # Another brush for each, so that each has a fit of its own.
    given = replace(look(root), brush=1 + len(name) / 100)
    return commands.add(store, clip(root, name, frames=48), given, Encoding(), root / f"out {name}")


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_poison_is_put_aside_with_its_reason_and_the_queue_goes_on(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = tmp_path / "notes"
    monkeypatch.setenv("STYLIZER_FAKE", json.dumps({"notes": str(notes), "fates": POISON}))
    monkeypatch.setattr("backends.local.MEMORY_SHARE", (512 << 20) / psutil.virtual_memory().total)
    monkeypatch.setattr("backends.local.REST_SECONDS", 0.2)
    settings = config(stall_seconds=1.5)
    device = Device("cpu", "a small processor", 1 << 30, 2)

    def backends(_: str) -> LocalBackend:
        command = [sys.executable, str(WORKER)]
        return LocalBackend(settings, command=command, devices=lambda: (device,), logs=tmp_path / "logs")

    names = ["one.mp4", "crash.mp4", "two.mp4", "hang.mp4", "hog.mp4", "three.mp4"]
    jobs = {name: add(store, tmp_path, name) for name in names}
    Runner(store, settings, places(tmp_path), media=media(tmp_path), backends=backends).run()

    for name in ("one.mp4", "two.mp4", "three.mp4"):
        assert store.job(jobs[name].id).state is JobState.DONE and jobs[name].output.exists()
    said = {"crash.mp4": "crashed", "hang.mp4": "said nothing for", "hog.mp4": "more memory than it may"}
    tries = [line.split() for line in notes.read_text().splitlines()]
    for name, words in said.items():
        job = store.job(jobs[name].id)
        assert job.state is JobState.FAILED and words in job.error and job.hint
        assert not job.output.exists()
        of_job = [process for identity, process, _ in tries if identity.startswith(f"{job.id}-")]
        # Three tries at least, each by a process of its own.
        failed = [process for process in of_job if of_job.count(process) == 1]
        assert len(failed) >= 3 and len(set(failed)) == len(failed)
