"""The commands that stay: watch a folder, work off the queue. Joined into cli.py."""

# ruff: noqa: PLC0415 - imports wait until they are needed

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylizer import console
from stylizer import options as o
from stylizer.config import CHOICES, Config, Places
from stylizer.errors import ConfigError
from stylizer.options import FILE, LOOK, PAINT, QUEUE, TALK, one_of, settings
from stylizer.rows import clean
from stylizer.store import Store

if TYPE_CHECKING:
    from stylizer.inbox.adopt import Intake
    from stylizer.inbox.sidecar import Asked

app = typer.Typer()

Styles = Annotated[
    list[str] | None,
    typer.Option(
        "--style", "-s", help="A style picture; several: one output each.", show_default=False, rich_help_panel=LOOK
    ),
]
Outbox = Annotated[
    str, typer.Option("--output", "-o", help="A folder or az://…; outbox beside it by default.", rich_help_panel=FILE)
]


@app.command(rich_help_panel=PAINT)
def watch(
    inbox: Annotated[str, typer.Argument(help="A folder, or az://account/container/prefix.", show_default=False)],
    style: Styles = None,
    blend: o.Blend = "",
    strength: o.Strength = None,
    brush: o.Brush = None,
    keep_color: o.KeepColor = None,
    quality: o.Quality = "",
    size: o.Size = None,
    seed: o.Seed = None,
    output: Outbox = "",
    codec: o.Codec = "",
    crf: o.Crf = None,
    device: o.Device = "",
    precision: o.Precision = "",
    backend: o.BackendName = "",
    burst: o.Burst = "",
    deadline: o.Deadline = None,
    max_cost: o.MaxCost = None,
    priority: o.Priority = None,
    when_done: o.WhenDone = "",
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of the studio.", rich_help_panel=TALK)] = False,
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """Paint whatever lands in a folder, until told to end. A style.jpg in it says how. In a terminal the studio opens;
    --plain says it in lines.
    """
    from stylizer.foreground import work_off
    from stylizer.inbox.examine import check
    from stylizer.inbox.sidecar import asked_by
    from stylizer.notify import Notifier
    from stylizer.runner import Runner
    from stylizer.studio_verbs import open_studio

    config, here = settings()
    if burst:
        config = replace(config, place=replace(config.place, burst=one_of("burst", burst, CHOICES["burst"])))
    asked = asked_by(
        config,
        styles=tuple(str(Path(one).expanduser().absolute()) for one in style or ()),
        blend=blend,
        strength=strength,
        brush=brush,
        keep_color=keep_color,
        quality=quality,
        size=size,
        seed=seed,
        codec=codec,
        crf=crf,
        device=device,
        precision=precision,
        backend=backend,
        deadline_hours=deadline,
        max_cost=max_cost,
        priority=priority,
    )
    check(asked)
    for one in asked.styles:
        if not Path(one).is_file():
            raise ConfigError(f"The style {one} cannot be read.", hint="Check the path after --style.")
    if not (plain or as_json or quiet) and console.is_terminal():
        with Store(here.store) as store:
            # What is wrong with it is said here, not in a log.
            open_intake(store, config, here, inbox, output, asked)[1].close()
        open_studio(here, *sys.argv[1:], "--plain")
        return
    with Store(here.store) as store, console.Progress(as_json=as_json, quiet=quiet) as progress:
        name, intake = open_intake(store, config, here, inbox, output, asked)
        with Notifier(store, config.notify, when_done) as notifier:
            tell: Teller | None = None

            def adopt() -> None:
                # From now on, not from when this one began to look on: another told what came before.
                nonlocal tell
                tell = tell or Teller(store, progress, quiet=quiet or as_json)
                intake.turn()
                notifier.turn()
                tell()

            try:
                progress.remark(f"Watching {name}. Ctrl-C ends it; what is painted by then is kept.")
                interrupted = work_off(
                    Runner(store, config, here, adopt=adopt, inbox=name), store, progress, None, stay=True
                )
            finally:
                intake.close()
                if tell:
                    tell()
    raise typer.Exit(130 if interrupted else 0)


TOLD = ("failed", "refused", "waiting", "inbox", "delivery", "notify")
"""Kinds of events that a person should know of at once."""


class Teller:
    """Says line by line what comes of things: painted files to stdout, what went wrong or waits to stderr."""

    def __init__(self, store: Store, progress: console.Progress, *, quiet: bool) -> None:
        self._store, self._progress, self._quiet = store, progress, quiet
        self._seen = max((event.seq for event in store.events(most=1)), default=0)

    def __call__(self) -> None:
        events = self._store.events(after=self._seen)
        self._seen = events[-1].seq if events else self._seen
        for event in events if not self._quiet else ():
            if event.kind == "done" and event.job and self._store.has_job(event.job):
                # A name that is no Unicode cannot be printed as it is.
                console.line(clean(str(self._store.job(event.job).output)))
            elif event.kind in TOLD and event.chunk is None:
                self._progress.remark(event.text)


def open_intake(store: Store, config: Config, here: Places, inbox: str, output: str, asked: Asked) -> tuple[str, Intake]:
    """What adopts from an inbox into an outbox (each a folder or az://…), and the inbox's name. ConfigError if either
    cannot be used.
    """
    from stylizer.inbox.adopt import Intake
    from stylizer.inbox.arrivals import Arrivals
    from stylizer.inbox.cloud import Cloud, is_address, outbox_beside
    from stylizer.inbox.deliver import Deliveries
    from stylizer.inbox.examine import Examiner
    from stylizer.inbox.folder import Folder
    from stylizer.inbox.outbox import Outbox
    from stylizer.inbox.watch import Place

    where = output or config.watch.output
    if not where:
        where = outbox_beside(inbox) if is_address(inbox) else str(Path(inbox).absolute().parent / "outbox")
    staging = here.work / "outbox"
    outbox = (
        Outbox(staging / _short(where), where.rstrip("/"))
        if is_address(where)
        else Outbox(Path(where).expanduser().absolute())
    )
    place: Place
    if is_address(inbox):
        from backends.azure.storage import open_container

        container, prefix = open_container(inbox, config)
        without = open_container(where, config)[1] if is_address(where) else ""
        most = round(config.limits.file_gigabytes * 1e9)
        place = Cloud(inbox, container, prefix, here.work / "inbox", without=without, most=most)
    else:
        place = Folder(
            Path(inbox).expanduser(), without=[outbox.folder], polling=config.watch.polling, every=config.watch.scan_seconds
        )
        if place.root == outbox.folder:
            raise ConfigError("The outbox cannot be the inbox itself.", hint="Give another folder with --output.")
    return place.name, Intake(
        store,
        place,
        lambda: Arrivals(store, place.name, outbox, here.work),
        Examiner(place, asked, config, here.work / "styles"),
        Deliveries(store, _carrier(config), staging=staging),
        config,
    )


def _short(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _carrier(config: Config) -> Callable[[Path, str], None]:
    """What brings an output to a target; the cloud is asked for when there is something to bring."""

    def carry(output: Path, target: str) -> None:
        from stylizer.inbox.cloud import is_address, upload
        from stylizer.inbox.deliver import copy_here

        if is_address(target):
            from backends.azure.storage import open_container

            container, name = open_container(target, config)
            upload(container, output, name)
        else:
            copy_here(output, Path(target))

    return carry


@app.command(rich_help_panel=QUEUE)
def inbox(
    every: Annotated[bool, typer.Option("--all", help="Also what long lists leave out.")] = False,
    as_json: o.AsJson = False,
) -> None:
    """What has landed in inboxes: what settles, waits, was taken or refused, and why."""

    from stylizer.inbox.screen import inbox_values, inboxes

    with Store(settings()[1].store, write=False) as store:
        found = {name: store.found(name) for name in store.inboxes()}
    if as_json:
        console.answer(inboxes=inbox_values(found))
    else:
        console.show(inboxes(found, every=every))


@app.command(rich_help_panel=PAINT)
def work(
    stay: Annotated[bool, typer.Option("--stay", help="Wait for more when the queue is empty.")] = False,
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """Work off the queue: whatever was queued, tried again or interrupted."""
    from stylizer.foreground import work_off
    from stylizer.runner import Runner

    config, here = settings()
    with Store(here.store) as store, console.Progress(as_json=as_json, quiet=quiet) as progress:
        interrupted = work_off(Runner(store, config, here), store, progress, None, stay=stay)
    raise typer.Exit(130 if interrupted else 0)
