"""The job screen: chunks, pictures, numbers, history and logs of one job; and what these are made of."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import Static

from stylizer.files import glimpse_of
from stylizer.jobs import Chunk, ChunkState, FrameRange, JobState
from stylizer.store import Store
from stylizer.video import probe
from tests.media import make_clip, scene
from tests.tui import canned
from tests.tui.canned import check_picture, settle, studio
from tui import words
from tui.app import Studio
from tui.screens.ask import Ask
from tui.screens.job import JobScreen
from tui.screens.studio import StudioScreen
from tui.widgets import frames, meters, strip
from tui.widgets.chunks import Chunks
from tui.widgets.keys import Keys
from tui.widgets.log import Lines, LogFile
from tui.widgets.picture import sharp

Steps = Callable[[Studio, Pilot[None], Store], Coroutine[Any, Any, None]]


async def open_job(app: Studio, pilot: Pilot[None], name: str) -> int:
    job = next(job.id for job in app.now.jobs.values() if job.clip.path.name.startswith(name))
    app.push_screen(JobScreen(job))
    await settle(pilot, lambda: any(lines._lines for lines in app.screen.query(Lines)))
    assert isinstance(app.screen, JobScreen)
    return job


def on_job(root: Path, name: str, steps: Steps, size: tuple[int, int] = (120, 40)) -> None:
    async def run() -> None:
        async with studio(root, size, alive=False) as (app, pilot):
            await open_job(app, pilot, name)
            with Store(app.here.store) as store:
                await steps(app, pilot, store)

    asyncio.run(run())


def text(app: Studio, which: str) -> str:
    return str(app.screen.query_one(which, Static).render())


@pytest.mark.parametrize("theme", ["night", "day"])
@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_it_looks_as_it_should(tmp_path: Path, size: tuple[int, int], theme: str) -> None:
    async def run() -> None:
        async with studio(tmp_path, size, theme) as (app, pilot):
            await open_job(app, pilot, "salt")
            await pilot.press("right")
            await settle(pilot, lambda: app.screen._pair is not None)  # type: ignore[attr-defined]
            await canned.calm(pilot)
            check_picture(app, f"job-{size[0]}x{size[1]}-{theme}")

    asyncio.run(run())


def test_its_room_fits_everywhere(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        for size in ((60, 15), (200, 50), (40, 10), (300, 90), (80, 24), (120, 36)):
            await pilot.resize_terminal(*size)
            await settle(pilot, lambda size=size: app.screen.size == size)  # type: ignore[misc]
            await pilot.pause()
            assert app.screen.query_one(Keys).region.bottom == size[1] and app.screen.query_one("#head").region.y == 0
            await settle(pilot, lambda size=size: max(map(cell_len, text(app, "#head").splitlines())) <= size[0])  # type: ignore[misc]
            assert "salt" in text(app, "#head")

    on_job(tmp_path, "salt", steps)


def test_arrows_choose_a_chunk_and_tell_of_it(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        chunks = app.screen.query_one(Chunks)
        await pilot.press("right")
        assert chunks.selected == 41, "the first that is not done"
        await settle(pilot, lambda: "chunk 41" in text(app, "#chunk") and "rendering" in text(app, "#chunk"))
        assert "azure-1c19" in text(app, "#chunk") and "60 of 240 painted" in text(app, "#chunk")
        await pilot.press("left")
        assert chunks.selected == 40
        await pilot.press("end")
        assert chunks.selected == 89
        await pilot.press("home", "right")
        assert chunks.selected == 1
        await pilot.press("escape")
        assert chunks.selected is None
        await pilot.press("escape")
        await settle(pilot, lambda: isinstance(app.screen, StudioScreen))

    on_job(tmp_path, "salt", steps)


def test_the_next_failed_chunk_and_its_error(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        await pilot.press("e")
        await settle(pilot, lambda: "chunk 5" in text(app, "#chunk"))
        assert "3 failures" in text(app, "#chunk") and "Frame 1204 cannot be decoded" in text(app, "#chunk")
        assert "Frame 1204" in text(app, "#meters")

    on_job(tmp_path, "half", steps)


def test_a_chunk_is_painted_anew(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        job = app.screen.job.id  # type: ignore[attr-defined]
        await pilot.press("home", "R")
        await settle(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("y")
        await settle(pilot, lambda: store.chunk(job, 0).state is ChunkState.READY)
        assert store.chunk(job, 0).attempt == 2 and store.chunk(job, 1).state is ChunkState.DONE
        assert store.job(job).state is JobState.QUEUED

    on_job(tmp_path, "half", steps)


def test_verbs_are_for_this_job(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        job = app.screen.job.id  # type: ignore[attr-defined]
        await pilot.press("p")
        await settle(pilot, lambda: store.job(job).desired == "pause")
        await pilot.press("u")
        await settle(pilot, lambda: store.job(job).desired == "run")
        await pilot.press("x", "y")
        await settle(pilot, lambda: store.job(job).state is JobState.CANCELLED)
        await settle(pilot, lambda: app.now.jobs[job].state is JobState.CANCELLED)
        await pilot.press("delete", "y")
        await settle(pilot, lambda: not store.has_job(job))
        await settle(pilot, lambda: isinstance(app.screen, StudioScreen))

    on_job(tmp_path, "harbour", steps)


def test_money_against_its_limit(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        await settle(pilot, lambda: "2.14 USD" in text(app, "#meters"))
        assert "4.41/h" in text(app, "#meters") and "43% of 5.00" in text(app, "#meters")

    on_job(tmp_path, "salt", steps)


def test_the_picture_takes_shape_while_the_look_is_fitted(tmp_path: Path) -> None:
    checkpoint = tmp_path / "cache" / "look.safetensors"
    path = glimpse_of(checkpoint)

    def write(colour: tuple[int, int, int], at: float) -> None:
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 48), colour).save(path, comment=b"7")
        os.utime(path, (at, at))

    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        screen = app.screen
        assert isinstance(screen, JobScreen) and screen.job

        def colour() -> tuple[int, ...]:
            pair = screen._pair
            return tuple(pair.after[24, 32]) if pair and pair.after is not None else ()

        await settle(pilot, lambda: screen._pair and screen._pair.said == "the style")
        store.change(screen.job.id, checkpoint=checkpoint)
        write((200, 30, 30), 1000)
        await settle(pilot, lambda: screen.job and screen.job.checkpoint == checkpoint)
        screen._look()
        await settle(pilot, lambda: screen._pair and screen._pair.said == "taking shape")
        assert colour()[0] > 150 and screen._pair and screen._pair.frame == 7
        write((30, 30, 200), 2000)
        screen._look()
        await settle(pilot, lambda: colour()[2] > 150)
        # Cut off in the middle, as from a full disk: the last one stays.
        path.write_bytes(path.read_bytes()[:100])
        screen._look()
        await pilot.press("escape")

    on_job(tmp_path, "Lucía", steps)


def test_the_fit_is_shown_while_it_goes_on(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        job = app.screen.job.id  # type: ignore[attr-defined]
        await settle(pilot, lambda: "step 120 of 200" in text(app, "#meters"))
        store.change(job, fit_done=150)
        await settle(pilot, lambda: "step 150 of 200" in text(app, "#meters"))
        await settle(pilot, lambda: "the style" in text(app, "#after .caption"))

    on_job(tmp_path, "Lucía", steps, (130, 44))


def test_a_log_grows_is_searched_and_followed(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        log = app.here.logs / f"{app.screen.chosen.id}.log"  # type: ignore[attr-defined]
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(f"line {n}\n" for n in range(200)) + "a [b]needle[/b] \x1b[31m\n", encoding="utf-8")
        await pilot.press("l")
        lines = app.screen.query_one(Lines)
        await settle(pilot, lambda: len(lines._lines) == 201)
        assert lines._lines[-1][1] == "a [b]needle[/b] ?[31m"
        await settle(pilot, lambda: lines.scroll_offset.y == lines.max_scroll_y > 0)
        with log.open("a", encoding="utf-8") as stream:
            stream.write("one more\nhalf a li")
        await settle(pilot, lambda: lines._lines[-1][1] == "half a li")
        await settle(pilot, lambda: lines.scroll_offset.y == lines.max_scroll_y)
        await pilot.press("slash", *"line 7", "enter")
        await settle(pilot, lambda: lines._at == 79 and not lines.following)
        await pilot.press("n")
        assert lines._at == 7, "from the end it goes on at the start"
        await pilot.press("N")
        assert lines._at == 79
        await pilot.press("f")
        await settle(pilot, lambda: lines.scroll_offset.y == lines.max_scroll_y)
        await pilot.press("l")
        await settle(pilot, lambda: "History" in text(app, "#heading"))

    async def chosen(app: Studio, pilot: Pilot[None], store: Store) -> None:
        await pilot.press("home")
        await steps(app, pilot, store)

    on_job(tmp_path, "half", chosen)


def test_history_comes_as_it_happens(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        lines = app.screen.query_one(Lines)
        job = app.screen.job.id  # type: ignore[attr-defined]
        store.note(job, 3, "log", "Traceback\n  of a worker")
        await settle(pilot, lambda: lines._lines[-2:][0][1] == "Traceback" and "of a worker" in lines._lines[-1][1])
        store.note(job + 1, None, "note", "Not for us.")
        store.note(job, None, "note", "For us.")
        await settle(pilot, lambda: lines._lines[-1][1] == "For us.")
        assert "Not for us." not in [line[1] for line in lines._lines]

    on_job(tmp_path, "salt", steps)


def test_before_and_after_are_the_same_frame(tmp_path: Path) -> None:
    """A real clip and real chunk files: the newest painted frame stands beside the source's frame of that number."""
    source = make_clip(tmp_path / "clip.mp4", times=range(24), options={"crf": "1"})
    painted = make_clip(tmp_path / "chunk.nut", times=range(12), codec="ffv1", options={}, pixel_format="yuv444p")
    clip = probe(source)
    assert clip.frames == 24
    job = replace(_job(tmp_path), clip=clip, state=JobState.RENDERING)
    chunks = [
        replace(_chunk(0, ChunkState.DONE), output=tmp_path / "gone.nut", finished_at=1.0),
        replace(_chunk(1, ChunkState.DONE), frames=FrameRange(12, 24), output=painted, finished_at=2.0),
        _chunk(2, ChunkState.RUNNING),
    ]
    what = frames.wanted(job, chunks)
    assert what and what.frame == 12 and what.path == painted
    pair = frames.load(what)
    assert pair.before is not None and pair.after is not None
    assert pair.before.shape == pair.after.shape == (48, 64, 3)
    assert np.abs(pair.before.astype(int) - scene(64, 48, 12)).mean() < 6
    assert np.abs(pair.after.astype(int) - scene(64, 48, 0)).mean() < 6
    chosen = frames.wanted(job, chunks, chunks[0])
    assert chosen and chosen.frame == 0 and frames.load(chosen).after is None


