"""What the feed tells is what is in the store, whatever happened in it and however much at once."""

import queue
import random
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stylizer import commands, views
from stylizer.config import Places
from stylizer.jobs import ChunkState, Encoding, FrameRange, JobState
from stylizer.rows import Tally
from stylizer.store import Store
from tests.jobs_for_tests import clip, look, places, until
from tests.tui import canned
from tui.feed import Feed
from tui.now import News, Now


@contextmanager
def followed(path: Path) -> Iterator[tuple[Now, queue.Queue[News], Feed]]:
    """A store that a feed follows, and what it has told so far; `News` are to be taken in by `take`."""
    told: queue.Queue[News] = queue.Queue()
    feed = Feed(path, told.put, canned.Still)
    feed.start()
    try:
        yield Now(), told, feed
    finally:
        feed.stop()


def take(now: Now, told: "queue.Queue[News]", feed: Feed) -> Now:
    """Take in all that was told by now."""
    while True:
        try:
            news = told.get_nowait()
        except queue.Empty:
            return now
        now.apply(news)
        feed.heard()


def same(now: Now, store: Store) -> bool:
    """Whether it is all as in the store."""
    jobs = store.jobs()
    tallies = store.tallies()
    return (
        now.queue == [job.id for job in jobs]
        and now.jobs == {job.id: job for job in jobs}
        and all(_close(now.tallies.get(job.id, Tally()), tallies.get(job.id, Tally())) for job in jobs)
        and {(c.job, c.index) for of_job in now.under_way.values() for c in of_job.values()}
        == {(c.job, c.index) for c in store.under_way()}
    )


def _close(one: Tally, other: Tally) -> bool:
    if abs(one.fps - other.fps) > 1e-6:
        return False
    names = ("frames_total", "frames_done", "ready", "submitted", "running", "done", "failed")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def add(store: Store, root: Path, name: str, chunks: int) -> int:
    job = commands.add(store, clip(root, name, 24 * chunks), look(root), Encoding(), root / f"{name}.out.mp4")
    store.cut(job.id, [FrameRange(24 * n, 24 * n + 24) for n in range(chunks)])
    return job.id


def test_it_tells_all_that_happens(tmp_path: Path) -> None:
    here = places(tmp_path)
    chance = random.Random(3)
    with Store(here.store) as store, followed(here.store) as (now, told, feed):
        jobs = [add(store, tmp_path, f"{n}.mp4", 5) for n in range(8)]
        for turn in range(400):
            job = chance.choice(jobs)
            chunk = store.chunk(job, chance.randrange(5))
            if chunk.state is ChunkState.READY:
                store.move_chunk(job, chunk.index, ChunkState.SUBMITTED, backend="local")
            elif chunk.state is ChunkState.SUBMITTED:
                store.move_chunk(job, chunk.index, ChunkState.RUNNING)
            elif chunk.state is ChunkState.RUNNING and chance.random() < 0.6:
                store.progress(job, chunk.index, chance.randrange(40), chance.uniform(1, 60), "cuda:0")
            elif chunk.state is ChunkState.RUNNING:
                state = chance.choice([ChunkState.DONE, ChunkState.FAILED, ChunkState.READY])
                store.move_chunk(job, chunk.index, state, fps=30.0, finished_at=float(turn))
            else:
                store.move_chunk(job, chunk.index, ChunkState.READY)
            if turn % 40 == 7:
                commands.move(store, job, chance.randrange(1, 8), chance.choice([None, 0, 1]))
            take(now, told, feed)
        until(lambda: same(take(now, told, feed), store))

        gone = jobs.pop(2)
        commands.cancel(store, gone)
        commands.remove(store, gone)
        until(lambda: same(take(now, told, feed), store))
        assert gone not in now.jobs and gone not in now.chunks


def test_what_happens_while_nobody_listens_comes_at_once(tmp_path: Path) -> None:
    here = places(tmp_path)
    with Store(here.store) as store, followed(here.store) as (now, told, feed):
        until(told.qsize)
        first = told.get()
        jobs = [add(store, tmp_path, f"{n}.mp4", 3) for n in range(30)]
        threading.Event().wait(0.3)
        assert told.empty(), "nothing more before the first telling was heard"
        now.apply(first)
        feed.heard()
        until(told.qsize)
        news = told.get()
        assert len(news.jobs) == len(jobs) and len(news.chunks) == 3 * len(jobs)
        assert len([event for event in news.events if event.kind == "added"]) == len(jobs)


def test_a_store_that_cannot_be_read_is_told_and_then_read(tmp_path: Path) -> None:
    here = places(tmp_path)
    here.store.write_text("this is no database, and long enough to be seen as none " * 20)
    with followed(here.store) as (now, told, feed):
        until(lambda: take(now, told, feed).trouble)
        assert "damaged" in now.trouble or "program" in now.trouble
        assert not now.is_open
        here.store.unlink()
        with Store(here.store) as store:
            add(store, tmp_path, "a.mp4", 2)
            until(lambda: same(take(now, told, feed), store) and not now.trouble)


def test_a_locked_store_holds_up_nobody(tmp_path: Path) -> None:
    here = places(tmp_path)
    with Store(here.store) as store:
        add(store, tmp_path, "a.mp4", 2)
        with followed(here.store) as (now, told, feed):
            until(lambda: take(now, told, feed).is_open)
            other = sqlite3.connect(here.store, isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
            other.execute("UPDATE jobs SET fit_total = 77")
            # WAL: a reader goes on with what was committed.
            take(now, told, feed)
            assert now.jobs[1].fit_total == 0
            other.execute("COMMIT")
            other.close()
            # Another program's change has no number of ours; the next one of ours brings it.
            store.change(1, fit_done=3)
            until(lambda: take(now, told, feed).jobs[1].fit_total == 77)


def test_a_view_says_the_same_as_status(tmp_path: Path) -> None:
    here: Places = canned.fill(tmp_path)
    with Store(here.store) as store, followed(here.store) as (now, told, feed):
        until(lambda: take(now, told, feed).money and now.known)
        for expected in views.status(store).jobs:
            view = now.view(expected.job.id, canned.NOON)
            assert view.job == expected.job
            assert view.money == expected.money
            assert _close(view.tally, expected.tally)
            assert abs(view.fps - expected.fps) < 1e-6
            assert (view.eta is None) == (expected.eta is None) and view.basis == expected.basis
            if view.eta is not None and expected.eta is not None:
                assert abs(view.eta - expected.eta) <= 0.05 * expected.eta
        assert now.spent(canned.NOON) > 0
        assert now.place(now.queue[-1]) is None
        assert {now.jobs[job].state for job in now.queue} >= {JobState.DONE, JobState.FAILED, JobState.RENDERING}
