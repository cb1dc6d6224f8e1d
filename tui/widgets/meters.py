"""What a job's numbers look like: speed over time, money against its limit, the fit, the chosen chunk."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content

from stylizer.jobs import FINISHED, Chunk, ChunkState, JobState
from stylizer.screen import plain
from stylizer.views import JobView
from tui import columns, words
from tui.theme import CHUNKS

MUTED = "$foreground-muted"
WINDOW = 1800.0
"""Seconds that the speed is shown for, at most."""


def throughput(chunks: Iterable[Chunk], start: float, stop: float, bins: int) -> list[float]:
    """Frames a second in each of so many equal parts of a time, from when chunks were painted and how fast."""
    found, each = [0.0] * bins, (stop - start) / bins
    if each <= 0:
        return found
    for chunk in chunks:
        if chunk.fps <= 0 or chunk.state not in (ChunkState.DONE, ChunkState.RUNNING):
            continue
        if chunk.state is ChunkState.DONE:
            end, frames = chunk.finished_at or 0.0, len(chunk.frames)
        else:
            end, frames = stop, chunk.frames_done
        begin = end - frames / chunk.fps
        for n in range(max(0, int((begin - start) / each)), min(bins, int((end - start) / each) + 1)):
            inside = min(end, start + (n + 1) * each) - max(begin, start + n * each)
            found[n] += max(0.0, inside) * chunk.fps / each
    return found


def speed(view: JobView, chunks: Iterable[Chunk], now: float, width: int) -> list[Content]:
    """Two lines of bars, with what they span and the speed now."""
    job = view.job
    stop = job.finished_at or now
    start = max(job.started_at or stop, stop - WINDOW)
    values = throughput(chunks, start, stop, max(8, min(60, width - 28)))
    if not any(values):
        return [Content.styled("speed  nothing is painted yet", MUTED)] if job.state is JobState.RENDERING else []
    upper, lower = words.spark(values, 2)
    most = f"{words.rate(max(values))} at most"
    rate = words.rate(view.fps)
    if view.job.state in FINISHED and view.elapsed:
        rate = f"{words.rate(view.tally.frames_done / view.elapsed)} in all"
    return [
        Content.assemble(("speed  ", MUTED), (upper, "$primary"), "  ", (rate or "—", "bold")),
        Content.assemble(("       ", ""), (lower, "$primary"), "  ", (most, MUTED)),
    ]


def money(view: JobView, width: int) -> list[Content]:
    """What was spent, what an hour costs now, what it will be in all, and of how much; nothing where it costs nothing."""
    limit = view.job.max_cost
    if not view.money:
        return []
    spent = sum(float(one.meter.spent) for one in view.money)
    hour = sum(float(one.meter.per_hour) for one in view.money if not one.meter.final)
    total = spent + hour * (view.eta or 0.0) / 3600
    currency = view.money[0].meter.currency
    said = f"{words.amount(spent)} {currency}" + (f" · {hour:.2f}/h" if hour else "")
    said += f" · about {total:.2f} in all" if hour and view.eta else ""
    lines = [Content.assemble(("cost   ", MUTED), columns.fit(said, width - 7))]
    if limit:
        room = max(8, min(60, width - 28))
        tone = "$error" if spent >= limit else "$warning" if spent >= 0.8 * limit else "$success"
        cells = [round(min(1.0, amount / limit) * room) for amount in (spent, total)]
        lines.append(
            Content.assemble(
                "       ",
                ("━" * cells[0], tone),
                ("╍" * (cells[1] - cells[0]), tone),
                ("━" * (room - cells[1]), "$border"),
                (f"  {spent / limit:.0%} of {limit:.2f}", MUTED),
            )
        )
    return lines


def fit(view: JobView, width: int) -> list[Content]:
    """How far the look is fitted, while it is."""
    job = view.job
    if job.state is not JobState.FITTING:
        return []
    share = job.fit_done / job.fit_total if job.fit_total else 0.0
    done, left = words.bar(share, max(8, min(60, width - 28)))
    said = f"step {job.fit_done} of {job.fit_total}" if job.fit_total else "waits"
    return [Content.assemble(("fit    ", MUTED), (done, "$primary"), (left, "$border"), "  ", said)]


def chunk(found: Chunk) -> Content:
    """One chunk: what it is, where, how fast, and what is wrong with it."""
    mark = CHUNKS[found.state]
    frames = f"frames {found.frames.start} to {found.frames.stop - 1}"
    parts = [frames, f"attempt {found.attempt}"]
    parts += [words.plural(found.failures, "failure")] if found.failures else []
    parts += [found.worker or found.backend] if found.worker or found.backend else []
    parts += [words.rate(found.fps)] if found.fps else []
    if found.state is ChunkState.RUNNING:
        parts.insert(1, f"{found.frames_done} of {len(found.frames)} painted")
    lines = Content.assemble(
        (f"chunk {found.index}", "bold"),
        "  ",
        (f"{mark.glyph} {mark.word}", f"${mark.tone}"),
        "  ",
        plain(" · ".join(parts)),
    )
    return Content("\n").join([lines, Content.styled(plain(found.error), "$error")]) if found.error else lines
