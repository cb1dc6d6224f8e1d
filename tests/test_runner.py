import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from backends.fake import FakeBackend, Fate
from stylizer import commands
from stylizer.backend import Phase
from stylizer.config import PlaceDefaults
from stylizer.errors import BackendRejected, BackendUnavailable, ConfigError, OutputError
from stylizer.estimate import Measurement
from stylizer.jobs import ChunkState, Clip, Desired, Encoding, Job, JobState, StyleImage
from stylizer.ledger import day_of
from stylizer.runner import Runner, is_whole
from stylizer.store import Store
from stylizer.wire import FitSpec, Spec
from tests.jobs_for_tests import clip, config, join, look, media, places, until


class World:
    """A store, a fake backend and a runner, on a clock that the runner's own sleeping moves."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 1000.0
        self.fates: dict[object, Fate] = {}
        self.media = media(root)
        self.submitted: list[str] = []
        self.backend = FakeBackend(slots=2, speed=96.0, script=self.fate, clock=lambda: self.now)
        self.cloud: FakeBackend | None = None
        self.place = PlaceDefaults()
        self.store = Store(root / "jobs.db", clock=lambda: self.now)

    def fate(self, spec: Spec) -> Fate:
        self.submitted.append(spec.id)
        name = "fit" if isinstance(spec, FitSpec) else spec.frames.start
        return self.fates.get(spec.id, self.fates.get(name, Fate()))

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        # Assembling and checking happen in threads, which know no virtual time.
        time.sleep(0.001)

    def add(self, name: str = "clip.mp4", out: str = "out.mp4", frames: int = 240, **changes: object) -> Job:
        given = replace(look(self.root), brush=float(len(name)))
        return commands.add(self.store, clip(self.root, name, frames), given, Encoding(), self.root / out, **changes)

    def runner(self, **changes: float) -> Runner:
        return Runner(
            self.store,
            replace(config(**changes), place=self.place),
            places(self.root),
            media=self.media,
            backends=self.load,
            cloud=self.cloud.name if self.cloud else "",
            clock=lambda: self.now,
            sleep=self.sleep,
        )

    def rent(self, speed: float = 96.0, here: str = "cpu", **place: object) -> FakeBackend:
        """Set up a cloud beside a machine of that kind; `place` are the settings of placing."""
        self.backend = FakeBackend(slots=1, speed=24.0, script=self.fate, clock=lambda: self.now, kind=here)
        self.cloud = FakeBackend(
            slots=4, speed=speed, clock=lambda: self.now, name="azure", kind="cloud", price=Decimal(360)
        )
        self.place = replace(self.place, **place)  # type: ignore[arg-type]
        return self.cloud

    def load(self, name: str) -> FakeBackend:
        if self.cloud and name == "azure":
            return self.cloud
        if name != "local":
            raise ConfigError(f"There is no backend called {name!r}.")
        return self.backend

    def run(
        self, jobs: list[int] | None = None, each: Callable[[Runner], None] = lambda runner: None, **changes: float
    ) -> None:
        runner = self.runner(**changes)
        deadline = time.monotonic() + 60

        def turn() -> None:
            assert time.monotonic() < deadline, "the runner does not come to an end"
            each(runner)

        runner.run(jobs, each=turn)

    def events(self) -> str:
        return "\n".join(event.text for event in self.store.events())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    assert made.store.check() == []
    made.store.close()


def once(act: Callable[[Runner], None], when: Callable[[], object]) -> Callable[[Runner], None]:
    """Act at the first turn at which `when` is true."""
    acted = []

    def turn(runner: Runner) -> None:
        if not acted and when():
            acted.append(True)
            act(runner)

    return turn


def test_a_job_is_fitted_painted_and_put_together(world: World) -> None:
    job = world.add()
    world.run()
    done = world.store.job(job.id)
    assert done.state is JobState.DONE and done.finished_at and done.checkpoint and done.fit_done == 100
    assert [chunk.attempt for chunk in world.store.chunks(job.id)] == [1] * 10
    assert job.output.read_bytes().count(b"frames") == 10
    assert not (world.root / "work" / str(job.id)).exists()
    assert "240 frames" in world.events()
    measured = world.store.measurements()[0]
    assert measured.fps == pytest.approx(96.0) and measured.fit_seconds_per_step == pytest.approx(1 / 96.0, rel=0.1)


def test_a_fitted_look_is_not_fitted_again(world: World) -> None:
    world.add()
    world.run()
    world.add(out="second.mp4")
    world.run()
    assert sum("fit" in name for name in world.submitted) == 1
    assert "fitted already" in world.events()


def test_two_jobs_of_the_same_look_are_fitted_once(world: World) -> None:
    world.add()
    world.add(out="second.mp4")
    world.run()
    assert sum("fit" in name for name in world.submitted) == 1
    assert {job.state for job in world.store.jobs()} == {JobState.DONE}


def test_half_a_checkpoint_is_no_checkpoint(world: World) -> None:
    job = world.add()
    path = world.media.checkpoint(job)
    path.parent.mkdir(parents=True)
    path.write_bytes((30).to_bytes(8, "little") + b'{"x": {"data_offsets": [0, 9]}}')
    assert not is_whole(path)
    world.run()
    assert is_whole(path) and world.store.job(job.id).state is JobState.DONE


def test_a_failed_chunk_is_tried_again(world: World) -> None:
    job = world.add()
    world.fates[f"{job.id}-00003-1"] = Fate(Phase.FAILED, 0.5)
    world.run()
    chunk = world.store.chunk(job.id, 3)
    assert (chunk.state, chunk.attempt, chunk.failures) == (ChunkState.DONE, 2, 1)
    assert world.store.job(job.id).state is JobState.DONE
    assert "tried again (1 of 2)" in world.events()


def test_a_chunk_that_fails_for_good_fails_its_job_and_no_other(world: World) -> None:
    bad, good = world.add(), world.add("other.mp4", "other.out.mp4")
    for attempt in (1, 2, 3):
        world.fates[f"{bad.id}-00003-{attempt}"] = Fate(Phase.FAILED, 0.5, "No paint.")
    world.run()
    failed = world.store.job(bad.id)
    assert failed.state is JobState.FAILED and failed.error == "No paint." and f"retry {bad.id}" in failed.hint
    assert world.store.chunk(bad.id, 3).failures == 3
    assert world.store.job(good.id).state is JobState.DONE
    assert not world.store.under_way()

    done = {chunk.index for chunk in world.store.chunks(bad.id, (ChunkState.DONE,))}
    world.submitted.clear()
    commands.retry(world.store, bad.id)
    world.run()
    assert world.store.job(bad.id).state is JobState.DONE and done
    assert not done & {int(name.split("-")[1]) for name in world.submitted}


@pytest.mark.parametrize("where", ["fit", 48])
def test_what_cannot_succeed_is_not_tried_again(world: World, where: object) -> None:
    job = world.add()
    world.fates[where] = Fate(Phase.FAILED, 0.5, "The style is a text.", retryable=False)
    world.run()
    assert world.store.job(job.id).error == "The style is a text."
    tries = [name for name in world.submitted if "fit" in name or name.endswith("-00002-1")]
    assert len(tries) == (1 if where == "fit" else 2)


def test_lost_is_no_failure(world: World) -> None:
    job = world.add()
    for attempt in range(1, 6):
        world.fates[f"{job.id}-00001-{attempt}"] = Fate(Phase.LOST, 0.1)
    world.run()
    chunk = world.store.chunk(job.id, 1)
    assert (chunk.state, chunk.attempt, chunk.failures) == (ChunkState.DONE, 6, 0)


def test_a_file_that_is_not_what_the_worker_wrote_is_not_believed(world: World) -> None:
    job = world.add()
    fetch, lied = world.backend.fetch, []

    def lie(spec: Spec) -> Path:
        path = fetch(spec)
        if spec.id == f"{job.id}-00002-1":
            lied.append(spec.id)
            path.write_text("something else")
        return path

    world.backend.fetch = lie  # type: ignore[method-assign]
    world.run()
    assert lied and world.store.chunk(job.id, 2).attempt == 2
    assert "something else" not in job.output.read_text()


def test_paused_finishes_what_runs_and_starts_nothing_more(world: World) -> None:
    job = world.add()
    pause = once(lambda runner: commands.pause(world.store, job.id) and None, lambda: world.store.tally(job.id).done >= 2)
    world.run(each=pause)
    paused = world.store.job(job.id)
    assert paused.state is JobState.QUEUED and paused.desired is Desired.PAUSE
    tally = world.store.tally(job.id)
    assert 2 <= tally.done < 10 and tally.under_way == 0
    commands.resume(world.store, job.id)
    world.run()
    assert world.store.job(job.id).state is JobState.DONE
    assert len(world.submitted) == len({name.rpartition("-")[0] for name in world.submitted})


def test_cancelled_leaves_no_files(world: World) -> None:
    job = world.add()
    world.run(
        each=once(lambda runner: commands.cancel(world.store, job.id) and None, lambda: world.store.tally(job.id).done)
    )
    assert world.store.job(job.id).state is JobState.CANCELLED
    assert not (world.root / "work" / str(job.id)).exists() and not job.output.exists()
    commands.retry(world.store, job.id)
    world.run()
    assert world.store.job(job.id).state is JobState.DONE


def test_draining_finishes_what_runs_and_the_next_run_carries_on(world: World) -> None:
    job = world.add()
    world.run(each=once(Runner.drain, lambda: world.store.tally(job.id).running))
    tally = world.store.tally(job.id)
    assert world.store.job(job.id).state is JobState.QUEUED and tally.done == 2 and tally.under_way == 0
    world.run()
    assert world.store.job(job.id).state is JobState.DONE
    assert {chunk.attempt for chunk in world.store.chunks(job.id)} == {1}


def test_stopping_cancels_what_runs_and_the_next_run_carries_on(world: World) -> None:
    job = world.add()
    world.run(each=once(Runner.stop, lambda: world.store.tally(job.id).done == 2 and world.store.tally(job.id).running))
    tally = world.store.tally(job.id)
    assert world.store.job(job.id).state is JobState.QUEUED and tally.done == 2 and tally.ready == 8
    world.run()
    assert world.store.job(job.id).state is JobState.DONE
    assert sum(chunk.failures for chunk in world.store.chunks(job.id)) == 0


def test_only_the_jobs_in_focus_are_carried_out(world: World) -> None:
    first, second = world.add(), world.add("other.mp4", "other.out.mp4")
    world.run([second.id])
    assert world.store.job(first.id).state is JobState.QUEUED
    assert world.store.job(second.id).state is JobState.DONE


def test_a_changed_source_is_not_painted(world: World) -> None:
    job = world.add()
    job.clip.path.write_bytes(b"another clip")
    world.run()
    failed = world.store.job(job.id)
    assert failed.state is JobState.FAILED and "has changed" in failed.error and not world.submitted


def test_an_output_that_cannot_be_written_keeps_the_chunks(world: World) -> None:
    job = world.add()

    def full(job: Job, chunks: object, frames: int) -> list[str]:
        raise OSError(28, "No space left on device")

    world.media = replace(world.media, assemble=full)
    world.run()
    failed = world.store.job(job.id)
    assert failed.state is JobState.FAILED and "No space left" in failed.error and f"retry {job.id}" in failed.hint
    world.media, painted = replace(world.media, assemble=join), len(world.submitted)
    commands.retry(world.store, job.id)
    world.run()
    assert world.store.job(job.id).state is JobState.DONE and len(world.submitted) == painted


def test_a_sentence_of_the_assembler_is_the_job_s(world: World) -> None:
    job = world.add()

    def refuse(job: Job, chunks: object, frames: int) -> list[str]:
        raise OutputError("The folder is not yours.", hint="Choose another.")

    world.media = replace(world.media, assemble=refuse)
    world.run()
    assert (world.store.job(job.id).error, world.store.job(job.id).hint) == ("The folder is not yours.", "Choose another.")


def test_a_finished_chunk_whose_file_is_gone_is_painted_anew(world: World) -> None:
    job = world.add()
    world.run(each=once(Runner.stop, lambda: world.store.tally(job.id).done == 4))
    first, second, *_ = world.store.chunks(job.id, (ChunkState.DONE,))
    assert first.output and second.output
    first.output.unlink()
    second.output.write_text("damaged")
    world.run()
    assert world.store.job(job.id).state is JobState.DONE
    assert [chunk.attempt for chunk in world.store.chunks(job.id)][:4] == [2, 2, 1, 1]
    assert "damaged" not in job.output.read_text()


def test_a_backend_that_is_away_is_waited_for(world: World) -> None:
    job = world.add()
    came_back = []

    def turn(runner: Runner) -> None:
        if world.store.tally(job.id).done == 2 and not came_back:
            world.backend.trouble = BackendUnavailable("The service is away.")
            came_back.append(world.now + 30)
        if came_back and world.now > came_back[0]:
            world.backend.trouble = None

    world.run(each=turn)
    assert world.store.job(job.id).state is JobState.DONE
    assert world.events().count("The service is away.") == 1


def test_a_backend_that_refuses_fails_the_job(world: World) -> None:
    job = world.add()
    world.backend.trouble = BackendRejected("The subscription has ended.", hint="Pay.")
    world.run()
    assert (world.store.job(job.id).state, world.store.job(job.id).hint) == (JobState.FAILED, "Pay.")


def painters(world: World, job: Job) -> set[str]:
    return {chunk.worker for chunk in world.store.chunks(job.id)}


def test_without_a_gpu_the_fit_stays_and_the_chunks_are_rented(world: World) -> None:
    world.rent()
    job = world.add()
    world.run()
    assert world.store.job(job.id).state is JobState.DONE and painters(world, job) == {"azure"}
    assert "painted in the cloud: there is no CUDA GPU here" in world.events()
    assert [name for name in world.submitted if "fit" in name] == [f"{job.id}-fit-1"]
    (spent,) = world.store.money(job.id)
    # 240 frames at 96 a second and 0.1 a slot-second.
    assert spent.meter.final and float(spent.meter.spent) == pytest.approx(0.25, abs=0.05)


def test_one_job_may_span_two_backends(world: World) -> None:
    world.rent(burst="always")
    world.store.measure(Measurement("cpu (small)", "auto", 64, 48, 24.0, 0.1, world.now))
    job = world.add(frames=12_000)
    world.run()
    done = world.store.job(job.id)
    assert done.state is JobState.DONE and painters(world, job) == {"azure", "fake"}
    assert done.output.read_bytes().count(b"frames") == len(world.store.chunks(job.id))
    assert "so that both end together" in world.events()


def test_what_would_miss_the_deadline_is_rented(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylizer.give.START_SECONDS", 5.0)
    world.rent(here="cuda")
    # 100 s of work here, 70 s allowed.
    world.store.measure(Measurement("cuda", "auto", 64, 48, 24.0, 0.1, world.now))
    job = world.add(frames=2400, deadline=world.now + 70)
    world.run()
    chunks = world.store.chunks(job.id)
    rented = [chunk.index for chunk in chunks if chunk.worker == "azure"]
    assert 25 <= len(rented) <= 45 and rented == list(range(100 - len(rented), 100))
    assert "The last chunks are painted in the cloud: the GPU here would miss the deadline by" in world.events()
    assert world.now < 1000 + 85


def test_a_cloud_that_falls_ill_gives_its_chunks_back(world: World) -> None:
    cloud = world.rent(speed=0.5)
    job = world.add()

    def turn(runner: Runner) -> None:
        if world.store.tally(job.id).running:
            cloud.trouble = BackendUnavailable("The network is gone.")

    world.run(each=turn)
    assert world.store.job(job.id).state is JobState.DONE and painters(world, job) == {"fake"}
    assert "azure is unwell for 2 min; it is painted here." in world.events()
    assert "painted here: azure is unwell: The network is gone.\n" in world.events()
    assert all(chunk.failures == 0 for chunk in world.store.chunks(job.id))


def test_a_cloud_that_refuses_costs_no_job_that_may_be_painted_here(world: World) -> None:
    cloud = world.rent()
    cloud.trouble = BackendRejected("The quota is 0.", hint="Ask for more.")
    free, bound = world.add(), world.add("other.mp4", "other.out.mp4", backend="azure")
    world.run()
    assert world.store.job(free.id).state is JobState.DONE and painters(world, free) == {"fake"}
    assert "azure is unwell: The quota is 0." in world.events()
    assert (world.store.job(bound.id).state, world.store.job(bound.id).hint) == (JobState.FAILED, "Ask for more.")


@pytest.mark.parametrize("backend", ["auto", "azure"])
def test_no_more_is_spent_than_allowed(world: World, backend: str) -> None:
    world.rent(speed=8.0)
    job = world.add(frames=480, max_cost=4.0, backend=backend)
    world.run()
    (spent,) = world.store.money(job.id)
    done = world.store.job(job.id)
    assert 4.0 <= spent.meter.spent < 7.0 and spent.meter.final
    if backend == "auto":
        assert done.state is JobState.DONE and painters(world, job) == {"azure", "fake"}
        assert "its limit of 4.00 USD is spent. Its rented machines were stopped" in world.events()
        assert "painted here: its limit of 4.00 USD is spent" in world.events()
        return
    assert done.state is JobState.FAILED and f"stylizer retry {job.id} --backend local" in done.hint
    kept = world.store.tally(job.id).done
    assert kept
    commands.retry(world.store, job.id, backend="local")
    world.run()
    assert world.store.job(job.id).state is JobState.DONE
    assert [chunk.worker for chunk in world.store.chunks(job.id)].count("azure") == kept


def test_no_more_is_spent_in_a_day_than_allowed(world: World) -> None:
    world.rent(speed=8.0, max_cost_day=4.0)
    jobs = [world.add(f"{name}.mp4", f"{name}.out.mp4") for name in "abc"]
    world.run()
    assert all(world.store.job(job.id).state is JobState.DONE for job in jobs)
    assert 4.0 <= sum(one.meter.spent for one in world.store.money()) < 7.0
    assert "what may be spent in a day is spent" in world.events()


def test_what_a_day_has_cost_outlives_its_jobs(world: World) -> None:
    world.rent(speed=8.0, max_cost_day=4.0)
    first = world.add("a.mp4", "a.out.mp4")
    world.run()
    (meter,) = world.store.money()
    today = day_of(meter.meter.at)
    spent = world.store.spent_on(today)
    assert spent == meter.meter.spent > 0
    world.store.remove(first.id)
    assert not world.store.money() and world.store.spent_on(today) == spent
    assert world.store.spent_on(day_of(meter.meter.at + 86400)) == 0


def test_a_backend_that_is_not_installed_fails_the_job(world: World) -> None:
    job = commands.add(world.store, clip(world.root), look(world.root), Encoding(), world.root / "o.mp4", backend="moon")
    world.run()
    assert "'moon'" in world.store.job(job.id).error


def test_a_second_runner_looks_on_and_takes_over(world: World) -> None:
    job = world.add()
    lock = world.store.runner_lock()
    lock.acquire()
    seen = []

    def turn(runner: Runner) -> None:
        seen.append(runner.looking_on)
        if len(seen) == 3:
            assert not world.submitted
            lock.release()

    world.run([job.id], each=turn)
    assert seen[:3] == [True] * 3 and seen[-1] is False
    assert world.store.job(job.id).state is JobState.DONE


def test_leftovers_of_jobs_that_are_gone_go(world: World) -> None:
    job = world.add()
    world.run(each=once(Runner.stop, lambda: world.store.tally(job.id).done == 2))
    (world.root / "work" / "999").mkdir()
    left = world.root / "work" / str(job.id) / "1-00005-1.nut.part"
    left.write_text("half")
    world.run(each=once(Runner.stop, lambda: True))
    assert not (world.root / "work" / "999").exists() and not left.exists()
    assert world.store.tally(job.id).done == 2


def test_old_logs_go_and_new_ones_stay(world: World) -> None:
    logs = places(world.root).logs
    logs.mkdir()
    for name, days in (("1-00000-1.log", 40), ("2-00000-1.log", 2)):
        (logs / name).write_text("said")
        os.utime(logs / name, (time.time() - days * 86400,) * 2)
    world.run()
    assert [path.name for path in logs.iterdir()] == ["2-00000-1.log"]


def test_kept_styles_go_when_no_job_was_made_with_them(world: World) -> None:
    kept = world.root / "work" / "styles"
    for name in ("aaaa", "bbbb"):
        (kept / name).mkdir(parents=True)
        (kept / name / "art.jpg").write_text(name)
    given = replace(look(world.root), styles=(StyleImage(kept / "aaaa" / "art.jpg", 1.0, "aa" * 32),))
    job = commands.add(world.store, clip(world.root), given, Encoding(), world.root / "out.mp4")
    world.run()
    # A job that is done may be painted anew.
    assert world.store.job(job.id).state is JobState.DONE and [path.name for path in kept.iterdir()] == ["aaaa"]
    world.store.remove(job.id)
    world.run()
    assert not list(kept.iterdir())


# ---- real processes ----


def start(root: Path, pace: float = 0.02) -> subprocess.Popen[str]:
    project = Path(__file__).parent.parent
    told = json.dumps({"notes": str(root / "notes"), "pace": pace})
    env = {**os.environ, "STYLIZER_FAKE": told, "PYTHONPATH": str(project)}
    command = [sys.executable, "-m", "tests.runner_program", str(root)]
    return subprocess.Popen(command, env=env, cwd=project, stdout=subprocess.PIPE, text=True)


def prepare(root: Path, frames: int = 720) -> tuple[Store, Job, Clip]:
    root.mkdir()
    store = Store(root / "jobs.db")
    given = clip(root, frames=frames)
    return store, commands.add(store, given, look(root), Encoding(), root / "out.mp4"), given


def test_killed_at_any_moment_the_next_run_carries_on(tmp_path: Path) -> None:
    calm, job, _ = prepare(tmp_path / "calm")
    with start(tmp_path / "calm", 0.0) as undisturbed:
        assert undisturbed.wait(30) == 0
    assert calm.job(job.id).state is JobState.DONE
    expected = job.output.read_bytes()

    root = tmp_path / "killed"
    store, job, _ = prepare(root)
    chance = random.Random(7)
    done: dict[int, tuple[int, str]] = {}
    kills = 0
    for _ in range(15):
        with start(root) as runner:
            assert runner.stdout and runner.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.0, 0.7))
            kills += runner.poll() is None
            runner.kill()
        assert store.check() == []
        for index, before in done.items():
            if store.job(job.id).state is not JobState.DONE:
                chunk = store.chunk(job.id, index)
                assert (chunk.attempt, chunk.digest) == before, "a finished chunk was painted again"
        done = {c.index: (c.attempt, c.digest) for c in store.chunks(job.id, (ChunkState.DONE,))}
    with start(root) as runner:
        assert runner.wait(30) == 0
    assert kills >= 8
    chunks = store.chunks(job.id)
    assert store.job(job.id).state is JobState.DONE and {chunk.state for chunk in chunks} == {ChunkState.DONE}
    assert sum(chunk.failures for chunk in chunks) == 0
    finished = [event.chunk for event in store.events() if event.kind == "chunk done"]
    assert sorted(finished) == list(range(30)), "each chunk is done exactly once"
    assert job.output.read_bytes() == expected
    assert store.check() == []
    store.close()
    calm.close()


def test_of_two_runners_one_works_and_the_other_takes_over(tmp_path: Path) -> None:
    root = tmp_path / "two"
    store, job, _ = prepare(root, frames=480)
    with start(root) as first:
        until(lambda: store.tally(job.id).done >= 2)
        with start(root) as second:
            assert second.stdout and second.stdout.readline() == "ready\n"
            assert second.poll() is None
            first.kill()
            assert second.wait(30) == 0
    assert store.job(job.id).state is JobState.DONE
    finished = [event.chunk for event in store.events() if event.kind == "chunk done"]
    assert sorted(finished) == list(range(20))
    store.close()


def test_a_store_without_room_ends_the_run_with_a_sentence(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "x", ignore_errors=True)
    store, job, _ = prepare(tmp_path / "x")
    store._connection.execute(f"PRAGMA max_page_count = {store._value('PRAGMA page_count') + 1}")
    runner = Runner(store, config(), places(tmp_path / "x"), media=media(tmp_path / "x"), backends=lambda n: FakeBackend())
    with pytest.raises(Exception, match="is full"):
        runner.run()
    store.close()
    with Store(tmp_path / "x" / "jobs.db") as again:
        assert again.check() == [] and again.job(job.id).state is not JobState.FAILED
        assert not again.has_runner()
