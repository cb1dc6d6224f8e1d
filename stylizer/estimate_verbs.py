"""`stylizer estimate`: time and money for a clip before anything is started. Joined into cli.py."""

# ruff: noqa: PLC0415 - imports wait until they are needed

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from stylizer import console, screen
from stylizer import options as o
from stylizer.azure_verbs import in_region
from stylizer.config import Config
from stylizer.errors import ConfigError
from stylizer.estimate import GUESSED_WITHIN, RENTED, Measurement, TimeLeft, rest_of, time_left
from stylizer.jobs import Clip, Look, Quality
from stylizer.options import PAINT, one_of, settings
from stylizer.store import Store

if TYPE_CHECKING:
    from backends.azure.meter import Life
    from backends.azure.planner import Plan

app = typer.Typer()

CORE_PIXELS = 1.5e6
"""Pixels that a core of a processor paints in a second: of one that was never measured."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What painting a clip comes to at one place."""

    backend: str
    where: str
    seconds: float | None
    """None where nothing is known yet."""
    cost: str
    """Empty where it costs nothing."""
    basis: str
    left: TimeLeft | None = None
    """The time in parts, with its range; for this machine."""


@app.command(rich_help_panel=PAINT)
def estimate(
    clip: o.Source,
    size: o.Size = None,
    quality: o.Quality = "",
    backend: Annotated[str, typer.Option("--backend", help="Only there: local or azure.", show_default=False)] = "",
    region: o.Region = "",
    as_json: o.AsJson = False,
) -> None:
    """How long a clip takes and what it costs, here and in the cloud, and what the numbers rest on."""
    from stylizer.video import probe

    config, here = settings()
    config, elsewhere = in_region(config, region)
    chosen = one_of("backend", backend, ["local", "azure"]) if backend else ""
    if chosen == "azure" and not config.azure.batch:
        raise ConfigError("Azure is not set up.", hint="stylizer azure init asks what it needs to know.")
    found = probe(clip, config.limits)
    look = Look((), quality=Quality(one_of("quality", quality or config.look.quality, list(Quality))), size=size or None)
    with Store(here.store) as store:
        known = store.measurements()
    offers = [*([] if chosen == "azure" else _here(found, look, known))]
    plans: Sequence[Plan] = ()
    lives: dict[str, Life] = {}
    if chosen == "azure" or (config.azure.batch and not chosen):
        from backends.azure.meter import lived
        from backends.azure.planner import plans as all_plans
        from backends.azure.prices import prices, sizes

        names = {config.azure.vm_size: None, **{size.name: None for size in sizes() if size.gpus and not size.warning}}
        prices(config.azure.region, names, here.cache)
        lives = lived(here.store.parent / "azure")
        plans = all_plans(found, look, config, [*names], known, lives)
        offers += [_rented(one) for one in (plans if chosen else _worth_a_look(plans))]
    if as_json:
        places = [_values(one) for one in offers]
        console.answer(clip=str(found.path), frames=found.frames, duration=found.duration, places=places)
        return
    console.show(_by_size(plans) if chosen == "azure" else _table(offers))
    for words in filter(None, map(_in_parts, offers)):
        console.talk(words, "dim")
    if plans:
        quickest = min(plans, key=lambda one: (round(one.seconds / 30), one.cost))
        console.talk(f"The cheapest: {plans[0].sentence}.\nThe fastest:  {quickest.sentence}.")
    if chosen == "azure":
        facts = dict.fromkeys(fact for one in plans for fact in one.basis.split("; "))
        console.talk(f"What these rest on: {'; '.join(facts)}.", "dim")
    if elsewhere:
        console.talk(elsewhere, "yellow")
    if chosen == "azure":
        _show_trade_off(found, look, config, known, lives)


def _here(clip: Clip, look: Look, known: Sequence[Measurement]) -> Iterator[Offer]:
    """On each device of this machine that has been measured; where none has, what is to be expected of the best one."""
    if look.quality is Quality.REFERENCE:
        yield Offer("local", "this machine", None, "", "stylizer run times a frame of it, and says so before it begins")
        return
    rest = rest_of(clip, look)
    for device in dict.fromkeys(m.device for m in known if not m.device.startswith(RENTED)):
        if found := time_left(rest, known, device=device):
            yield Offer("local", device, found.seconds, "", found.basis, found)
    if not any(m.fps > 0 and not m.device.startswith(RENTED) for m in known):
        label, guess = _untried()
        found = time_left(rest, (), guess=guess)
        assert found
        basis = f"{found.basis}; stylizer bench measures it in a minute"
        yield Offer("local", label, found.seconds, "", basis, found)


