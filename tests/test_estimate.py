"""What estimates rest on: parts of a run, sizes between measured ones, and what flows back from what was painted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stylizer import views
from stylizer.estimate import (
    DRAFT_STEPS,
    GUESSED_WITHIN,
    MEASURED_WITHIN,
    PIXELS_STEPS,
    Measurement,
    Rest,
    rate_here,
    rest_of,
    time_left,
)
from stylizer.jobs import Encoding, Job, JobState, Quality
from stylizer.rows import Tally
from stylizer.store import Store
from tests.jobs_for_tests import clip, look
from tests.test_runner import World

CPU = Measurement("cpu (small)", "auto", 640, 360, 20.0, 0.25, 86400.0, start_seconds=6.0, fit_start_seconds=3.0)
JOINED = replace(CPU, width=320, height=180, fps=80.0, fit_seconds_per_step=0.0, join_seconds_per_frame=0.01, at=1.0)
HERE = (CPU, JOINED)
REST = Rest(640, 360, 200, 200, steps=160, fits=1)


def test_an_estimate_is_the_sum_of_what_a_run_does() -> None:
    found = time_left(REST, HERE)
    assert found
    # What another size's row knows of the device holds too.
    assert (found.start, found.fit, found.paint, found.join) == (6.0, 43.0, 10.0, 2.0)
    assert found.seconds == 61.0 and found.least == 61 / MEASURED_WITHIN and found.most == 61 * MEASURED_WITHIN
    assert found.basis == "measured here on cpu (small), 1970-01-02"


def test_a_draft_is_expected_to_begin_as_drafts_of_its_size_did_and_a_fit_as_such_fits_did() -> None:
    draft = replace(CPU, width=500, height=360, fit_seconds_per_step=0.0, fit_start_seconds=2.0)
    small, large = (replace(draft, width=n * 160, height=n * 90, fit_start_seconds=float(n)) for n in (2, 12))

    def fit_of(steps: int, *known: Measurement) -> float:
        found = time_left(replace(REST, steps=steps), known)
        assert found
        return found.fit

    assert fit_of(160, CPU, draft, small, large) == 3.0 + 160 * 0.25
    assert fit_of(0, CPU, small, draft, large) == 2.0
    # Never seen at about that size: it goes with the pixels.
    assert fit_of(0, CPU, small, large) == fit_of(0, CPU) == pytest.approx(0.25 * (DRAFT_STEPS + PIXELS_STEPS * 640 * 360))


def test_a_run_that_was_held_up_once_spoils_no_estimate() -> None:
    held_up = replace(CPU, width=100, height=100, start_seconds=400.0, at=3 * 86400.0)
    others = [replace(CPU, width=width, height=360) for width in (640, 900, 1280)]
    found = time_left(REST, (held_up, *others))
    assert found and found.start == 6.0


def test_what_is_done_counts_no_more() -> None:
    halfway = time_left(replace(REST, frames=50, steps=0, fits=0, start=None), HERE)
    starting = time_left(replace(REST, start=4.0), HERE)
    late = time_left(replace(REST, start=60.0), HERE)
    assert halfway and halfway.seconds == 2.5 + 2.0
    assert starting and late and (starting.start, late.start) == (2.0, 0.0)


def test_a_jobs_own_pace_counts_more_than_what_was_measured() -> None:
    found = time_left(replace(REST, steps=0, fits=0, start=None), HERE, 4.0)
    assert found and found.paint == 50.0 and found.join == 2.0 and found.basis == "this job's own pace"
    assert found.within < MEASURED_WITHIN


def test_an_untried_machine_is_a_guess_with_a_range_or_nothing() -> None:
    assert time_left(REST, ()) is None
    found = time_left(REST, (), guess=4e6)
    assert found and found.paint == pytest.approx(200 * 640 * 360 / 4e6) and "guess" in found.basis
    assert found.most / found.least == pytest.approx(GUESSED_WITHIN**2)


def test_rented_machines_are_no_measure_of_this_one() -> None:
    rented = replace(CPU, device="azure (NC4as_T4_v3)", fps=90.0, at=2 * 86400.0)
    here, there = time_left(REST, (rented, CPU)), time_left(REST, (rented, CPU), device="azure")
    assert here and here.paint == 10.0 and there and there.paint == pytest.approx(200 / 90)
    assert there.basis == "measured on NC4as_T4_v3, 1970-01-03"


def test_a_size_between_two_measured_ones_is_as_fast_as_lies_between() -> None:
    small, large = replace(CPU, width=320, height=180, fps=40.0), replace(CPU, width=1280, height=720, fps=5.0)
    between = rate_here((small, large), width=640, height=360)
    # 2.3 and 4.6 million pixels a second; half way by the logarithm of the size.
    assert between and between[0] == pytest.approx((40.0 * 320 * 180 + 5.0 * 1280 * 720) / 2 / (640 * 360))
    beyond = rate_here((small, large), width=2560, height=1440)
    assert beyond and beyond[0] == pytest.approx(5.0 / 4)
    exact = rate_here((small, large), width=320, height=180)
    assert exact and exact[0] == 40.0


def test_all_of_a_clip(tmp_path: Path) -> None:
    whole = rest_of(clip(tmp_path), look(tmp_path))
    small = rest_of(clip(tmp_path), replace(look(tmp_path), size=32, quality=Quality.DRAFT))
    assert whole == Rest(64, 48, 240, 240, steps=180, fits=1) and small == Rest(32, 24, 240, 240, steps=0, fits=1)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    with Store(tmp_path / "jobs.db") as store:
        return store.add(
            "key",
            clip(tmp_path),
            look(tmp_path),
            Encoding(),
            tmp_path / "out.mp4",
            backend="auto",
            device="auto",
            precision="auto",
        )


def test_every_eta_is_the_same_sum_from_the_first_second_to_the_last(job: Job) -> None:
    known = [replace(CPU, width=64, height=48, join_seconds_per_frame=0.01)]
    tally = Tally(frames_total=240)

    def left(job: Job, tally: Tally = tally, own: tuple[float, ...] = ()) -> float | None:
        return views.time_left(job, tally, own, known, now=102.0)[0]

    waits = left(job)
    begins = left(replace(job, state=JobState.FITTING, started_at=100.0))
    fits = left(replace(job, state=JobState.FITTING, started_at=40.0, fit_done=80, fit_total=160))
    paints = left(replace(job, state=JobState.RENDERING), replace(tally, frames_done=120, running=2), (3.0, 5.0))
    joins = left(replace(job, state=JobState.ASSEMBLING), replace(tally, frames_done=240), (3.0,))
    assert waits == pytest.approx(3 + 45 + 12 + 2.4)
    assert begins == pytest.approx(4 + 3 + 45 + 12 + 2.4)
    assert fits == pytest.approx(25 + 12 + 2.4)
    assert paints == pytest.approx(120 / 8 + 2.4)
    assert joins == pytest.approx(2.4)


def test_the_speed_of_the_network_says_nothing_of_a_reference_painting(job: Job) -> None:
    slow = replace(job, look=replace(job.look, quality=Quality.REFERENCE))
    assert views.time_left(slow, Tally(frames_total=240), (), [CPU]) == (None, "")
    known = views.time_left(replace(slow, state=JobState.RENDERING), Tally(frames_total=240), (0.5,), [CPU])
    assert known[0] == pytest.approx(480, rel=0.01)


def estimated(tmp_path: Path, *arguments: str) -> dict[str, object]:
    from tests.media import make_clip  # noqa: PLC0415

    source = make_clip(tmp_path / "clip.mp4", times=range(48))
    command = [sys.executable, "-m", "stylizer", "estimate", str(source), "--backend", "local", "--json", *arguments]
    environment = {**os.environ, "STYLIZER_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=True)
    found: dict[str, object] = json.loads(done.stdout)["places"][0]
    return found


def test_the_command_says_what_it_rests_on_and_that_a_machine_is_untried(tmp_path: Path) -> None:
    untried = estimated(tmp_path)
    assert "a guess" in str(untried["basis"]) and "stylizer bench" in str(untried["basis"])
    assert float(str(untried["most"])) > 5 * float(str(untried["least"])) > 0
    with Store(tmp_path / "home" / "jobs.db") as store:
        store.measure(replace(CPU, width=64, height=48, join_seconds_per_frame=0.01))
    measured = estimated(tmp_path)
    assert measured["parts"] == {"start": 6.0, "fit": 48.0, "paint": 2.4, "join": 0.48}
    assert measured["seconds"] == pytest.approx(56.88) and "measured here on cpu (small)" in str(measured["basis"])
    slow = estimated(tmp_path, "--quality", "reference")
    assert slow["seconds"] is None and "stylizer run" in str(slow["basis"])


def test_what_was_painted_flows_back_into_the_figures(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        world.add()
        world.run()
        known = world.store.measurements()
        first = world.now
        world.add(name="second.mp4", out="second out.mp4")
        world.run()
        again = world.store.measurements()
    finally:
        world.store.close()
    (measured,), (later,) = known, again
    assert measured.fps > 0 and measured.fit_seconds_per_step > 0 and measured.join_seconds_per_frame > 0
    # On this clock a worker is at work some turns of the loop after the job began.
    assert 0 < measured.start_seconds < 2
    assert later.at >= first > measured.at - 1 and later.device == measured.device
    found = time_left(rest_of(clip(tmp_path), look(tmp_path)), known)
    assert found and found.join == pytest.approx(240 * measured.join_seconds_per_frame)
