"""What it takes to paint a clip here, in the cloud, or where the rules say: time and money, and what that rests on."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from textual.content import Content

from stylizer import screen
from stylizer.config import Config
from stylizer.estimate import Measurement, rate_here
from stylizer.jobs import Clip, Look, MediaKind
from stylizer.ledger import Money
from tui.columns import row

CLOUD = "azure"
BOOT_SECONDS = 300.0
"""Until rented machines begin."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A place to paint."""

    backend: str
    about: str
    seconds: float | None = None
    """None: not known."""
    cost: str = ""
    """With its currency; empty where it costs nothing or nobody knows yet."""
    basis: str = ""

    @property
    def why(self) -> str:
        """What it is and what the numbers rest on."""
        return f"{self.about}: {self.basis}"

    def line(self, width: int) -> Content:
        """In so many columns: place, what it is where there is room for it, time, money."""
        seconds = "—" if self.seconds is None else screen.duration(self.seconds)
        room, time = width - 34, min(13, max(8, width - 21))
        about = [(self.about, room, "")] if room >= 12 else [("", max(0, room), "")]
        return row((self.backend, 6, "bold"), *about, (seconds, -time, "$accent"), (self.cost, -9, "$accent"))


def facts(clip: Clip) -> str:
    """A clip in a few words."""
    words = [f"{clip.width} x {clip.height}"]
    if clip.kind is MediaKind.VIDEO:
        words += [f"{float(clip.rate):.4g} fps", screen.duration(clip.duration)]
    elif clip.kind is MediaKind.SEQUENCE:
        words += [f"{clip.frames} pictures"]
    return " · ".join([*words, *clip.notes])


def command(clip: Clip, look: Look) -> list[str]:
    """The command line that says what painting the clip comes to, as JSON."""
    size = ["--size", str(look.size)] if look.size else []
    arguments = ["estimate", str(clip.path), "--quality", str(look.quality), *size, "--json"]
    return [sys.executable, "-m", "stylizer", *arguments]


def offers(
    answer: dict[str, Any], clip: Clip, look: Look, known: Sequence[Measurement], money: Sequence[Money], config: Config
) -> list[Offer]:
    """Here, in the cloud where there is one, and as the rules say; `answer` is what `stylizer estimate` said."""
    found = [_offer(place) for place in answer.get("places", ())]
    here = sorted((one for one in found if one.backend != CLOUD), key=lambda one: one.seconds or math.inf)[:1]
    there = [one for one in found if one.backend == CLOUD]
    size = config.azure.vm_size.removeprefix("Standard_")
    there = [one for one in there if f"{config.azure.nodes} x {size}" in one.about] or there
    if not there and any(one.backend == CLOUD for one in money):
        there = [_cloud(clip, look, known, money, config)]
    auto = [Offer("auto", _rules(config), basis="the runner decides chunk by chunk")] if there else []
    return [*auto, *here, *there[:1]]


def _offer(place: dict[str, Any]) -> Offer:
    where, seconds = str(place.get("where", "")), place.get("seconds")
    cost, basis = str(place.get("cost") or ""), str(place.get("basis", ""))
    return Offer(str(place.get("backend", "")), where, None if seconds is None else float(seconds), cost, basis)


def painted_size(clip: Clip, look: Look) -> tuple[int, int]:
    """Width and height of the painting, about."""
    if not look.size:
        return clip.width, clip.height
    scale = look.size / max(clip.width, clip.height)
    return max(1, round(clip.width * scale)), max(1, round(clip.height * scale))


def _cloud(clip: Clip, look: Look, known: Sequence[Measurement], money: Sequence[Money], config: Config) -> Offer:
    """A cloud that has painted for this store, though no settings say so: as it was."""
    count, (width, height) = config.azure.nodes, painted_size(clip, look)
    about = f"{count} x {config.azure.vm_size.removeprefix('Standard_')}"
    found = rate_here(known, width=width, height=height, device=CLOUD)
    prices = [node.price_per_hour for one in money for node in one.meter.nodes if node.price_per_hour]
    if found is None or not prices:
        return Offer(CLOUD, about, basis="not measured yet")
    seconds = BOOT_SECONDS + clip.frames / (found[0] * count)
    cost = prices[0] * count * Decimal(seconds / 3600)
    basis = "measured before; " + money[0].meter.basis
    return Offer(CLOUD, about, seconds, f"{cost:.2f} {money[0].meter.currency}", basis)


def _rules(config: Config) -> str:
    words = {
        "never": "here, never rented",
        "when-late": "here; the cloud when late",
        "always": "here and in the cloud at once",
    }
    return words[config.place.burst]
