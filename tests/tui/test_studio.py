"""The studio: each verb by its key against a real store, what it looks like, what it says when something is wrong."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from stylizer import views
from stylizer.jobs import Desired, Job, JobState, RunnerDesired
from stylizer.store import Store
from tests.jobs_for_tests import places
from tests.tui import canned
from tests.tui.canned import check_picture, settle, studio
from tui.app import Studio
from tui.screens.ask import Ask
from tui.screens.job import JobScreen
from tui.screens.new_job import NewJob
from tui.screens.quit import Quit
from tui.screens.studio import StudioScreen
from tui.screens.verbs import Choose
from tui.widgets.chunks import Chunks
from tui.widgets.keys import Keys
from tui.widgets.queue import Queue

LONG = "Lucía dances (take 4), the whole evening from the balcony.mov"
Steps = Callable[[Studio, Pilot[None], Store], Coroutine[Any, Any, None]]


def on_studio(root: Path, steps: Steps, size: tuple[int, int] = (120, 40), *, alive: bool = False) -> None:
    """Run the steps on the canned store."""

    async def run() -> None:
        async with studio(root, size, alive=alive) as (app, pilot):
            with Store(app.here.store) as store:
                await steps(app, pilot, store)

    asyncio.run(run())


def job_of(store: Store, name: str) -> Job:
    return next(job for job in store.jobs() if job.clip.path.name.startswith(name))


async def at(app: Studio, pilot: Pilot[None], name: str) -> int:
    """Put the cursor on the job of that name."""
    table = app.screen.query_one(Queue)
    job = next(job.id for job in app.now.jobs.values() if job.clip.path.name.startswith(name))
    table.go_to(job)
    await pilot.pause()
    return job


def said(app: Studio) -> str:
    """All toasts that are shown."""
    return " ".join(str(one.message) for one in app._notifications)


@pytest.mark.parametrize("theme", ["night", "day"])
@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_it_looks_as_it_should(tmp_path: Path, size: tuple[int, int], theme: str) -> None:
    async def run() -> None:
        async with studio(tmp_path, size, theme) as (app, pilot):
            await canned.calm(pilot)
            check_picture(app, f"studio-{size[0]}x{size[1]}-{theme}")

    asyncio.run(run())


def test_pause_and_go_on(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        job = await at(app, pilot, "snow")
        await pilot.press("p")
        await settle(pilot, lambda: store.job(job).desired is Desired.PAUSE)
        await settle(pilot, lambda: app.now.jobs[job].desired is Desired.PAUSE)
        await pilot.press("p")
        await settle(pilot, lambda: store.job(job).desired is Desired.RUN)
        await settle(pilot, lambda: "goes on" in said(app))
        await pilot.press("u")
        await settle(pilot, lambda: store.job(job).desired is Desired.PAUSE)

    on_studio(tmp_path, steps)


def test_cancel_asks_first(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        job = await at(app, pilot, "snow")
        await pilot.press("x")
        await settle(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("n")
        await settle(pilot, lambda: isinstance(app.screen, StudioScreen))
        assert store.job(job).state is JobState.QUEUED
        await pilot.press("x")
        await settle(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("y")
        await settle(pilot, lambda: store.job(job).state is JobState.CANCELLED)

    on_studio(tmp_path, steps)


def test_retry_redo_and_forget(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        job = await at(app, pilot, "half")
        await pilot.press("r")
        await settle(pilot, lambda: store.job(job).state is JobState.QUEUED)

        job = await at(app, pilot, "candle")
        await pilot.press("R", "y")
        await settle(pilot, lambda: store.job(job).state is JobState.QUEUED)

        job = await at(app, pilot, "swim")
        await pilot.press("delete", "y")
        await settle(pilot, lambda: not store.has_job(job))
        await settle(pilot, lambda: job not in app.screen.query_one(Queue).jobs)

    on_studio(tmp_path, steps)


def test_order_and_priority(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        def order() -> list[int]:
            return [job.id for job in store.jobs((JobState.QUEUED,))]

        before = order()
        job = await at(app, pilot, "snow")
        await pilot.press("shift+up")
        await settle(pilot, lambda: order() == [*before[:-2], before[-1], before[-2]])
        await settle(pilot, lambda: app.now.queue[app.now.queue.index(job) + 1] == before[-2])
        assert app.screen.query_one(Queue).job == job, "the cursor goes with it"
        await pilot.press("u")
        await settle(pilot, lambda: order() == before)
        await pilot.press("plus")
        await settle(pilot, lambda: store.job(job).priority == 1)
        assert order()[0] == job
        await settle(pilot, lambda: app.now.jobs[job].priority == 1)
        await pilot.press("minus")
        await settle(pilot, lambda: store.job(job).priority == 0)

    on_studio(tmp_path, steps)


def test_backend_of_several_and_undo(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        first = await at(app, pilot, "ночной")
        await pilot.press("space")
        second = await at(app, pilot, "grandmother")
        await pilot.press("space", "b")
        await settle(pilot, lambda: isinstance(app.screen, Choose))
        await pilot.press("j", "enter")
        await settle(pilot, lambda: {store.job(job).backend for job in (first, second)} != {"auto"})
        await settle(pilot, lambda: len({store.job(job).backend for job in (first, second)}) == 1)
        await settle(pilot, lambda: "undoes" in said(app))
        await pilot.press("u")
        await settle(pilot, lambda: {store.job(job).backend for job in (first, second)} == {"auto"})

    on_studio(tmp_path, steps)


def test_hold_the_queue(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        await pilot.press("H")
        await settle(pilot, lambda: store.runner().held)
        await settle(pilot, lambda: "paused" in str(app.screen.query_one("#trouble", Static).render()))
        await pilot.press("H")
        await settle(pilot, lambda: not store.runner().held)

    on_studio(tmp_path, steps)


def test_filter_sort_and_choose(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        table = app.screen.query_one(Queue)
        everything = len(table.jobs)
        await pilot.press("slash", *"glass")
        await settle(pilot, lambda: len(table.jobs) == 3)
        await pilot.press("enter", "a")
        assert len(table.chosen) == 3 and table.has_focus
        await pilot.press("escape")
        assert len(table.jobs) == everything and not table.chosen
        assert app.screen.query_one("#filter", Input).value == ""
        await pilot.press("slash", *"qqq", "enter")
        assert not table.jobs and "esc shows all" in str(app.screen.query_one("#empty", Static).render())
        await pilot.press("escape")
        ways = []
        for _ in range(4):
            ways.append([app.now.jobs[job].clip.path.name for job in table.jobs])
            await pilot.press("s")
        assert ways[2] == sorted(ways[2], key=str.casefold) and ways[0] not in ways[1:]

    on_studio(tmp_path, steps)


def test_paths_are_copied_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        job = await at(app, pilot, "swim")
        await pilot.press("y")
        assert app.clipboard == str(store.job(job).output)
        await pilot.press("o")
        await settle(pilot, lambda: "not there yet" in said(app))

    on_studio(tmp_path, steps)


def test_rooms_are_one_key_away(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        for key, name in (("2", "Cloud"), ("3", "Devices"), ("4", "Settings")):
            await pilot.press(key)
            await settle(pilot, lambda name=name: type(app.screen).__name__ == name)  # type: ignore[misc]
        await pilot.press("1")
        await settle(pilot, lambda: isinstance(app.screen, StudioScreen))
        await pilot.press("n")
        await settle(pilot, lambda: isinstance(app.screen, NewJob))
        await pilot.press("escape")
        await settle(pilot, lambda: isinstance(app.screen, StudioScreen))
        await pilot.press("enter")
        await settle(pilot, lambda: isinstance(app.screen, JobScreen))
        await pilot.press("question_mark")
        await settle(pilot, lambda: type(app.screen).__name__ == "Help")

    on_studio(tmp_path, steps)


def test_the_palette_knows_all_verbs(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        job = await at(app, pilot, "snow")
        await pilot.press("ctrl+p")
        await pilot.pause(0.3)
        await pilot.press(*"pause")
        await pilot.pause(0.5)
        await pilot.press("enter")
        await pilot.pause(0.1)
        await pilot.press("enter")
        await settle(pilot, lambda: store.job(job).desired is Desired.PAUSE)

    on_studio(tmp_path, steps)


@pytest.mark.parametrize(("key", "desired"), [("f", "drain"), ("s", "stop"), ("b", "run")])
def test_leaving_asks_what_becomes_of_the_work(tmp_path: Path, key: str, desired: str) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        await pilot.press("q")
        await settle(pilot, lambda: isinstance(app.screen, Quit))
        await pilot.press("escape", "q")
        await settle(pilot, lambda: isinstance(app.screen, Quit))
        await pilot.press(key)
        await settle(pilot, lambda: app._exit)
        assert store.runner().desired is RunnerDesired(desired)

    on_studio(tmp_path, steps, alive=True)


def test_leaving_asks_nothing_where_nobody_paints(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        await pilot.press("q")
        await settle(pilot, lambda: app._exit)

    on_studio(tmp_path, steps)


def test_a_runner_is_started_and_outlives_nothing_it_should_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLIZER_HOME", str(tmp_path))
    here = places(tmp_path)
    Store(here.store).close()

    async def run() -> None:
        async with studio(tmp_path, alive=False) as (app, pilot):
            with Store(here.store) as store:
                await pilot.press("w")
                await settle(pilot, lambda: app.now.alive, seconds=40)
                store.want_runner(RunnerDesired.STOP)
                await settle(pilot, lambda: not app.now.alive, seconds=20)

    asyncio.run(run())
    assert (here.logs / "runner.txt").exists()


def test_done_and_failed_ring_the_bell(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        rung: list[int] = []
        app.bell = lambda: rung.append(1)  # type: ignore[method-assign]
        rain = job_of(store, "rain").id
        store.move(rain, JobState.ASSEMBLING, "The chunks are put together.")
        store.move(rain, JobState.DONE, "rain is done.", finished_at=canned.NOON)
        await settle(pilot, lambda: "rain is done." in said(app))
        salt = job_of(store, "salt").id
        store.move(salt, JobState.FAILED, "It failed.", error="The [disk] is full.", finished_at=canned.NOON)
        await settle(pilot, lambda: "The [disk] is full." in said(app))
        assert len(rung) == 2

    on_studio(tmp_path, steps)


def test_a_budget_that_is_nearly_spent_is_told_once(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        salt = job_of(store, "salt")
        for spent in ("4.10", "4.20"):
            canned.Making(store, canned.Clock(), {}).paid(salt, spent, nodes=2, before=0.5)
            await settle(pilot, lambda spent=spent: str(app.now.money[salt.id][0].meter.spent) == spent)  # type: ignore[misc]
        await pilot.pause()
        assert said(app).count("80% of the money for salt flats, drone [raw].mp4") == 1

    on_studio(tmp_path, steps)


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    async def run() -> None:
        async with studio(tmp_path, (120, 40)) as (app, pilot):
            with Store(app.here.store) as store:
                odd = "a\x1b[31m [b]{c}[@click=x]\n.mp4"
                making = canned.Making(store, canned.Clock(), canned.draw_styles(tmp_path / "styles"))
                job = making.add(odd, 2, "sea glass", 1)
                await settle(pilot, lambda: job.id in app.now.jobs)
                await at(app, pilot, "a\x1b")
                await canned.calm(pilot)
                shown = canned.picture(app).replace("&#160;", " ")
                assert "a?[31m [b]{c}[@click=x]?.mp4" in shown and "[raw]" in shown

    asyncio.run(run())


def test_it_fits_everywhere(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        table = app.screen.query_one(Queue)
        for size in ((20, 6), (40, 12), (80, 24), (132, 30), (300, 90), (1, 1), (90, 30)):
            await pilot.resize_terminal(*size)
            await settle(pilot, lambda size=size: app.screen.size == size)  # type: ignore[misc]
            await pilot.pause()
            for y in range(table.size.height):
                assert table.render_line(y).cell_length == table.size.width
            for key in ("v", "G", "enter", "escape", "1"):
                await pilot.press(key)

    on_studio(tmp_path, steps)


def test_the_mouse_does_it_too(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        table = app.screen.query_one(Queue)
        await pilot.click(Queue, offset=(30, 2 * 8 + 1))
        assert table.cursor == 8 and not table.chosen
        await pilot.click(Queue, offset=(1, 2 * 5))
        assert table.cursor == 5 and table.chosen == {table.jobs[5]}
        shown = str(app.screen.query_one(Keys).render())
        await pilot.click(Keys, offset=(2 + shown.index("p Pause"), 0))
        await settle(pilot, lambda: store.job(table.jobs[5]).desired is Desired.PAUSE)
        await pilot.click(Queue, offset=(30, 0), times=2)
        await settle(pilot, lambda: isinstance(app.screen, JobScreen))
        chunks = app.screen.query_one(Chunks)
        await pilot.click(Chunks, offset=(7, 0))
        assert chunks.selected == 7

    on_studio(tmp_path, steps)


def test_an_empty_store_says_what_to_do(tmp_path: Path) -> None:
    Store(places(tmp_path).store).close()

    async def run() -> None:
        async with studio(tmp_path, (80, 24), alive=False) as (app, _):
            said = str(app.screen.query_one("#empty", Static).render())
            assert "n   makes a job" in said and "stylizer watch" in said

    asyncio.run(run())


def test_a_store_that_is_damaged_is_a_line_and_not_a_traceback(tmp_path: Path) -> None:
    here = places(tmp_path)
    here.store.write_text("this is no database, and long enough to be seen as none " * 20)

    async def run() -> None:
        app = Studio(here, clock=canned.Clock(), gauges=canned.Still, theme="night")
        async with app.run_test(size=(100, 30)) as pilot:
            await settle(pilot, lambda: "✕" in str(app.screen.query_one("#trouble", Static).render()))
            await pilot.press("H")
            await settle(pilot, lambda: "job store" in said(app))
            await pilot.press("q")

    asyncio.run(run())


def test_a_store_that_is_locked_is_told_when_something_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylizer.database.BUSY_SECONDS", 0.2)

    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        await at(app, pilot, "snow")
        other = sqlite3.connect(app.here.store, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        await pilot.press("p")
        await settle(pilot, lambda: "locked by another program" in said(app))
        other.execute("ROLLBACK")
        other.close()

    on_studio(tmp_path, steps)


def test_few_colours_and_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value, theme in (("TERM", "xterm", ""), ("NO_COLOR", "1", "night")):
        with monkeypatch.context() as patched:
            patched.setenv(name, value)

            async def run(theme: str = theme) -> None:
                async with studio(tmp_path, (100, 30), theme) as (app, _):
                    shown = canned.picture(app)
                    assert "rendering" in shown.replace("&#160;", " ") and "✕" in shown

            asyncio.run(run())
    assert os.environ.get("NO_COLOR") is None


def test_commands_and_keys_do_the_same(tmp_path: Path) -> None:
    """What the studio shows after a verb is what status says."""

    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        await at(app, pilot, "snow")
        await pilot.press("p")
        await settle(
            pilot,
            lambda: (
                {view.job.id: view.job.desired for view in views.status(store).jobs}
                == {job.id: job.desired for job in app.now.jobs.values()}
            ),
        )

    on_studio(tmp_path, steps)
