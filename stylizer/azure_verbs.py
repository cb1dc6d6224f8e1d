"""The commands around Azure: set up, look, clean up. Joined into cli.py."""

from __future__ import annotations

import typer

app = typer.Typer(help="Rented GPUs: set up, look, clean up.", no_args_is_help=True)


@app.callback()
def azure() -> None:
    pass
