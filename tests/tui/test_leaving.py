"""A room is left while an answer is on its way to it: the answer is dropped, and nothing breaks."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from textual.pilot import Pilot
from textual.widgets import Input

from stylizer import video
from stylizer.store import Store
from tests.media import make_clip
from tests.tui.test_rooms import drive, is_open, shown, until
from tui.app import Studio
from tui.screens import job, new_job, output_form, sheet
from tui.screens.ask import Command
from tui.screens.job import JobScreen
from tui.screens.new_job import NewJob
from tui.screens.studio import StudioScreen

FOREVER = [sys.executable, "-c", "import sys; print('begun', flush=True); sys.stdin.read() or __import__('time').sleep(600)"]
"""A command that says something and is not done before it is killed."""
PATIENCE = 60.0


class Gate:
    """Calls of a function are held up: `entered` says that one has come, `open` lets all of them go on."""

    def __init__(self, act: Callable[..., Any]) -> None:
        self._act = act
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, *values: Any, **named: Any) -> Any:
        self.entered.set()
        assert self.open.wait(PATIENCE)
        return self._act(*values, **named)


@contextmanager
def gate(monkeypatch: pytest.MonkeyPatch, where: object, name: str) -> Iterator[Gate]:
    held = Gate(getattr(where, name))
    monkeypatch.setattr(where, name, held)
    try:
        yield held
    finally:
        held.open.set()


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    make_clip(folder / "clip.mp4")
    Image.effect_noise((80, 60), 90).convert("RGB").save(folder / "art.png")
    return folder


async def quiet(pilot: Pilot[None], app: Studio) -> None:
    """All that was under way has ended."""
    await until(pilot, lambda: not [one for one in app.workers if not one.is_finished], PATIENCE)
    await pilot.pause()


async def fill_form(pilot: Pilot[None], app: Studio, media: Path) -> None:
    app.push_screen(NewJob(app.here))
    await until(pilot, lambda: is_open(app, NewJob), PATIENCE)
    app.screen.query_one("#clip", Input).value = str(media / "clip.mp4")
    app.screen.query_one("#style-path", Input).value = str(media / "art.png")


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (video, "probe"),
        (new_job, "known_styles"),
        (new_job, "make_look"),
        (output_form, "target"),
        (sheet, "load_style"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_form_is_left_before_its_thread_answers(
    tmp_path: Path, media: Path, monkeypatch: pytest.MonkeyPatch, where: object, name: str
) -> None:
    monkeypatch.setattr(new_job, "command", lambda clip, look: [sys.executable, "-c", "print('{}')"])

    async def act(pilot: Pilot[None], app: Studio) -> None:
        with gate(monkeypatch, where, name) as held:
            await fill_form(pilot, app, media)
            await until(pilot, held.entered.is_set, PATIENCE)
            await pilot.press("escape")
            assert isinstance(app.screen, StudioScreen)
            held.open.set()
            await quiet(pilot, app)

    drive(tmp_path, act)


@pytest.mark.parametrize("what", ["estimate", "preview asked for", "preview unasked"])
def test_a_form_is_left_before_its_command_answers(
    tmp_path: Path, media: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    quick = [sys.executable, "-c", "print('{}')"]
    monkeypatch.setattr(new_job, "command", lambda clip, look: FOREVER if what == "estimate" else quick)
    monkeypatch.setattr(sheet, "command", lambda clip, look, target: FOREVER)
    monkeypatch.setattr(sheet, "CALM", 0.01 if what == "preview unasked" else 1e6)

    async def act(pilot: Pilot[None], app: Studio) -> None:
        await fill_form(pilot, app, media)
        said = {"estimate": ("#basis", "Asking")}.get(what, ("#sheet-said", "Painting"))
        await until(
            pilot, lambda: "art.png" in shown(app, "#style-said") and "64 x 48" in shown(app, "#clip-said"), PATIENCE
        )
        if what == "preview asked for":
            await pilot.press("ctrl+r")
        await until(pilot, lambda: said[1] in shown(app, said[0]), PATIENCE)
        await pilot.press("escape")
        assert isinstance(app.screen, StudioScreen)
        await quiet(pilot, app)

    drive(tmp_path, act)


@pytest.mark.parametrize(("where", "name"), [(job.frames, "load_style"), (Store, "events")], ids=["picture", "history"])
def test_a_job_is_left_before_its_thread_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: object, name: str
) -> None:
    async def act(pilot: Pilot[None], app: Studio) -> None:
        number = next(one.id for one in app.now.jobs.values() if one.clip.path.name.startswith("snow"))
        if name == "events":
            # The feed reads events too: only the room's own reading, of one job, is held up.
            read, held = Store.events, Gate(lambda: None)

            def events(store: Store, *values: Any, **named: Any) -> Any:
                if "job" in named:
                    held()
                return read(store, *values, **named)

            monkeypatch.setattr(Store, "events", events)
        else:
            held = Gate(getattr(where, name))
            monkeypatch.setattr(where, name, held)
        try:
            app.push_screen(JobScreen(number))
            await until(pilot, held.entered.is_set, PATIENCE)
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, StudioScreen), PATIENCE)
        finally:
            held.open.set()
        await quiet(pilot, app)

    drive(tmp_path, act)


def test_a_command_is_left_alone_while_it_speaks(tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = (
        f"import pathlib,time\nprint('begun', flush=True)\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(.02)\n"
    )
    script += "print('ended', flush=True)"

    async def act(pilot: Pilot[None], app: Studio) -> None:
        app.push_screen(Command([sys.executable, "-c", script], "Cleaning up"))
        await until(pilot, lambda: is_open(app, Command) and "begun" in shown(app, "#spoken"), PATIENCE)
        await pilot.press("escape")
        assert isinstance(app.screen, StudioScreen)
        go.touch()
        await quiet(pilot, app)
        await asyncio.sleep(0)

    drive(tmp_path, act)