def test_a_job_that_is_done_shows_its_output(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", times=range(10))
    job = replace(_job(tmp_path), clip=probe(source), output=source, state=JobState.DONE)
    what = frames.wanted(job, [])
    assert what and what.frame == 5
    pair = frames.load(what)
    assert pair.before is not None and pair.after is not None and np.array_equal(pair.before, pair.after)


def test_pictures_are_shown_where_there_is_room(tmp_path: Path) -> None:
    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        await settle(pilot, lambda: "▀" in text(app, "#after .pixels"))
        await pilot.resize_terminal(80, 24)
        await settle(pilot, lambda: not app.screen.query_one("#pictures").display)
        await pilot.press("i")
        await settle(pilot, lambda: type(app.screen).__name__ == "Large")

    on_job(tmp_path, "salt", steps, (140, 44))


def test_thousands_of_chunks_stay_readable(tmp_path: Path) -> None:
    chunks = {n: _chunk(n, ChunkState.DONE) for n in range(10_000)}
    chunks[5003] = _chunk(5003, ChunkState.FAILED)
    chunks[7000] = replace(_chunk(7000, ChunkState.RUNNING), frames_done=12)
    chunks |= {n: _chunk(n, ChunkState.READY) for n in range(9000, 9007)}
    found = strip.cells(chunks, 480)
    assert len(found) <= 480 and sum(cell.stop - cell.first for cell in found) == 10_000
    states = [cell.state for cell in found]
    assert states.count(ChunkState.FAILED) == 1 and states.count(ChunkState.RUNNING) == 1, "what is wrong is never hidden"
    partly = [cell for cell in found if cell.state is ChunkState.READY]
    assert len(partly) == 1 and partly[0].fill == pytest.approx(14 / 21)
    assert all(cell.fill == 1 for cell in found if cell.state is ChunkState.DONE)
    assert strip.legend(found) == "a cell is 21 chunks"
    assert [cell.state for cell in strip.cells({n: chunks[n] for n in range(5)}, 480)] == [ChunkState.DONE] * 5


def test_throughput_counts_every_frame_once() -> None:
    chunks = [replace(_chunk(n, ChunkState.DONE), fps=12.0, finished_at=100.0 + n) for n in range(20)]
    values = meters.throughput(chunks, 98.0, 130.0, 16)
    assert sum(values) * 2 == pytest.approx(20 * 24, rel=0.02)
    assert max(values) == pytest.approx(24.0, rel=0.01), "two at a time"
    assert values[-2:] == [0.0, 0.0]


def test_numbers_have_one_width_and_a_unit() -> None:
    for seconds in (0, 9.6, 59.4, 60, 3599, 3600, 86399, 86400, 9e6):
        assert 0 < len(words.span(seconds)) <= 7
    for fps in (0.04, 9.96, 99.95, 999.94, 1000, 12345):
        assert 0 < len(words.rate(fps)) <= 9
    assert words.percent(0.9999) == "99%" and words.percent(1.0) == "100%"
    for share in (0.0, 0.001, 0.5, 0.999, 1.0):
        done, left = words.bar(share, 10)
        assert len(done + left) == 10
        assert bool(done) == (share > 0) and (not left or share < 1)


def test_only_terminals_that_are_known_are_asked_for_graphics() -> None:
    for environment in ({"TERM": "xterm-256color"}, {"TERM": "xterm-kitty", "TMUX": "1"}, {"TERM": "dumb"}):
        assert sharp(environment) is None
    # Under pytest there is no terminal at all to ask.
    assert sharp({"TERM": "xterm-kitty"}) is None or sys.stdout.isatty()


def test_a_log_that_is_cut_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    log = LogFile(path)
    assert log.read() is None
    path.write_text("one\ntwo\r3 of 9\rthree\nfour", encoding="utf-8")
    assert log.read() == ["one", "three", "four"]
    path.write_text("new\n", encoding="utf-8")
    assert log.read() == ["new"]


def _job(root: Path) -> Any:
    here = canned.fill(root / "canned")
    with Store(here.store, write=False) as store:
        return store.jobs()[0]


def _chunk(index: int, state: ChunkState) -> Chunk:
    return Chunk(
        1, index, FrameRange(24 * index, 24 * index + 24), state, "local", 1, 0, 0, 0.0, "", "", None, "", None, None
    )
