"""The demo: the real runner at work on imagined machines, and nothing of it left afterwards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stylizer import commands, views
from stylizer.demo import demo
from stylizer.demo_scenes import SCENES
from stylizer.errors import StylizerError
from stylizer.gauges import Gauges
from stylizer.jobs import ChunkState, JobState
from stylizer.source import check_unchanged
from stylizer.store import Store
from stylizer.video import probe
from tests.jobs_for_tests import until


def test_the_demo_is_busy_from_the_start_and_leaves_nothing() -> None:
    before = os.environ.get("STYLIZER_HOME")
    with demo() as here:
        assert os.environ["STYLIZER_HOME"] == str(here.store.parent)
        with Store(here.store, write=False) as store:
            found = views.status(store)
            states = {view.job.state for view in found.jobs}
            assert found.running
            assert states >= {JobState.DONE, JobState.FAILED, JobState.RENDERING, JobState.FITTING}
            assert len(found.jobs) >= len([scene for scene in SCENES if scene.at <= 0])
            assert any(view.job.desired == "pause" for view in found.jobs)
            assert found.today > 0
            until(lambda: "running" in {node.state for money in store.money() for node in money.meter.nodes})
            assert {"cuda:0", "cuda:1", "azure"} <= {m.device.partition(" ")[0] for m in store.measurements()}
            kinds = {event.kind for event in store.events()}
            assert {"chunk done", "chunk failed", "log", "note", "placed"} <= kinds
            painted = next(view.job for view in found.jobs if view.job.state is JobState.RENDERING)
            assert probe(painted.clip.path).frames == painted.clip.frames
            check_unchanged(painted.clip)
            assert all(style.path.stat().st_size > 1000 for view in found.jobs for style in view.job.look.styles)
            before_now = sum(tally.frames_done for tally in store.tallies().values())
            until(lambda: sum(tally.frames_done for tally in store.tallies().values()) > before_now + 20)
            assert any(chunk.state is ChunkState.RUNNING for chunk in store.under_way())
    assert not here.store.parent.exists()
    assert os.environ.get("STYLIZER_HOME") == before


def test_what_a_person_wants_is_done(tmp_path: Path) -> None:
    with demo(seed=3) as here, Store(here.store) as store:
        job = next(job for job in store.jobs((JobState.RENDERING,)))
        commands.cancel(store, job.id)
        until(lambda: store.job(job.id).state is JobState.CANCELLED)


def test_nothing_is_left_even_if_the_studio_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    runner = subprocess.Popen(
        [sys.executable, "-m", "stylizer.demo", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert runner.stdin and runner.stdout
    assert runner.stdout.readline().strip() == b"ready"
    runner.stdin.close()
    assert runner.wait(20) == 0
    runner.stdout.close()
    assert not folder.exists()


def test_a_demo_that_cannot_begin_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    with pytest.raises(StylizerError, match="could not begin"), demo():
        pass


def test_the_processor_says_how_busy_it_is() -> None:
    gauges = Gauges()
    (*_, cpu) = gauges.read()
    assert cpu.device == "cpu" and cpu.model
    assert cpu.load is not None and cpu.load >= 0
    assert cpu.memory_used is not None and cpu.memory_total is not None and 0 < cpu.memory_used < cpu.memory_total
    gauges.close()
    assert len(gauges.read()) == 1
