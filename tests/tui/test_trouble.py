"""What goes wrong around the studio is said on the screen in a sentence: real locks, a full disk, killed runners."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from stylizer import commands, database
from stylizer.config import Places
from stylizer.jobs import Desired, Encoding, JobState
from stylizer.store import Store
from tests.jobs_for_tests import clip, look, places
from tests.tui.canned import Still, settle
from tui.app import Studio

Steps = Callable[[Studio, Pilot[None], Store], Awaitable[None]]


def on_one_job(root: Path, steps: Steps) -> None:
    """The studio on a store with one job in it."""
    here = places(root)

    async def run() -> None:
        with Store(here.store) as store:
            commands.add(store, clip(root, frames=720), look(root), Encoding(), root / "out.mp4")
            app = Studio(here, gauges=Still)
            async with app.run_test(size=(120, 36)) as pilot:
                await settle(pilot, lambda: len(app.now.jobs) == 1)
                await steps(app, pilot, store)

    asyncio.run(run())


def toasts(app: Studio) -> str:
    return " ".join(str(one.message) for one in app._notifications)


def trouble(app: Studio) -> str:
    return str(app.screen.query_one("#trouble", Static).content)


@contextmanager
def locked(here: Places) -> Iterator[None]:
    """Another program holds the store."""
    other = sqlite3.connect(here.store, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


def test_a_locked_store_is_waited_for(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        with locked(app.here):
            await pilot.press("p")
            await settle(pilot, lambda: "held by another program; waiting for it" in toasts(app))
            assert store.job(1).desired is Desired.RUN
        await settle(pilot, lambda: store.job(1).desired is Desired.PAUSE)
        await settle(pilot, lambda: "Paused" in toasts(app))

    on_one_job(tmp_path, steps)


def test_a_store_that_stays_locked_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.3)

    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        with locked(app.here):
            await pilot.press("p")
            await settle(pilot, lambda: "is locked by another program. Close that program" in toasts(app))
        assert store.job(1).desired is Desired.RUN
        # What could not be done cannot be undone either.
        await pilot.press("u")
        await settle(pilot, lambda: "nothing to undo" in toasts(app))

    on_one_job(tmp_path, steps)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits on Windows")
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    import resource  # noqa: PLC0415  # not on Windows

    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        size = app.here.store.with_name("jobs.db-wal").stat().st_size
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            await pilot.press("p")
            await settle(pilot, lambda: "it may be full. Free some space" in toasts(app))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        await pilot.press("p")
        await settle(pilot, lambda: store.job(1).desired is Desired.PAUSE)

    on_one_job(tmp_path, steps)


def test_a_runner_that_is_gone_is_said(tmp_path: Path) -> None:
    project = Path(__file__).parent.parent.parent

    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        told = json.dumps({"notes": str(tmp_path / "notes"), "pace": 1.5})
        env = {**os.environ, "STYLIZER_FAKE": told, "PYTHONPATH": str(project)}
        command = [sys.executable, "-m", "tests.runner_program", str(tmp_path)]
        with subprocess.Popen(command, env=env, cwd=project, stdout=subprocess.DEVNULL) as runner:
            await settle(pilot, lambda: app.now.alive and app.now.workers(), 40)
            assert not trouble(app)
            runner.kill()
        await settle(pilot, lambda: "The runner ended in the middle of its work.  w starts another" in trouble(app))
        assert not app.now.workers()
        assert store.job(1).state in (JobState.FITTING, JobState.RENDERING)

    on_one_job(tmp_path, steps)


def test_a_runner_that_cannot_write_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setenv("STYLIZER_HOME", str(tmp_path))

    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        await settle(pilot, lambda: "Nobody is painting" in trouble(app))
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        # The runner has it from us: neither its store nor its log can grow.
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            await pilot.press("w")
            await settle(pilot, lambda: "The runner has ended: exit code 1" in toasts(app), 60)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    on_one_job(tmp_path, steps)


def test_why_a_runner_does_not_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLIZER_HOME", str(tmp_path))

    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        await settle(pilot, lambda: "Nobody is painting" in trouble(app))
        (tmp_path / "config.toml").write_text("[look]\nstrenght = 1\n")
        await pilot.press("w")
        await settle(pilot, lambda: "The runner has ended: " in toasts(app), 60)
        assert "strenght" in toasts(app).partition("The runner has ended: ")[2]

    on_one_job(tmp_path, steps)
