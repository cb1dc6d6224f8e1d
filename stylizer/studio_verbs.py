"""The commands that open the studio in the terminal. Joined into cli.py."""

# ruff: noqa: PLC0415 - Textual waits until it is needed

from __future__ import annotations

import sys
from contextlib import chdir
from typing import Annotated

import typer

from stylizer import console
from stylizer.config import Places
from stylizer.errors import ConfigError
from stylizer.options import PAINT, settings
from stylizer.store import Store

app = typer.Typer()


def _need_terminal() -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError("The studio needs a terminal.", hint="stylizer status --follow says the same in lines.")


def open_studio(here: Places, *arguments: str) -> None:
    """Open the studio, with `stylizer` and these arguments at work in the background. It outlives the studio; where
    another one runs the queue already it looks on, and takes over when that ends.
    """
    from tui.app import Studio
    from tui.desk import start_runner

    start_runner(here, *arguments)
    Studio(here).run()
    with Store(here.store, write=False) as store:
        if store.has_runner():
            console.talk("It goes on in the background. To look: stylizer tui. To end it: stylizer stop.")


@app.command(rich_help_panel=PAINT)
def tui() -> None:
    """The studio: everything that is queued and painted, in the terminal; from there new clips too."""
    from tui.app import Studio

    _need_terminal()
    Studio(settings()[1]).run()


@app.command(rich_help_panel=PAINT)
def demo(
    seed: Annotated[int, typer.Option(help="Another number, other luck.", show_default=False)] = 7,
) -> None:
    """The studio at work on imagined machines: nothing is painted, nothing costs, nothing is left behind."""
    from stylizer.demo import demo as imagined
    from stylizer.demo_gauges import ImaginedGauges
    from tui.app import Studio

    _need_terminal()
    console.talk("Setting up an imagined studio \u2026", "dim")
    # Where one is, a new job looks for clips: here that is beside the imagined ones.
    with imagined(seed) as here, chdir(here.store.parent):
        Studio(here, gauges=ImaginedGauges, passing=True).run()