def _untried() -> tuple[str, float]:
    """The best device here as far as can be told without loading torch, and its pixels a second, a guess."""
    from backends.azure.planner import GUESSES
    from stylizer.gauges import Gauges
    from stylizer.machine import cores

    gauges = Gauges()
    best = gauges.read()[0]
    gauges.close()
    if best.device == "cpu":
        return best.label, CORE_PIXELS * cores()
    # Of a card that nobody has heard of, no more is expected than of the slowest known.
    return best.label, next((rate for model, rate in GUESSES.items() if model and model in best.model), GUESSES["T4"])


def _worth_a_look(plans: Sequence[Plan]) -> list[Plan]:
    """Of all plans those that no other one beats in both time and money, cheapest first."""
    kept: list[Plan] = []
    for one in sorted(plans, key=lambda plan: (plan.cost, plan.seconds)):
        if not kept or one.seconds < kept[-1].seconds * 0.9:
            kept.append(one)
    return kept


def _rented(one: Plan) -> Offer:
    machines = f"{one.nodes} x {one.size.removeprefix('Standard_')} {'Spot' if one.spot else 'dedicated'}"
    return Offer("azure", machines, one.seconds, f"{screen.amount(one.cost)} {one.currency}", one.basis)


def _values(one: Offer) -> dict[str, object]:
    """An offer as JSON values."""
    values: dict[str, object] = {name: getattr(one, name) for name in ("backend", "where", "seconds", "cost", "basis")}
    if one.left:
        parts = {name: round(getattr(one.left, name), 2) for name in ("start", "fit", "paint", "join")}
        values |= {"least": round(one.left.least, 1), "most": round(one.left.most, 1), "parts": parts}
    return values


def _in_parts(one: Offer) -> str:
    """What the time at a place is made of, and how sure it is."""
    if not one.left:
        return ""
    left = one.left
    parts = [("start", left.start), ("fit", left.fit), ("painting", left.paint), ("joining", left.join)]
    words = " · ".join(f"{name} {screen.duration(seconds)}" for name, seconds in parts if seconds >= 0.05)
    likely = f"nine times of ten {screen.duration(left.least)} to {screen.duration(left.most)}"
    return f"{one.where.partition(' ')[0]}: {words}; {likely}"


def _table(offers: Sequence[Offer]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False, padding=(0, 2, 0, 0))
    for name in ("place", "machine", "time", "money", "rests on"):
        table.add_column(name, justify="right" if name in ("time", "money") else "left", overflow="fold")
    for one in offers:
        took = "?" if one.seconds is None else screen.duration(one.seconds)
        if one.left and one.left.within >= GUESSED_WITHIN:
            # A guess is told as what it is.
            took = f"{screen.duration(one.left.least)} to {screen.duration(one.left.most)}"
        table.add_row(one.backend, Text(one.where), took, one.cost or "-", Text(one.basis, "dim"))
    return table


def _by_size(plans: Sequence[Plan]) -> Table:
    """A line for each VM size, the cheapest first: Spot and dedicated, on one machine and on as many as there may be."""
    most = max(one.nodes for one in plans)
    kinds = [(spot, nodes) for spot in (True, False) for nodes in sorted({1, most})]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False, padding=(0, 2, 0, 0))
    table.add_column(f"{plans[0].currency}; *: measured", no_wrap=True)
    for spot, nodes in kinds:
        table.add_column(f"{nodes} {'Spot' if spot else 'dedicated'}", justify="right", no_wrap=True)
    for size in dict.fromkeys(one.size for one in plans):
        found = {(one.spot, one.nodes): one for one in plans if one.size == size}
        cells = [found.get(kind) or found.get((kind[0], 1)) for kind in kinds]
        mark = "*" if "as measured" in next(iter(found.values())).basis else ""
        words = [f"{one.seconds / 60:.0f} min {one.cost:.{2 if one.cost >= 1 else 3}f}" if one else "" for one in cells]
        table.add_row(Text(size.removeprefix("Standard_") + mark), *words)
    return table


def _show_trade_off(clip: Clip, look: Look, config: Config, known: Sequence[Measurement], lives: dict[str, Life]) -> None:
    """Few long chunks waste less on starting, many short ones lose less to a machine that is taken away."""
    from backends.azure.planner import plan, trade_off

    chosen = plan(clip, look, config, known, lives)
    console.talk("\nChunks of other lengths, on the machines of the settings; >: what a run takes", "dim")
    for seconds, one in trade_off(clip, look, config, known, lives):
        console.talk(f"{'>' if one == chosen else ' '} {seconds:>4.0f} s  {one.sentence}", "dim")
