"""Takes the pictures of the studio for the README: the demo in both themes, as SVG.

    python -m examples.screens [FOLDER]

writes NAME-THEME.svg to FOLDER (docs/screens). What moves in the demo moves in the pictures too: each run is another moment.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path

from textual.widgets import Static

from stylizer.demo import demo
from stylizer.demo_gauges import ImaginedGauges
from stylizer.jobs import Job, JobState
from tui.app import Studio
from tui.screens.job import JobScreen
from tui.screens.new_job import NewJob

SIZE = (120, 36)
SCREENS = {"studio": (), "job": ("enter",), "fit": (), "cloud": ("2",), "devices": ("3",), "new": ()}
"""Keys that lead to each."""
DAY_TOO = ("studio",)
STYLE = "night over the valley.png"
SETTLED = 3.0
"""Seconds until a form knows what it was given."""
SECONDS = {"devices": 12.0, "job": 6.0, "fit": 1.5}
"""Until there is something to see, where that is more than a moment."""


async def take(studio: Studio, name: str) -> str:
    """A screen as SVG."""
    async with studio.run_test(size=SIZE) as pilot:
        while not studio.now.is_open:
            await pilot.pause(0.1)
        if name == "new":
            home = studio.here.store.parent
            studio.push_screen(NewJob(studio.here, home / "clips" / "kite festival, wide.mp4", [home / "styles" / STYLE]))
            await pilot.pause(SETTLED)
            await pilot.press("ctrl+r")
            while "for all" not in str(studio.screen.query_one("#sheet-said", Static).content):
                await pilot.pause(0.1)
        elif name == "fit":
            while not (number := half_fitted(studio.now.jobs.values())):
                await pilot.pause(0.1)
            studio.push_screen(JobScreen(number))
        else:
            await pilot.press(*SCREENS[name])
        await pilot.pause(SECONDS.get(name, 2.5))
        return studio.export_screenshot(title="stylizer")


def half_fitted(jobs: Iterable[Job]) -> int | None:
    """A job whose look has begun to show."""
    fitting = (job for job in jobs if job.state is JobState.FITTING and job.fit_total)
    return next((job.id for job in fitting if 0.3 < job.fit_done / job.fit_total < 0.7), None)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with demo() as here:
        for name in SCREENS:
            for theme in ("night", "day") if name in DAY_TOO else ("night",):
                studio = Studio(here, gauges=ImaginedGauges, theme=theme)
                drawn = asyncio.run(take(studio, name))
                path = folder / f"{name}-{theme}.svg"
                path.write_text(drawn, encoding="utf-8")
                print(path)  # noqa: T201  # the result


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "docs" / "screens")
