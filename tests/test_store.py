import itertools
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stylizer import commands, views
from stylizer.errors import ConfigError, StoreError
from stylizer.estimate import Measurement
from stylizer.jobs import CHUNK_MOVES, JOB_MOVES, ChunkState, Desired, Encoding, FrameRange, Job, JobState
from stylizer.migrations import STEPS, VERSION
from stylizer.store import Store
from tests.jobs_for_tests import clip, look

FROZEN = Path(__file__).with_name("store_schema_1.sql")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "home" / "jobs.db") as made:
        yield made
        assert made.check() == []


def add(store: Store, root: Path, name: str = "clip.mp4", out: str = "out.mp4", **changes: object) -> Job:
    given = {"encoding": Encoding(), "output": root / out, **changes}
    return commands.add(store, clip(root, name), look(root), **given)  # type: ignore[arg-type]


def cut(store: Store, job: Job, count: int = 3) -> None:
    store.cut(job.id, [FrameRange(n * 80, n * 80 + 80) for n in range(count)])


def drive(store: Store, job: Job, *states: JobState) -> None:
    for state in states:
        store.move(job.id, state, "on")


# ---- the store itself ----


def test_what_goes_in_comes_out(store: Store, tmp_path: Path) -> None:
    odd = 'it\'s a "clip"\n-\udcff 画.mp4'
    given, wanted = replace(clip(tmp_path), path=tmp_path / odd, notes=("a", "b")), replace(look(tmp_path), size=640)
    job = store.add("k", given, wanted, Encoding("hevc", 20), tmp_path / odd, backend="b", device="d", precision="p")
    assert store.job(job.id) == job == store.find("k")
    assert (job.clip, job.look, job.encoding, job.output) == (given, wanted, Encoding("hevc", 20), tmp_path / odd)
    assert store.writing_to(tmp_path / odd) == [job]
    cut(store, job)
    moved = store.move_chunk(job.id, 1, ChunkState.SUBMITTED, backend="local", submitted_at=5.0)
    assert store.chunk(job.id, 1) == moved == store.under_way()[0]
    done = store.move_chunk(job.id, 1, ChunkState.DONE, "done", output=tmp_path / odd, digest="d", fps=3.0)
    assert store.chunk(job.id, 1) == done and done.output == tmp_path / odd


@pytest.mark.parametrize(("before", "after"), list(itertools.product(JobState, JobState)))
def test_a_job_moves_as_the_table_says(store: Store, tmp_path: Path, before: JobState, after: JobState) -> None:
    job = add(store, tmp_path)
    store._change("UPDATE jobs SET state = ?", (before.value,))
    count = len(store.events())
    if after in JOB_MOVES[before]:
        assert store.move(job.id, after, "moved").state is after is store.job(job.id).state
        assert [event.kind for event in store.events()[count:]] == [after.value]
    else:
        with pytest.raises(ValueError, match="cannot go from"):
            store.move(job.id, after, "moved")
        assert store.job(job.id).state is before and len(store.events()) == count


@pytest.mark.parametrize(("before", "after"), list(itertools.product(ChunkState, ChunkState)))
def test_a_chunk_moves_as_the_table_says(store: Store, tmp_path: Path, before: ChunkState, after: ChunkState) -> None:
    job = add(store, tmp_path)
    cut(store, job)
    store._change("UPDATE chunks SET state = ?, digest = 'x', frames_done = 9", (before.value,))
    if after not in CHUNK_MOVES[before]:
        with pytest.raises(ValueError, match="cannot go from"):
            store.move_chunk(job.id, 0, after, "moved")
        assert store.chunk(job.id, 0).state is before
        return
    moved = store.move_chunk(job.id, 0, after, "moved")
    assert moved == store.chunk(job.id, 0) and moved.state is after
    fresh = after is ChunkState.READY
    assert (moved.attempt, moved.frames_done, moved.digest) == ((2, 0, "") if fresh else (1, 9, "x"))


def test_a_change_and_its_event_are_one(store: Store, tmp_path: Path) -> None:
    job = add(store, tmp_path)
    before = store.events()
    with pytest.raises(RuntimeError), store.transaction():
        store.move(job.id, JobState.RENDERING, "on")
        cut(store, job)
        raise RuntimeError
    assert store.job(job.id) == job and store.chunks(job.id) == [] and store.events() == before


def test_an_error_of_ours_inside_a_transaction_stays_what_it_is(store: Store) -> None:
    with pytest.raises(FileNotFoundError), store.transaction():
        Path("/no such folder/x").read_bytes()


