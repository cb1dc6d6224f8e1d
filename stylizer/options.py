"""The options of the command line, each declared once."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from stylizer.config import Config, Places, load_config, places
from stylizer.errors import ConfigError

PAINT, QUEUE, KNOW, CLOUD = "Paint", "Queue", "Know", "Cloud"
"""Panels of the commands."""

LOOK, FILE, WHERE, TALK = "Look", "Output", "Machine", "Talk"
"""Panels of the options."""


def _look(text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, show_default=False, rich_help_panel=LOOK)


def _file(text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, show_default=False, rich_help_panel=FILE)


def _where(text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, show_default=False, rich_help_panel=WHERE)


SOURCE = "A clip, a picture, or a folder of numbered pictures."

Sources = Annotated[list[Path], typer.Argument(help=SOURCE, show_default=False)]
Source = Annotated[Path, typer.Argument(help=SOURCE, show_default=False)]
Styles = Annotated[list[Path], _look("A style picture; several are blended.", "--style", "-s")]
EachStyle = Annotated[list[Path], _look("A style picture; several become a row each.", "--style", "-s")]
Blend = Annotated[str, _look("The share of each style, as 0.7,0.3.", "--blend")]
Strength = Annotated[float | None, _look("0 is the photograph, 1 the painting.", "--strength")]
Brush = Annotated[float | None, _look("Size of the strokes, 0.25 to 4.", "--brush")]
KeepColor = Annotated[bool | None, _look("Keep the clip's own colours.", "--keep-color/--no-keep-color")]
Quality = Annotated[str, _look("draft, standard, high; reference for stills and short clips.", "--quality")]
Teacher = Annotated[Path | None, _look("VGG-16 for --quality reference, safetensors; it is kept.", "--teacher")]
Size = Annotated[int | None, _look("Long side in pixels; 0 is the source's.", "--size")]
Seed = Annotated[int | None, _look("Another number, another hand.", "--seed")]
Output = Annotated[Path | None, _file("A file or folder; beside the source by default.", "--output", "-o")]
Codec = Annotated[str, _file("h264, hevc, av1, vp9, prores, …; what suits the container by default.", "--codec")]
Crf = Annotated[int | None, _file("Lower is finer and bigger; what suits the codec by default.", "--crf")]
Again = Annotated[bool, _file("Paint anew, even what is done already.", "--again")]
Device = Annotated[str, _where("auto, cpu, mps, cuda:0, …", "--device")]
Precision = Annotated[str, _where("auto, fp32, bf16 or fp16.", "--precision")]
BackendName = Annotated[str, _where("auto, local, …", "--backend")]
Burst = Annotated[str, _where("never, when-late or always: when the cloud helps.", "--burst")]
Deadline = Annotated[float | None, _where("Hours after which it should be done.", "--deadline")]
MaxCost = Annotated[float | None, _where("Money that rented machines may cost for each clip.", "--max-cost")]
Priority = Annotated[int | None, _where("Higher goes first; 0 by default.", "--priority")]
Nodes = Annotated[int | None, _where("Rent at most so many machines.", "--nodes")]
Spot = Annotated[bool | None, _where("Rent cheap machines that may be taken away.", "--spot/--no-spot")]
VmSize = Annotated[str, _where("Size of rented machines: Standard_NC4as_T4_v3, …", "--vm-size")]
Region = Annotated[str, _where("Where machines are rented: eastus, …; the account's own by default.", "--region")]
Pool = Annotated[str, _where("A pool of rented machines to use and keep.", "--pool")]
WhenDone = Annotated[str, typer.Option("--when-done", help="A command to run with each painted file.", rich_help_panel=TALK)]
AsJson = Annotated[bool, typer.Option("--json", help="Speak JSON.", rich_help_panel=TALK)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.", rich_help_panel=TALK)]
Jobs = Annotated[list[int] | None, typer.Argument(help="Job numbers, as in status.", metavar="JOB…", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", help="However long it takes.", rich_help_panel=WHERE)]
Job = Annotated[int, typer.Argument(help="Job number, as in status.", metavar="JOB", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="Every job that this can be done to.")]


def settings() -> tuple[Config, Places]:
    """The config in force, and where our files live. ConfigError if the config is not understood."""
    here = places()
    return load_config(here.config), here


def one_of(option: str, value: str, known: Sequence[str]) -> str:
    """`value` if it is known; else a ConfigError that names the nearest."""
    if value in known:
        return value
    near = difflib.get_close_matches(value, known, n=1)
    raise ConfigError(
        f"--{option} {value!r} is not one of {', '.join(known)}.", hint=f"Did you mean {near[0]}?" if near else ""
    )
