from pathlib import Path

import pytest

from backends.fake import FakeBackend, Fate
from stylizer.backend import Backend, Phase
from stylizer.errors import BackendUnavailable
from tests.backend_contract import BackendContract
from tests.jobs_for_tests import chunk_spec


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class TestContract(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return FakeBackend(speed=1000.0)

    @pytest.fixture
    def slow_backend(self) -> Backend:
        return FakeBackend(speed=0.01)


def test_time_is_what_the_clock_says(tmp_path: Path) -> None:
    clock = Clock()
    backend = FakeBackend(slots=1, speed=12.0, clock=clock)
    names = [chunk_spec(tmp_path, n).id for n in range(2)]
    backend.submit([chunk_spec(tmp_path, n) for n in range(2)])
    seen = []
    for clock.now in (0.0, 1.0, 2.0, 3.0, 4.0):
        seen.append([(report.phase, report.done) for report in backend.poll(names)])
    running, done, waiting = Phase.RUNNING, (Phase.DONE, 24), (Phase.WAITING, 0)
    assert seen == [
        [(running, 0), waiting],
        [(running, 12), waiting],
        [done, (running, 0)],
        [done, (running, 12)],
        [done, done],
    ]


def test_the_script_decides(tmp_path: Path) -> None:
    fates = {0: Fate(Phase.FAILED, 0.5, "No paint.", False), 24: Fate(Phase.LOST, 0.1)}
    clock = Clock()
    backend = FakeBackend(clock=clock, script=lambda spec: fates.get(spec.frames.start, Fate()))
    specs = [chunk_spec(tmp_path, n) for n in range(3)]
    backend.submit(specs)
    clock.now = 10.0
    failed, lost, done = backend.poll([spec.id for spec in specs])
    assert (failed.phase, failed.error, failed.retryable) == (Phase.FAILED, "No paint.", False)
    assert (lost.phase, done.phase) == (Phase.LOST, Phase.DONE)


def test_chance_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    def phases(seed: int) -> list[Phase]:
        clock = Clock()
        backend = FakeBackend(slots=40, failures=0.3, losses=0.3, seed=seed, clock=clock)
        specs = [chunk_spec(tmp_path, n) for n in range(40)]
        backend.submit(specs)
        clock.now = 100.0
        return [report.phase for report in backend.poll([spec.id for spec in specs])]

    assert phases(1) == phases(1) != phases(2)
    assert set(phases(1)) == {Phase.DONE, Phase.FAILED, Phase.LOST}


def test_an_output_depends_on_the_spec_and_not_on_the_attempt(tmp_path: Path) -> None:
    clock = Clock()
    backend = FakeBackend(clock=clock)
    specs = [chunk_spec(tmp_path, 0, attempt) for attempt in (1, 2)]
    backend.submit(specs)
    clock.now = 10.0
    first, second = backend.poll([spec.id for spec in specs])
    assert first.digest == second.digest != ""


def test_unwell_is_an_exception(tmp_path: Path) -> None:
    backend = FakeBackend()
    backend.trouble = BackendUnavailable("The imagined service is away.")
    with pytest.raises(BackendUnavailable):
        backend.poll([])
    with pytest.raises(BackendUnavailable):
        backend.submit([chunk_spec(tmp_path)])
