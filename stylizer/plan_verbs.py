"""`stylizer plan`: which machines, how many and in what chunks, to have a clip by a time or for a sum."""

# ruff: noqa: PLC0415 - imports wait until they are needed

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from stylizer import console, plan_screen, screen
from stylizer import options as o
from stylizer.azure_verbs import in_region
from stylizer.config import Config
from stylizer.errors import ConfigError
from stylizer.jobs import Clip, Look, MediaKind, Quality
from stylizer.options import PAINT, one_of, settings
from stylizer.store import Store
from stylizer.ways import HERE, Question, Way, choose, worth_it

app = typer.Typer()

MOST = 96
"""Machines that may be rented where nobody says how many."""
SHOWN = 9
"""Ways in the table."""


@app.command(rich_help_panel=PAINT)
def plan(
    clip: Annotated[Path | None, typer.Argument(help=o.SOURCE, show_default=False)] = None,
    deadline: Annotated[str, typer.Option("--deadline", help="Ready within 2h, 90min, …", show_default=False)] = "",
    budget: Annotated[float | None, typer.Option(help="For at most so much money.", min=0.0, show_default=False)] = None,
    frames: Annotated[
        int | None,
        typer.Option(help="Instead of a clip: so many frames of 1920x1080, 24 a second.", min=1, show_default=False),
    ] = None,
    size: o.Size = None,
    quality: o.Quality = "",
    nodes: o.Nodes = None,
    region: o.Region = "",
    as_json: o.AsJson = False,
) -> None:
    """Which machines, how many and in what chunks, so that a clip is ready by a time, or for a sum."""
    config, here = settings()
    config, elsewhere = in_region(config, region)
    found = _clip(clip, frames, config)
    look = _look(quality, size, config)
    within = seconds_of(deadline) if deadline else None
    from backends.azure.meter import lived
    from backends.azure.prices import prices, sizes

    with Store(here.store) as store:
        known = store.measurements()
    prices(config.azure.region, [one.name for one in sizes() if one.gpus and not one.warning], here.cache)
    lives = lived(here.store.parent / "azure")
    ways = list(Question(found, look, config, known, lives, nodes or MOST, within).ways())
    worth = worth_it(ways)
    best, fits = choose(worth, within, budget)
    if as_json:
        told = [{**_values(way), "chosen": way is best} for way in worth]
        console.answer(
            clip=str(clip) if clip else None, frames=found.frames, deadline=within, budget=budget, fits=fits, ways=told
        )
        return
    console.show(_table(_neighbours(worth, best), best))
    if len(worth) > 1:
        console.show(_curve(ways, worth, best, within, budget))
    for words in _words(worth, best, within, budget, fits=fits):
        console.talk(words)
    if best:
        console.show(plan_screen.course(best.told.course))
        console.talk(f"To have it so: {_command(best, clip, look, budget)}")
    facts = dict.fromkeys(fact for way in ([best] if best else worth) for fact in way.basis)
    console.talk(f"What these rest on: {'; '.join([*facts, 'without what the files take to and fro'])}.", "dim")
    for words in _cautions(config, best, worth, elsewhere):
        console.talk(words, "yellow")


def _clip(path: Path | None, frames: int | None, config: Config) -> Clip:
    """The clip that is asked about, or one of so many frames that is not there yet."""
    if (path is None) is (frames is None):
        raise ConfigError("A plan is for a clip or for a number of frames.", hint="stylizer plan CLIP, or --frames 150000.")
    if path is not None:
        from stylizer.video import probe

        return probe(path, config.limits)
    assert frames is not None
    film = Path(f"{frames} frames")
    return Clip(film, MediaKind.VIDEO, 1920, 1080, frames, Fraction(24), frames / 24, "", "", 0, 0, "")


def _look(quality: str, size: int | None, config: Config) -> Look:
    chosen = Quality(one_of("quality", quality or config.look.quality, list(Quality)))
    if chosen is Quality.REFERENCE:
        hint = "stylizer run says beforehand how long it takes."
        raise ConfigError("The quality reference is painted on this machine alone: there is nothing to plan.", hint=hint)
    return Look((), quality=chosen, size=(config.look.size if size is None else size) or None)


def seconds_of(text: str) -> float:
    """Seconds of 2h, 90min, 1h30min, 45 s; a bare number is hours, as for `stylizer run`. ConfigError for anything else."""
    units = {"d": 86400.0, "h": 3600.0, "min": 60.0, "m": 60.0, "s": 1.0}
    number = r"\d+(?:\.\d+)?"
    plain = text.replace(" ", "").lower()
    found = re.findall(rf"({number})(d|h|min|m|s)", plain)
    if "".join(amount + unit for amount, unit in found) != plain or not found:
        found = [(plain, "h")] if re.fullmatch(number, plain) else []
    seconds = sum(float(amount) * units[unit] for amount, unit in found)
    if seconds <= 0:
        raise ConfigError(f"--deadline {text!r} is no time.", hint="Write it as 2h, 90min or 1h30min.")
    return seconds


# ---- what is shown ----


