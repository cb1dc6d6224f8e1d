"""Every room at two sizes in both themes, on the canned store with its frozen clock."""

import asyncio
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.canned import calm, check_picture, studio
from tests.tui.test_rooms import is_open, shown, until
from tui.app import Studio
from tui.screens.cloud import Cloud
from tui.screens.devices import Devices
from tui.screens.help import Help
from tui.screens.new_job import NewJob
from tui.screens.quit import Quit
from tui.screens.settings import Settings

SIZES = {"80x24": (80, 24), "160x48": (160, 48)}


async def cloud(app: Studio, pilot: Pilot[None]) -> None:
    await pilot.press("2")
    await until(pilot, lambda: is_open(app, Cloud) and "salt" in shown(app, "#nodes"))


async def devices(app: Studio, pilot: Pilot[None]) -> None:
    await pilot.press("3")
    await until(pilot, lambda: is_open(app, Devices) and "RTX" in shown(app, "#devices"))


async def settings(app: Studio, pilot: Pilot[None]) -> None:
    await pilot.press("4")
    await until(pilot, lambda: is_open(app, Settings))
    await pilot.press("left", "down", "down", "down", "right")


async def new(app: Studio, pilot: Pilot[None]) -> None:
    await pilot.press("n")
    await until(pilot, lambda: is_open(app, NewJob) and app.screen.query("#styles")[0].option_count >= 5)  # type: ignore[attr-defined]
    # A cursor that blinks is no picture.
    app.screen.set_focus(None)


async def keys(app: Studio, pilot: Pilot[None]) -> None:
    await pilot.press("question_mark")
    await until(pilot, lambda: is_open(app, Help))


async def leave(app: Studio, pilot: Pilot[None]) -> None:
    await pilot.press("q")
    await until(pilot, lambda: is_open(app, Quit))


@pytest.mark.parametrize("theme", ["night", "day"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("room", [cloud, devices, settings, new, keys, leave], ids=lambda room: room.__name__)
def test_it_looks_as_it_should(room, size: str, theme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def run() -> None:
        async with studio(tmp_path, SIZES[size], theme) as (app, pilot):
            await room(app, pilot)
            await calm(pilot)
            check_picture(app, f"{room.__name__}-{size}-{theme}")

    asyncio.run(run())
