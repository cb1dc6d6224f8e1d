"""The simulator: by arithmetic where there is no chance, by its laws where there is, and beside the emulator of Batch."""

from __future__ import annotations

import math
import random
import statistics
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.azure.planner import expected
from stylizer.simulate import Machines, Part, Work, forecast, simulate
from tests.emulated import Setting, beside

PLAIN = Machines("one", 4, 0.5, start_seconds=12.0, asked_seconds=30.0, boots=(200.0,), leave_seconds=60.0, per_hour=3.6)


def once(
    *kinds: Machines, chunks: int = 10, frames: int = 100, fit: float = 0.0, there: bool = False, seed: int = 1
) -> Work:
    return Work((Part((frames,) * chunks, kinds),), fit, fits_there=there)


def test_without_chance_it_is_arithmetic() -> None:
    course = simulate(replace(once(PLAIN, fit=50.0), join_seconds=7.0), random.Random(1))
    # Ten chunks on four machines are three rounds of 62 s.
    assert course.fitted == 50.0 and course.painted == 50 + 30 + 200 + 3 * 62 and course.seconds == course.painted + 7
    assert course.cost == pytest.approx(0.001 * 4 * (200 + 3 * 62 + 60))
    assert course.taken == course.again == 0


def test_several_slots_and_several_kinds_share_a_queue() -> None:
    two = replace(PLAIN, count=2, slots=2)
    assert simulate(once(two), random.Random(1)).painted == 30 + 200 + 3 * 62
    slow = Machines("slow", 1, 5.0)
    # The slow one takes what it can from the first moment; the others do the rest, and one waits for nobody.
    mixed = simulate(once(PLAIN, slow, chunks=9), random.Random(1))
    assert mixed.painted == 500.0


def test_the_fit_may_be_made_there_and_then_the_others_are_asked_for() -> None:
    course = simulate(once(PLAIN, fit=100.0, there=True, chunks=40), random.Random(1))
    assert course.fitted == 30 + 200 + 12 + 100
    others = course.fitted + 30 + 200
    alone = (others - course.fitted) / 62
    assert course.painted == pytest.approx(others + math.ceil((40 - math.floor(alone)) / 4) * 62, abs=62)
    assert sum(boots for at, boots, _ in course.changes if at >= course.fitted and boots > 0) == 3


def test_a_machine_without_work_leaves() -> None:
    kept = replace(PLAIN, kept_seconds=300.0)
    long = once(kept, chunks=5, frames=2000)
    # One of the four has a second chunk of 1012 s; the other three leave after 300 s, and 60 s later cost nothing.
    assert simulate(long, random.Random(1)).cost == pytest.approx(0.001 * (4 * 1212 + 1012 + 60 + 3 * 360))


def test_what_is_lost_takes_as_long_as_the_planner_expects() -> None:
    storm = Machines("one", 1, 1.0, taken_per_hour=2.0)
    told = [simulate(once(storm, chunks=1, frames=1800), random.Random(seed)).seconds for seed in range(3000)]
    assert statistics.mean(told) == pytest.approx(expected(1800.0, 2.0), rel=0.06)


def test_what_never_ends_is_said_to() -> None:
    storm = Machines("one", 1, 1.0, taken_per_hour=20.0, away_seconds=60.0)
    course = simulate(once(storm, chunks=1, frames=7200), random.Random(1))
    assert course.seconds == course.painted == math.inf and course.taken > 1000


@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=40),
    st.integers(1, 6),
    st.integers(1, 3),
    st.floats(0, 5),
    st.floats(0, 300),
    st.booleans(),
    st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_every_chunk_is_painted_whatever_is_lost(
    chunks: list[int], count: int, slots: int, taken: float, fit: float, there: bool, seed: int
) -> None:
    kind = replace(
        PLAIN, count=count, slots=slots, taken_per_hour=taken, away_seconds=100.0, kept_seconds=400.0, boots=(60.0, 240.0)
    )
    work = Work((Part(tuple(chunks), (kind,)),), fit, fits_there=there)
    course = simulate(work, random.Random(seed))
    assert course == simulate(work, random.Random(seed))
    begun = sum(1 for _, _, painting in course.changes if painting > 0)
    fits = int(there and fit > 0)
    assert begun == len(chunks) + fits + course.again
    assert sum(painting for _, _, painting in course.changes) == 0
    busy = sum(12 + frames * 0.5 for frames in chunks)
    assert course.painted >= fit + 30 + 60 + busy / (count * slots) - 1e-6
    assert course.cost >= 0.001 * busy / slots
    assert course.cost <= 0.001 * count * (course.painted + 60)


def test_a_forecast_is_the_same_each_time_and_knows_what_it_does_not_know() -> None:
    chunks = once(replace(PLAIN, within=2.0, taken_per_hour=1.0, away_seconds=60.0), chunks=60)
    told = forecast(chunks)
    assert told == forecast(chunks) and told.course.seconds == told.seconds
    assert told.seconds_most > 1.2 * told.seconds and told.cost_most > told.cost
    sure = forecast(once(PLAIN, chunks=60))
    assert sure.seconds_most == sure.seconds and sure.taken == 0


def test_a_film_on_five_hundred_gpus_takes_seconds_of_ours() -> None:
    spot = replace(PLAIN, count=500, taken_per_hour=0.05, away_seconds=300.0, boots=(180.0, 420.0, 600.0), within=2.0)
    begun = time.process_time()
    told = forecast(once(spot, chunks=3600, frames=48), trials=20)
    assert time.process_time() - begun < 5
    assert 3600 * 36 / 500 + 180 < told.seconds < 1200 and told.taken > 0


SETTINGS = [
    Setting(40, 4, 60),
    Setting(10, 4, 600, taken_per_hour=0.5),
    Setting(100, 10, 120, taken_per_hour=1.0),
    Setting(24, 8, 300, taken_per_hour=2.0),
    Setting(30, 4, 90, fit_seconds=60),
    Setting(60, 20, 200, taken_per_hour=4.0),
    Setting(40, 2, 60, taken_per_hour=0.5, fit_seconds=120, size="Standard_NC64as_T4_v3"),
]


def test_what_is_foretold_is_what_the_emulator_does() -> None:
    found = [beside(setting, 9) for setting in SETTINGS]
    assert statistics.median(abs(one.off_seconds) for one in found) < 0.1
    assert statistics.median(abs(one.off_cost) for one in found) < 0.1
    assert all(abs(one.off_seconds) < 0.2 and abs(one.off_cost) < 0.2 for one in found)
