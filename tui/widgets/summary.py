"""Totals above the queue: jobs, speed, money of the day, who paints, the inbox, and what is wrong."""

from __future__ import annotations

import time
from collections import Counter

from rich.cells import cell_len
from textual.content import Content

from stylizer.config import Config
from stylizer.jobs import FINISHED, Desired, JobState
from stylizer.screen import plain
from tui import words
from tui.now import Now
from tui.theme import PAUSED, STATES, Mark

Part = tuple[str, str]
"""Text and style."""
MUTED = "$foreground-muted"
SPACE: Part = ("   ", "")
ORDER = (JobState.FITTING, JobState.RENDERING, JobState.ASSEMBLING, JobState.QUEUED)
BUSY = 0.5
"""Load of a device that something else than painting has."""
RUNNER_SECONDS = 8.0
"""A runner that was just asked for has so long to come."""


def totals(now: Now, config: Config, at: float, width: int) -> Content:
    """Two lines."""
    counts, pace = _jobs(now, at), _pace(now, config, at, width)
    if _length(_joined(counts)) + _length(_joined(pace)) > width - 3:
        counts = [[(text.removesuffix(" today"), tone) for text, tone in part] for part in counts]
    if _length(_joined(counts)) + _length(_joined(pace)) > width - 3:
        # Where there is no room for the words, the marks say it alone.
        counts = [part[:2] for part in counts]
    if _length(_joined(counts)) + _length(_joined(pace)) > width - 3:
        counts = [[(" ", "")], *counts[1:]]
    return Content("\n").join([_spread(counts, pace, width), _machines(now, width)])


def _jobs(now: Now, at: float) -> list[list[Part]]:
    midnight = time.mktime((*time.localtime(at)[:3], 0, 0, 0, 0, 0, -1))
    count: Counter[Mark] = Counter()
    today = failed = 0
    for job in now.jobs.values():
        if job.state not in FINISHED:
            count[PAUSED if job.desired is Desired.PAUSE else STATES[job.state]] += 1
        elif (job.finished_at or 0.0) >= midnight:
            today += job.state is JobState.DONE
            failed += job.state is JobState.FAILED
    parts: list[list[Part]] = [[(" stylizer", "bold")]]
    for mark in (*(STATES[state] for state in ORDER), PAUSED):
        if count[mark]:
            parts.append([(f"{mark.glyph} ", f"${mark.tone}"), (str(count[mark]), "bold"), (f" {mark.word}", MUTED)])
    if today:
        parts.append([("✓ ", "$success"), (str(today), "bold"), (" done today", MUTED)])
    if failed:
        parts.append([("✕ ", "$error"), (str(failed), "bold"), (" failed today", MUTED)])
    return parts


def _pace(now: Now, config: Config, at: float, width: int) -> list[list[Part]]:
    fps = sum(rate for _, rate in now.workers().values())
    parts: list[list[Part]] = []
    if fps:
        parts.append([(f"{fps:.1f}", "bold"), (" fps", MUTED)])
    spent, limit = float(now.spent(at)), config.place.max_cost_day
    if spent or (limit and now.money):
        share = spent / limit if limit else 0.0
        tone = "$error" if share >= 1 else "$warning" if share >= 0.8 else "$success"
        amount = f" of {limit:.2f}" if limit else ""
        unit = f" {now.currency} today" if width >= 100 else f" {now.currency}"
        money: list[Part] = [(f"{spent:.2f}", "bold"), (amount + unit, MUTED)]
        if limit and width >= 170:
            done, left = words.bar(min(1.0, share), 10)
            money += [(" ", ""), (done, tone), (left, "$border")]
        parts.append(money)
    if now.trouble:
        parts.append([("✕ no store", "$error")])
    elif not now.is_open:
        parts.append([("opening", MUTED)])
    elif now.runner.held:
        parts.append([("‖ queue paused", "$warning")])
    elif now.alive:
        parts.append([("● ", "$success"), ("at work " if fps else "ready ", MUTED)])
    else:
        parts.append([("○ no runner ", "$warning")])
    return parts


def _machines(now: Now, width: int) -> Content:
    workers = now.workers()
    load = {gauge.device: gauge.load for gauge in now.gauges}
    local = {name: fps for name, (backend, fps) in workers.items() if backend == "local"}
    parts: list[list[Part]] = []
    # A card shows where it has a gauge or paints; the processor only where it paints or there is no card.
    devices = [gauge.device for gauge in now.gauges if gauge.device != "cpu" or len(now.gauges) == 1]
    devices += [device for name in local if (device := name.partition(" ")[0]) not in devices]
    for device in devices:
        fps = sum(rate for name, rate in local.items() if name.partition(" ")[0] == device)
        said: list[Part] = [(device, "" if fps else MUTED)]
        if load.get(device) is not None:
            said.append((f" {load[device]:4.0%}", MUTED))
        # What fits a look has no frames to count.
        parts.append([*said, (f"  {words.rate(fps)}" if fps else "  idle" if (load.get(device) or 0) < BUSY else "", MUTED)])
    states = Counter(node.state for node in now.nodes())
    if states:
        fps = sum(rate for backend, rate in workers.values() if backend != "local")
        count = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        words_of = f"  {words.rate(fps)}" if fps else ""
        parts.append([(words.plural(states.total(), "node"), ""), (f" {count}{words_of}", MUTED)])
    if now.arrivals:
        waiting = [f"{now.arrivals[state]} {state}" for state in ("settling", "waiting", "refused") if now.arrivals[state]]
        parts.append([("inbox", ""), (f" {', '.join(waiting) or 'empty'}", MUTED)])
    return _spread([[(" ", "")], *parts] if parts else [[(" ", "")]], [], width)


def _spread(left: list[list[Part]], right: list[list[Part]], width: int) -> Content:
    """Parts from the left and from the right; of the left ones as many as there is room for."""
    end = _joined(right)
    room = width - _length(end) - 1
    shown: list[Part] = []
    for n, part in enumerate(left):
        more = ([SPACE] if n and _length(shown) > 1 else []) + part
        if _length(shown) + _length(more) > room:
            break
        shown += more
    gap = max(0, width - _length(shown) - _length(end))
    return Content.assemble(*shown, " " * gap, *end)


def _joined(parts: list[list[Part]]) -> list[Part]:
    gaps = ([SPACE] if n and _length(parts[n - 1]) > 1 else [] for n in range(len(parts)))
    return [piece for gap, part in zip(gaps, parts, strict=True) for piece in gap + part]


def _length(parts: list[Part]) -> int:
    return sum(cell_len(text) for text, _ in parts)


def trouble(now: Now, starting: bool) -> Content:
    """What a person should know of at once, in a line; empty if nothing is wrong."""
    if now.trouble:
        return Content.styled(f" ✕ {plain(now.trouble)}", "$error")
    if not now.is_open:
        return Content("")
    if now.runner.held:
        return Content.styled(" ‖ The queue is paused: nothing more is started.  H lets it go on.", "$warning")
    waits = any(job.state not in FINISHED and job.desired is Desired.RUN for job in now.jobs.values())
    if starting and not now.alive:
        return Content.styled(" ◌ The runner starts …", MUTED)
    if now.under_way and not now.alive:
        words_of = " ✕ The runner ended in the middle of its work.  w starts another; what is painted is kept."
        return Content.styled(words_of, "$error")
    if waits and not now.alive:
        return Content.styled(" ○ Nobody is painting.  w starts the runner.", "$warning")
    return Content("")
