"""`stylizer bench`: how fast this machine is, measured, drawn and kept for every estimate. Joined into cli.py."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import typer
from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from stylizer import console, screen
from stylizer import options as o
from stylizer.errors import JobFailed
from stylizer.estimate import FIT_STEPS
from stylizer.jobs import Quality
from stylizer.options import KNOW, settings
from stylizer.speeds import Bench, DeviceSpeed, Speed
from stylizer.store import Store
from stylizer.wire import pack, unpack

app = typer.Typer()

BUSY = 0.25
"""Share of the processor taken by others from which on figures are too low."""
FILM = 24
"""Frames a second."""
WIDTH = 110
"""Characters, at most."""


@app.command(rich_help_panel=KNOW)
def bench(device: o.Device = "", as_json: o.AsJson = False, quiet: o.Quiet = False) -> None:
    """Measure this machine, in under a minute; every estimate then rests on it."""
    config, here = settings()
    with console.Bar("bench", shown=not as_json and not quiet) as bar:

        def tell(part: str, passed: float, left: float) -> None:
            words = f"{part}, about {screen.duration(left)} to go" if left else part
            bar.update(round(10 * passed), round(10 * (passed + left)), words)

        found = measured(device or config.run.device, tell)
    with Store(here.store) as store:
        for one in found.measurements():
            store.measure(one, share=1.0)
    if as_json:
        console.answer(**pack(found))
    elif not quiet:
        console.show(drawn(found))
        for words in _remarks(found):
            console.talk(words, "yellow")
        console.talk("Every estimate rests on this from now on, and on each chunk that is painted.", "dim")


def measured(device: str, tell: Callable[[str, float, float], None]) -> Bench:
    """What a process of its own finds out about this machine. `tell` hears of each part, with the seconds that have passed
    and that are left. JobFailed says why there is nothing.
    """
    command = [sys.executable, "-P", "-m", "stylizer.bench", device]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout and process.stderr
        try:
            tell("loading", 0.0, 0.0)
            last: dict[str, Any] = {}
            for line in process.stdout:
                # Libraries print too.
                last = json.loads(line) if line.startswith("{") else last
                if last.get("kind") == "progress":
                    tell(last["part"], last["passed"], last["left"])
            said = process.stderr.read()
        finally:
            process.kill()
    if last.get("kind") == "finished":
        found: Bench = unpack(Bench, last["bench"])
        return found
    why = str(last.get("message") or said.strip().rpartition("\n")[2] or "it said nothing")
    raise JobFailed(f"This machine could not be measured: {why}", hint=str(last.get("hint") or "See stylizer doctor."))


# ---- what is shown ----


def drawn(found: Bench) -> RenderableType:
    """For each device a bar for each size: what is painted in a second."""
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.at))
    head = Text.assemble(
        (f"{found.system} · {found.cores} cores · {screen.size(found.memory)} · torch {found.torch}", "dim"),
        (f"\nmeasured {day}, in {screen.duration(found.seconds)}", "dim"),
    )
    # Cards of one model are measured once.
    alike: dict[tuple[object, ...], list[DeviceSpeed]] = {}
    for device in found.devices:
        alike.setdefault((device.speeds, device.step_seconds), []).append(device)
    return Group(head, *(part for same in alike.values() for part in _device(same[0], len(same) - 1)))


def _device(device: DeviceSpeed, more: int) -> Iterator[RenderableType]:
    slowest = max(one.seconds for one in device.trials)
    tried = " · ".join(f"{one.precision} {slowest / one.seconds:.1f}x" for one in device.trials)
    label = f"{device.label} and {more} more like it" if more else device.label
    yield Text.assemble("\n", (label, "bold cyan"), (f"  paints in {device.precision}  ({tried})\n", "dim"))
    most = max(speed.paint for speed in device.speeds)
    grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
    for name in ("", "frames a second", "", "paint", "decode", "encode", "memory"):
        grid.add_column(Text(name, "dim"), justify="left" if name == "frames a second" else "right", no_wrap=True)
    grid.columns[1].ratio, grid.show_header = 1, True
    for speed in device.speeds:
        grid.add_row(*_row(speed, most))
    for name in device.left_out:
        grid.add_row(f"  {name}", Text("not measured: too slow here", "dim"))
    yield Constrain(grid, WIDTH)
    yield Text(f"\n  {_in_words(device)}", "dim")


def _row(speed: Speed, most: float) -> tuple[RenderableType, ...]:
    """A bar of what comes out in the end, then what each stage does alone."""
    held = screen.size(speed.memory) + (f" + {screen.size(speed.device_memory)}" if speed.device_memory else "")
    figures = [_rate(speed.paint), _rate(speed.decode), _rate(speed.encode)]
    whole = Text(f"{_rate(speed.whole)} fps", "bold green" if speed.whole >= FILM else "bold")
    return (
        Text(f"  {speed.name}"),
        Bar(most, 0, speed.whole, color="cyan"),
        whole,
        *(Text(words, "dim") for words in (*figures, held)),
    )


def _rate(fps: float) -> str:
    """In three figures."""
    return f"{fps:.2f}" if fps < 0.995 else f"{fps:.1f}" if fps < 99.5 else f"{fps:.0f}"


def _in_words(device: DeviceSpeed) -> str:
    steps = FIT_STEPS[Quality.STANDARD]
    fit = device.fit_start_seconds + steps * device.step_seconds
    best = next((one for one in device.speeds if one.name == "1080p"), device.speeds[-1])
    minute = screen.duration(60 * FILM / best.whole)
    return f"A style is fitted in {screen.duration(fit)}; a minute of film in {best.name} is painted in {minute}."


def _remarks(found: Bench) -> Iterator[str]:
    if found.busy > BUSY:
        yield f"Other programs took {found.busy:.0%} of the processor: measured again when they rest, it will be faster."
    if left := [label for label in found.here if label not in {device.label for device in found.devices}]:
        names = ", ".join(label.partition(" ")[0] for label in left)
        yield f"Not measured, for auto does not paint there: {names}. --device {names.partition(',')[0]} measures it."