def test_progress_is_no_event_and_touches_running_chunks_only(store: Store, tmp_path: Path) -> None:
    job = add(store, tmp_path)
    cut(store, job)
    store.progress(job.id, 0, 40, 12.5, "cpu")
    assert store.chunk(job.id, 0).frames_done == 0
    store.move_chunk(job.id, 0, ChunkState.SUBMITTED)
    store.move_chunk(job.id, 0, ChunkState.RUNNING)
    count = len(store.events())
    store.progress(job.id, 0, 40, 12.5, "cpu")
    assert (store.chunk(job.id, 0).frames_done, store.chunk(job.id, 0).worker) == (40, "cpu")
    assert len(store.events()) == count
    tally = store.tally(job.id)
    assert tally == store.tallies()[job.id]
    assert (tally.frames_total, tally.frames_done, tally.fps, tally.running, tally.ready) == (240, 40, 12.5, 1, 2)


def test_events_are_capped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylizer.store.MOST_EVENTS", 100)
    with store.transaction():
        for n in range(1000):
            store.note(None, None, "note", f"{n} " + "x" * 5000)
    events = store.events(most=5000)
    assert len(events) == 100 and events[-1].text.startswith("999 ") and len(events[-1].text) == 4000
    assert [event.seq for event in store.events(after=events[-3].seq)] == [999, 1000]


def test_data_version_tells_of_others(store: Store, tmp_path: Path) -> None:
    with Store(store.path, write=False) as reader:
        before = reader.data_version()
        add(store, tmp_path)
        assert reader.data_version() != before
        assert len(reader.jobs()) == 1


def test_a_reader_cannot_write(store: Store, tmp_path: Path) -> None:
    with Store(store.path, write=False) as reader, pytest.raises(StoreError):
        add(reader, tmp_path)


def test_measurements_are_smoothed_and_nothing_overwrites_what_is_not_known(store: Store) -> None:
    for fps, step in ((100.0, 0.0), (200.0, 0.5), (0.0, 0.5)):
        store.measure(Measurement("cpu (x)", "fp32", 64, 48, fps, step, 1.0))
    (known,) = store.measurements()
    assert known.fps == pytest.approx(130.0) and known.fit_seconds_per_step == pytest.approx(0.5)


