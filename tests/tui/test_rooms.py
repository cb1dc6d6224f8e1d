"""Settings, help, devices, the question at the end, and the small dialogs: driven by keys in the studio itself."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, Static

from stylizer import edit_config
from stylizer.config import Config, load_config
from stylizer.errors import ConfigError
from stylizer.gauges import Gauge
from stylizer.jobs import RunnerDesired
from stylizer.store import Store
from tests.jobs_for_tests import places
from tests.tui.canned import Clock, Still, fill
from tui.app import Studio
from tui.columns import fit, spark
from tui.screens.ask import Ask, Command
from tui.screens.devices import Devices, devices
from tui.screens.help import Help, entries
from tui.screens.quit import Leaving, Quit
from tui.screens.settings import Settings

Act = Callable[[Pilot[None], Studio], Awaitable[None]]


def drive(here: Path, act: Act, size: tuple[int, int] = (120, 36)) -> None:
    """Open the studio on the canned store and let `act` press keys."""

    async def run() -> None:
        app = Studio(fill(here), clock=Clock(), gauges=Still)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: app.now.is_open)
            await act(pilot, app)

    asyncio.run(run())


async def until(pilot: Pilot[None], condition: Callable[[], object], seconds: float = 60.0) -> None:
    for _ in range(round(seconds / 0.02)):
        if condition():
            return
        await pilot.pause(0.02)
    raise AssertionError("waited in vain")


def is_open(app: Studio, kind: type[Screen[Any]]) -> bool:
    """Whether such a screen is on top and all of it is there."""
    return isinstance(app.screen, kind) and app.screen.is_running and bool(app.screen.query(Static))


def shown(app: Studio, selector: str) -> str:
    return str(app.screen.query_one(selector, Static).content)


def test_a_setting_is_changed_and_comments_stay(tmp_path: Path) -> None:
    async def act(pilot: Pilot[None], app: Studio) -> None:
        app.here.config.write_text("# mine\n[look]\nbrush = 2.0  # big\n", encoding="utf-8")
        await pilot.press("4")
        await until(pilot, lambda: is_open(app, Settings))
        await pilot.press("j", "enter")
        app.screen.query_one("#value", Input).value = "3"
        await pilot.press("enter")
        text = app.here.config.read_text(encoding="utf-8")
        assert text.startswith("# mine\n[look]\nbrush = 3.0") or "brush = 3" in text
        assert "# big" in text
        # A switch turns at once, a word gives way to the next one.
        await pilot.press("j", "enter")
        await pilot.press("j", "enter")
        found = load_config(app.here.config).look
        assert (found.brush, found.keep_color, found.quality) == (3.0, True, "high")
        await pilot.press("d")
        assert load_config(app.here.config).look.quality == "standard"

    drive(tmp_path, act)


def test_what_does_not_fit_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    async def act(pilot: Pilot[None], app: Studio) -> None:
        before = app.here.config.read_text(encoding="utf-8")
        await pilot.press("4")
        await until(pilot, lambda: is_open(app, Settings))
        await pilot.press("enter", *"abc", "enter")
        assert "look.strength is a number" in shown(app, "#error")
        assert app.here.config.read_text(encoding="utf-8") == before
        await pilot.press("escape")
        assert shown(app, "#error") == ""
        assert isinstance(app.screen, Settings)
        await pilot.press("escape")
        assert not isinstance(app.screen, Settings)

    drive(tmp_path, act)


@pytest.mark.parametrize(
    ("name", "typed"), [("look.strength", "x"), ("place.burst", "sometimes"), ("run.retries", "1.5"), ("notify.to", "me")]
)
def test_a_wrong_value_leaves_the_file_as_it_was(tmp_path: Path, name: str, typed: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[look]\nbrush = 2.0\n", encoding="utf-8")
    setting = next(one for one in edit_config.settings(load_config(path)) if one.name == name)
    with pytest.raises(ConfigError, match=name):
        edit_config.change(path, setting, typed)
    assert path.read_text(encoding="utf-8") == "[look]\nbrush = 2.0\n"
    assert [one.name for one in tmp_path.iterdir()] == ["config.toml"]


def test_every_setting_is_explained_and_can_be_written_back(tmp_path: Path) -> None:
    found = edit_config.settings(Config())
    assert len({one.name for one in found}) == len(found) > 30
    assert all(one.about for one in found if one.section in ("look", "run", "place", "watch"))
    path = tmp_path / "config.toml"
    for one in found:
        edit_config.change(path, one, edit_config.written(one.value))
    assert load_config(path) == Config()
    for one in found:
        edit_config.forget(path, one)
    assert load_config(path) == Config()


def test_help_shows_the_keys_of_the_screen_below_first(tmp_path: Path) -> None:
    async def act(pilot: Pilot[None], app: Studio) -> None:
        below = app.screen
        await pilot.press("question_mark")
        await until(pilot, lambda: is_open(app, Help))
        parts = entries(below.active_bindings.values(), app)
        assert (parts[0][0], parts[-1][0]) == ("Here", "Everywhere")
        told = [what for _, found in parts for _, what in found]
        assert len(told) == len(set(told))
        assert {"New", "Help"} <= set(told)
        await pilot.press("escape")
        assert app.screen is below

    drive(tmp_path, act)


@pytest.mark.parametrize(("inbox", "words"), [("/a [b]/inbox", "watches /a [b]/inbox."), ("", "waits for clips.")])
def test_with_an_idle_runner_it_is_asked_too(tmp_path: Path, inbox: str, words: str) -> None:
    here = places(tmp_path)
    with Store(here.store) as store, store.runner_lock():
        store.begin_runner(4242, inbox)

        async def run() -> None:
            app = Studio(here, clock=Clock(), gauges=Still)
            async with app.run_test() as pilot:
                await until(pilot, lambda: app.now.is_open and app.now.alive)
                await pilot.press("q")
                await until(pilot, lambda: is_open(app, Quit))
                assert shown(app, ".about") == f"No chunk is being painted now; the runner {words}"
                await pilot.press("f")
                await until(pilot, lambda: store.runner().desired is RunnerDesired.DRAIN)

        asyncio.run(run())


@pytest.mark.parametrize(
    ("key", "answer"), [("f", Leaving.FINISH), ("s", Leaving.STOP), ("b", Leaving.BACKGROUND), ("escape", None)]
)
def test_the_question_at_the_end_has_four_answers(tmp_path: Path, key: str, answer: Leaving | None) -> None:
    async def act(pilot: Pilot[None], app: Studio) -> None:
        given: list[Leaving | None] = []
        app.push_screen(Quit(3, 2), given.append)
        await until(pilot, lambda: is_open(app, Quit))
        assert shown(app, ".about") == "3 chunks of 2 clips are being painted."
        await pilot.press(key)
        await until(pilot, lambda: given)
        assert given == [answer]

    drive(tmp_path, act)


def test_devices_show_what_they_paint_and_their_gauges(tmp_path: Path) -> None:
    async def act(pilot: Pilot[None], app: Studio) -> None:
        await pilot.press("3")
        await until(pilot, lambda: is_open(app, Devices) and "RTX 4090" in shown(app, "#devices"))
        text = shown(app, "#devices")
        assert "harbour at dusk.mp4 · chunk 25" in text
        assert "46.1 fps at 1920 x 1080" in text
        assert "9.4 GB of 25 GB" in text and "71 °C" in text and "338 W" in text
        assert "3 rented machines paint too" in text
        assert all(len(line) <= 120 for line in text.splitlines())

    drive(tmp_path, act)


def test_a_device_without_gauges_is_shown_where_it_paints() -> None:
    cpu = Gauge("cpu", "A processor", 0.5, 1, 2)
    assert [one.label for one in devices((cpu,), (), ())] == ["cpu (A processor)"]


def test_what_is_unknown_is_said(tmp_path: Path) -> None:
    class Silent(Still):
        def read(self) -> tuple[Gauge, ...]:
            return (Gauge("cuda:0", "NVIDIA RTX 4090"),)

    async def run() -> None:
        app = Studio(fill(tmp_path), clock=Clock(), gauges=Silent)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("3")
            await until(pilot, lambda: is_open(app, Devices) and "unknown" in shown(app, "#devices"))

    asyncio.run(run())


def test_enter_alone_says_no_to_what_destroys(tmp_path: Path) -> None:
    async def act(pilot: Pilot[None], app: Studio) -> None:
        given: list[str | None] = []
        for key in ("enter", "n", "y"):
            app.push_screen(Ask("Burn it?", "All of it.", yes="Burn"), given.append)
            await until(pilot, lambda: is_open(app, Ask))
            await pilot.press(key)
        assert given == [None, None, "yes"]
        app.push_screen(Ask("How many?", "", yes="Take", value="4"), given.append)
        await until(pilot, lambda: is_open(app, Ask))
        await pilot.press("end", "2", "enter")
        assert given[-1] == "42"

    drive(tmp_path, act)


def test_a_command_is_shown_as_it_speaks(tmp_path: Path) -> None:
    async def act(pilot: Pilot[None], app: Studio) -> None:
        given: list[int | None] = []
        program = "import sys; print('[bold]one[/]'); print('two', file=sys.stderr); sys.exit(3)"
        app.push_screen(Command([sys.executable, "-c", program], "a command"), given.append)
        await until(pilot, lambda: is_open(app, Command) and "exit code 3" in shown(app, "#end"))
        assert shown(app, "#spoken").splitlines() == ["[bold]one[/]", "two"]
        await pilot.press("escape")
        assert given == [3]

    drive(tmp_path, act)


def test_columns_count_cells() -> None:
    assert fit("舞踏 rehearsal", 8) == "舞踏 re…"
    assert fit("ab", -4) == "  ab"
    assert fit("a\x1b[31mb", 8) == "a?[31mb "
    assert fit("abc", 0) == ""
    assert spark([0.0, None, 1.0], 5) == "▁·█  "
