"""What is known of inboxes, as a table and as JSON values. Nothing is printed here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stylizer.ledger import Arrival, Found
from stylizer.screen import Fitting, plain
from stylizer.wire import pack

TONES = {Arrival.SETTLING: "dim", Arrival.WAITING: "yellow", Arrival.TAKEN: "green", Arrival.REFUSED: "red"}
ORDER = (Arrival.REFUSED, Arrival.WAITING, Arrival.SETTLING)
"""What needs a person comes first."""
MOST_SHOWN = 20
"""Of the files that have their jobs, and of those that have none yet."""


def inboxes(found: Mapping[str, Sequence[Found]], *, every: bool = False) -> RenderableType:
    """The table of `stylizer inbox`: what needs a person first, then what has its jobs, the newest first. Without `every`
    long lists are cut.
    """
    if not any(found.values()):
        return Text("Nothing has landed in an inbox yet. Watch one: stylizer watch ./inbox", "dim")
    parts: list[RenderableType] = []
    for inbox, files in found.items():
        counts = Counter(file.state for file in files)
        words = ", ".join(f"{counts[state]} {state}" for state in Arrival if counts[state])
        parts.append(Text.assemble((plain(inbox), "bold"), (f"  {words}", "dim")))
        open_ones = sorted((f for f in files if f.state is not Arrival.TAKEN), key=lambda f: (ORDER.index(f.state), f.path))
        taken = sorted((f for f in files if f.state is Arrival.TAKEN), key=lambda f: -f.at)
        most = len(files) if every else MOST_SHOWN
        shown = [*open_ones[:most], *taken[:most]]
        parts.append(Fitting(_table(shown), ("state", "since", "jobs")))
        if len(shown) < len(files):
            parts.append(Text(f"  and {len(files) - len(shown)} more; all of them: stylizer inbox --all", "dim"))
        reasons: dict[str, list[str]] = {}
        for file in open_ones[:most]:
            reasons.setdefault(file.reason, []).append(file.path)
        for reason, paths in reasons.items():
            others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            parts.append(Text.assemble((f"  {plain(paths[0])}{others}: ", "yellow"), plain(reason)))
    return Group(*parts)


def _table(files: Sequence[Found]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False, padding=(0, 2, 0, 0))
    for name in ("state", "file", "since", "jobs"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for file in files:
        when = time.strftime("%m-%d %H:%M", time.localtime(file.at))
        jobs = ", ".join(map(str, file.jobs)) if file.state is Arrival.TAKEN else ""
        table.add_row(Text(str(file.state), TONES[file.state]), Text(plain(file.path)), Text(when, "dim"), jobs)
    return table


def inbox_values(found: Mapping[str, Sequence[Found]]) -> list[dict[str, object]]:
    """The same as JSON values."""
    return [
        {"inbox": inbox, "files": [{k: v for k, v in pack(file).items() if k != "inbox"} for file in files]}
        for inbox, files in found.items()
    ]
