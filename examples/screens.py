"""Takes the pictures of the studio for the README: the demo in both themes, as SVG.

    python -m examples.screens [FOLDER]

writes NAME-THEME.svg to FOLDER (docs/screens). What moves in the demo moves in the pictures too: each run is another moment.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from stylizer.demo import demo
from stylizer.demo_gauges import ImaginedGauges
from tui.app import Studio
from tui.screens.new_job import NewJob

SIZE = (120, 36)
SCREENS = {"studio": (), "job": ("enter",), "cloud": ("2",), "devices": ("3",), "new": (), "help": ("question_mark",)}
"""Keys that lead to each."""
STYLE = "night over the valley.png"
SECONDS = {"devices": 12.0, "job": 6.0, "new": 8.0}
"""Until there is something to see, where that is more than a moment."""


async def take(studio: Studio, name: str) -> str:
    """A screen as SVG."""
    async with studio.run_test(size=SIZE) as pilot:
        while not studio.now.is_open:
            await pilot.pause(0.1)
        if name == "new":
            home = studio.here.store.parent
            studio.push_screen(NewJob(studio.here, home / "clips" / "kite festival, wide.mp4", [home / "styles" / STYLE]))
        else:
            await pilot.press(*SCREENS[name])
        await pilot.pause(SECONDS.get(name, 2.5))
        return studio.export_screenshot(title="stylizer")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with demo() as here:
        for name in SCREENS:
            for theme in ("night", "day"):
                studio = Studio(here, gauges=ImaginedGauges, theme=theme)
                drawn = asyncio.run(take(studio, name))
                path = folder / f"{name}-{theme}.svg"
                path.write_text(drawn, encoding="utf-8")
                print(path)  # noqa: T201  # the result


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "docs" / "screens")
