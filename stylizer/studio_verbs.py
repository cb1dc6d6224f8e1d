"""The commands that open the studio in the terminal. Joined into cli.py."""

from __future__ import annotations

import typer

app = typer.Typer()