def _neighbours(worth: Sequence[Way], best: Way | None) -> Sequence[Way]:
    """As many as are read at a glance: those around the chosen one, of a long list else each of so many."""
    if len(worth) <= SHOWN:
        return worth
    if best is None:
        return [worth[round(n * (len(worth) - 1) / (SHOWN - 1))] for n in range(SHOWN)]
    first = max(0, min(worth.index(best) - SHOWN // 2, len(worth) - SHOWN))
    return worth[first : first + SHOWN]


def _table(ways: Sequence[Way], best: Way | None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False, padding=(0, 2, 0, 0))
    currency = next((way.currency for way in ways if way.currency), "money")
    table.add_column("", width=1)
    table.add_column("machines", overflow="fold")
    for name in ("chunks", "ready in", "9 of 10", currency, "9 of 10"):
        table.add_column(name, justify="right", no_wrap=True)
    for way in ways:
        told, tone = way.told, "bold green" if way is best else ""
        times = [plan_screen.rough(seconds) for seconds in (told.seconds, told.seconds_most)]
        money = [screen.amount(Decimal(cost)) if way.currency else "-" for cost in (told.cost, told.cost_most)]
        cells = [way.machines, f"{way.chunks} x {way.chunk_frames}", *times, *money]
        table.add_row(Text("●" if way is best else "", tone), *(Text(words, tone) for words in cells))
    return table


def _money(way: Way, cost: float) -> str:
    return f"{screen.amount(Decimal(cost))} {way.currency}".rstrip()


def _curve(
    ways: Sequence[Way], worth: Sequence[Way], best: Way | None, deadline: float | None, budget: float | None
) -> Text:
    """All ways, those that are worth it over the others; as nine of ten courses keep to."""
    latest = max((way.told.seconds_most for way in worth), default=0.0)
    dearest = max((way.told.cost_most for way in worth), default=0.0)
    near = [way for way in ways if way.told.seconds_most <= latest and way.told.cost_most <= 3 * dearest]
    marks = [("·", near), ("○", worth), ("●", [best] if best else [])]
    points = [(way.told.seconds_most, way.told.cost_most, mark) for mark, some in marks for way in some]
    currency = next((way.currency for way in ways if way.currency), "")
    return plan_screen.curve(points, currency, deadline=deadline, budget=budget)


def _words(
    worth: Sequence[Way], best: Way | None, deadline: float | None, budget: float | None, *, fits: bool
) -> Iterator[str]:
    """The answer in sentences, with the next cheaper and the next faster way."""
    if best is None:
        yield "With --deadline 2h or --budget 10 one of them is chosen."
        return
    if not fits:
        asked = [f"within {plan_screen.rough(deadline)}"] if deadline is not None else []
        asked += [f"for {budget:g} {best.currency}".rstrip()] if budget is not None else []
        yield f"None is ready {' '.join(asked)} nine times of ten; this one comes nearest."
    place = worth.index(best)
    yield f"The choice:   {_sentence(best)}"
    yield f"Next cheaper: {_sentence(worth[place - 1]) if place else 'there is none.'}"
    yield f"Next faster:  {_sentence(worth[place + 1]) if place + 1 < len(worth) else 'there is none.'}"


def _sentence(way: Way) -> str:
    told = way.told
    money = f", for {_money(way, told.cost)} ({_money(way, told.cost_most)} at most)" if way.currency else ", for nothing"
    ready = f"{plan_screen.rough(told.seconds)} (nine times of ten {plan_screen.rough(told.seconds_most)} at most)"
    return f"{way.machines}: ready in {ready}{money}."


def _command(way: Way, clip: Path | None, look: Look, budget: float | None) -> str:
    words = ["stylizer", "run", str(clip) if clip else "FILM", "--style", "STYLE", "--quality", str(look.quality)]
    words += ["--size", str(look.size)] if look.size else []
    words += way.options
    words += ["--max-cost", f"{budget:g}"] if budget and way.backend != HERE else []
    return shlex.join(words)


def _cautions(config: Config, best: Way | None, worth: Sequence[Way], elsewhere: str) -> Iterator[str]:
    """What may keep it from going that way."""
    if elsewhere:
        yield elsewhere
    if not any(way.backend == HERE for way in worth):
        yield "Nothing is measured on this machine: a first run, or stylizer preview, does."
    if best and best.backend != HERE and best.told.seconds_most > config.azure.wall_clock_hours * 3600:
        hours = config.azure.wall_clock_hours
        yield f"Azure ends its machines after {hours:g} h, and they begin anew: allow more wall_clock_hours in [azure]."
    if not config.azure.batch:
        yield "Azure is not set up here: stylizer azure init asks for what it needs."
    elif best and best.backend != HERE:
        yield "Azure's quotas may allow fewer machines: stylizer doctor --backend azure says."


def _values(way: Way) -> dict[str, Any]:
    """A way as JSON values."""
    told = way.told
    return {
        "backend": way.backend,
        "machines": way.machines,
        "options": list(way.options),
        "chunks": way.chunks,
        "chunk_frames": way.chunk_frames,
        "seconds": round(told.seconds, 1),
        "seconds_most": round(told.seconds_most, 1),
        "cost": round(told.cost, 6),
        "cost_most": round(told.cost_most, 6),
        "currency": way.currency,
        "machines_lost": round(told.taken, 3),
        "basis": list(way.basis),
    }
