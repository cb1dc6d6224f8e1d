"""The commands that stay: watch a folder, work off the queue. Joined into cli.py."""

# ruff: noqa: PLC0415 - imports wait until they are needed

from __future__ import annotations

from typing import Annotated

import typer

from stylizer import console
from stylizer import options as o
from stylizer.options import PAINT, settings
from stylizer.store import Store

app = typer.Typer()


@app.command(rich_help_panel=PAINT)
def work(
    stay: Annotated[bool, typer.Option("--stay", help="Wait for more when the queue is empty.")] = False,
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """Work off the queue: whatever was queued, tried again or interrupted."""
    from stylizer.foreground import work_off
    from stylizer.runner import Runner

    config, here = settings()
    with Store(here.store) as store, console.Progress(as_json=as_json, quiet=quiet) as progress:
        interrupted = work_off(Runner(store, config, here), store, progress, None, stay=stay)
    raise typer.Exit(130 if interrupted else 0)