def test_two_processes_make_the_same_store(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from stylizer.store import Store; Store(Path(sys.argv[1])).close()"
    command = [sys.executable, "-c", program, str(tmp_path / "new" / "jobs.db")]
    for process in [subprocess.Popen(command) for _ in range(6)]:
        assert process.wait(30) == 0


def test_the_store_imports_nothing_heavy() -> None:
    program = (
        "import sys, stylizer.commands, stylizer.runner; print([m for m in ('torch', 'av', 'textual') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "[]"


# ---- files that are not as they should be ----


def test_a_locked_store_is_a_sentence(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylizer.database.BUSY_SECONDS", 0.1)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Store(store.path) as late, pytest.raises(StoreError, match="locked by another program"):
        add(late, tmp_path)
    other.close()


def test_a_newer_store_is_a_sentence(store: Store) -> None:
    store._connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StoreError, match="newer stylizer"):
        Store(store.path)


def test_another_program_s_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        Store(path)
    assert path.read_bytes() == before


def test_a_store_that_is_no_database_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(b"this is no database at all, but long enough to be read as one" * 40)
    with pytest.raises(StoreError, match="damaged"):
        Store(path)


def test_half_a_store_is_a_sentence(store: Store, tmp_path: Path) -> None:
    for n in range(50):
        add(store, tmp_path, out=f"{n}.mp4", encoding=Encoding(crf=n))
    store._query("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = store.path.read_bytes()
    half = tmp_path / "half.db"
    half.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match="damaged"), Store(half) as opened:
        opened.jobs()
        opened.events()


def test_a_full_disk_is_a_sentence_and_loses_nothing(store: Store, tmp_path: Path) -> None:
    job = add(store, tmp_path)
    store._connection.execute(f"PRAGMA max_page_count = {store._value('PRAGMA page_count')}")
    with pytest.raises(StoreError, match="is full"):
        store.cut(job.id, [FrameRange(n, n + 1) for n in range(5000)])
    assert store.chunks(job.id) == [] and store.check() == []


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(tmp_path / "file" / "jobs.db")


def test_a_store_of_schema_1_still_loads(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    old = sqlite3.connect(path)
    old.executescript(FROZEN.read_text(encoding="utf-8"))
    old.close()
    with Store(path) as store:
        (job,) = store.jobs()
        assert (job.id, job.state, job.clip.frames, job.look.styles[0].weight) == (3, JobState.RENDERING, 48, 1.0)
        assert [(chunk.state, chunk.attempt) for chunk in store.chunks(3)] == [(ChunkState.DONE, 1), (ChunkState.READY, 2)]
        assert store.measurements()[0].fps == 12.5 and store.events()[0].text == "clip.mp4 is queued."
        assert store._value("PRAGMA user_version") == VERSION == len(STEPS)


# ---- commands ----


def test_adding_again_finds_the_same_job(store: Store, tmp_path: Path) -> None:
    job = add(store, tmp_path)
    assert add(store, tmp_path, device="cuda:1").id == job.id
    assert store.job(job.id).device == "cuda:1" and len(store.jobs()) == 1
    commands.pause(store, job.id)
    assert add(store, tmp_path).desired is Desired.RUN


def test_a_done_job_is_returned_as_it_is_unless_its_output_is_gone(store: Store, tmp_path: Path) -> None:
    job = add(store, tmp_path)
    cut(store, job)
    store._change("UPDATE chunks SET state = 'done'")
    drive(store, job, JobState.RENDERING, JobState.ASSEMBLING, JobState.DONE)
    assert add(store, tmp_path).state is JobState.QUEUED
    assert {chunk.state for chunk in store.chunks(job.id)} == {ChunkState.READY}
    drive(store, job, JobState.RENDERING, JobState.ASSEMBLING, JobState.DONE)
    job.output.write_text("painted")
    assert add(store, tmp_path).state is JobState.DONE
    assert add(store, tmp_path, again=True).state is JobState.QUEUED


def test_one_output_has_one_unfinished_job(store: Store, tmp_path: Path) -> None:
    job = add(store, tmp_path)
    with pytest.raises(ConfigError, match=f"Job {job.id} already writes"):
        add(store, tmp_path, encoding=Encoding(crf=9))
    commands.cancel(store, job.id)
    assert add(store, tmp_path, encoding=Encoding(crf=9)).id != job.id
    with pytest.raises(ConfigError, match="already writes"):
        commands.retry(store, job.id)


def test_an_output_is_no_source_and_no_style(store: Store, tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(clip(tmp_path).path)
    for name in ("clip.mp4", "link.mp4"):
        with pytest.raises(ConfigError, match="the source itself"):
            add(store, tmp_path, out=name)
    with pytest.raises(ConfigError, match="the style picture"):
        add(store, tmp_path, out="art.jpg")
    assert store.jobs() == []


def test_cancelled_without_a_runner_is_cancelled_at_once(store: Store, tmp_path: Path) -> None:
    job = add(store, tmp_path)
    cut(store, job)
    store.move_chunk(job.id, 0, ChunkState.SUBMITTED)
    work = tmp_path / "work"
    (work / str(job.id)).mkdir(parents=True)
    assert commands.cancel(store, job.id, work).state is JobState.CANCELLED
    assert not (work / str(job.id)).exists() and not store.under_way()
    with store.runner_lock():
        second = add(store, tmp_path, out="b.mp4")
        assert commands.cancel(store, second.id).state is JobState.QUEUED
        assert store.job(second.id).desired is Desired.CANCEL


def test_retry_keeps_what_is_finished(store: Store, tmp_path: Path) -> None:
    job = add(store, tmp_path)
    cut(store, job)
    with pytest.raises(ConfigError, match="only a failed or cancelled"):
        commands.retry(store, job.id)
    store._change("UPDATE chunks SET state = 'done' WHERE position = 0")
    store._change("UPDATE chunks SET state = 'failed', failures = 3, error = 'x' WHERE position = 1")
    store.move(job.id, JobState.FAILED, "x", error="x", hint="y", finished_at=1.0)
    tried = commands.retry(store, job.id)
    assert (tried.state, tried.error, tried.hint, tried.finished_at) == (JobState.QUEUED, "", "", None)
    first, second, _ = store.chunks(job.id)
    assert (first.state, first.attempt) == (ChunkState.DONE, 1)
    assert (second.state, second.attempt, second.failures) == (ChunkState.READY, 2, 0)


def test_redo_of_one_chunk(store: Store, tmp_path: Path) -> None:
    job = add(store, tmp_path)
    cut(store, job)
    store._change("UPDATE chunks SET state = 'done'")
    drive(store, job, JobState.RENDERING)
    commands.redo(store, job.id, 1)
    assert [chunk.attempt for chunk in store.chunks(job.id)] == [1, 2, 1]
    with pytest.raises(ConfigError, match="has no chunk 9"):
        commands.redo(store, job.id, 9)


def test_removing_forgets_everything_but_the_output(store: Store, tmp_path: Path) -> None:
    job = add(store, tmp_path)
    cut(store, job)
    with pytest.raises(ConfigError, match="is queued"):
        commands.remove(store, job.id)
    commands.cancel(store, job.id)
    job.output.write_text("painted")
    commands.remove(store, job.id)
    assert store.jobs() == [] and store.chunks(job.id) == [] and job.output.exists()
    assert add(store, tmp_path).id > job.id, "a number is never used again: work files carry it"
    with pytest.raises(ConfigError, match="There is no job"):
        commands.pause(store, job.id)


def test_moving_in_the_queue(store: Store, tmp_path: Path) -> None:
    jobs = [add(store, tmp_path, out=f"{n}.mp4", encoding=Encoding(crf=n)) for n in range(4)]

    def order() -> list[int]:
        return [job.id for job in store.jobs()]

    a, b, c, d = (job.id for job in jobs)
    commands.move(store, d, 1)
    assert order() == [d, a, b, c]
    commands.move(store, d, 3)
    assert order() == [a, b, d, c]
    commands.move(store, a, 99)
    assert order() == [b, d, c, a]
    commands.move(store, c, priority=5)
    assert order() == [c, b, d, a]
    commands.move(store, a, 1)
    assert order() == [a, c, b, d] and store.job(a).priority == 5
    assert [view.place for view in views.status(store).jobs] == [1, 2, 3, 4]


def test_an_eta_is_learned_or_measured_or_not_there(store: Store, tmp_path: Path) -> None:
    job = add(store, tmp_path)
    view = views.status(store).of(job.id)
    assert (view.eta, view.basis, view.tally.frames_total) == (None, "", 240)
    store.measure(Measurement("cpu (x)", "fp32", 128, 96, 10.0, 0.1, 1.0))
    view = views.status(store).of(job.id)
    # 240 frames, 180 steps of a fit and its beginning, and the joining.
    assert view.eta == pytest.approx(240 / 40 + 18 + 1.5 + 0.24, abs=0.01) and view.basis.startswith(
        "measured here on cpu (x), 19"
    )
    cut(store, job)
    drive(store, job, JobState.RENDERING)
    for index, fps in ((0, 20.0), (1, 5.0)):
        store.move_chunk(job.id, index, ChunkState.SUBMITTED)
        store.move_chunk(job.id, index, ChunkState.RUNNING)
        if index == 0:
            store.move_chunk(job.id, index, ChunkState.DONE, fps=fps, finished_at=1.0)
    store.progress(job.id, 1, 4, 5.0, "cpu")
    status = views.status(store)
    # 4 frames into a chunk its pace says nothing yet.
    assert status.of(job.id).fps == 5.0
    assert status.of(job.id).eta == pytest.approx(156 / 20 + 0.24) and status.of(job.id).basis == "this job's own pace"
    assert status.eta == status.of(job.id).eta and not status.running
    store.progress(job.id, 1, 40, 10.0, "cpu")
    assert views.status(store).of(job.id).eta == pytest.approx(120 / 15 + 0.24)
    assert views.status(store).of(job.id).share == pytest.approx(0.5)


def test_a_status_that_leaves_jobs_out_counts_them_and_knows_the_same_time_left(store: Store, tmp_path: Path) -> None:
    jobs = [add(store, tmp_path, f"{n}.mp4", f"out {n}.mp4") for n in range(9)]
    assert views.status(store, 2).eta is None
    store.measure(Measurement("cpu (x)", "fp32", 128, 96, 10.0, 0.1, 1.0))
    for at, job in enumerate(jobs[:3]):
        drive(store, job, JobState.RENDERING, JobState.ASSEMBLING)
        store.move(job.id, JobState.DONE, "", finished_at=10.0 - at)
    cut(store, jobs[3])
    drive(store, jobs[3], JobState.RENDERING)
    cut(store, jobs[8])
    for job in (jobs[3], jobs[8]):
        store.move_chunk(job.id, 0, ChunkState.SUBMITTED)
        store.move_chunk(job.id, 0, ChunkState.RUNNING)
        store.move_chunk(job.id, 0, ChunkState.DONE, fps=20.0, finished_at=1.0)
    commands.pause(store, jobs[7].id)
    whole, lean = views.status(store), views.status(store, 2)
    assert [view.job.id for view in lean.jobs] == [job.id for job in (jobs[1], jobs[0], jobs[3], jobs[4], jobs[5])]
    assert all(view == whole.of(view.job.id) for view in lean.jobs)
    assert lean.counts == whole.counts and lean.count((JobState.QUEUED,), (Desired.RUN,)) == 4
    assert lean.eta is not None and lean.eta == pytest.approx(whole.eta)
    assert views.status(store, 0).eta == pytest.approx(whole.eta)
