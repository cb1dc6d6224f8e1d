"""A runner that watches ROOT/inbox, as a process of its own, on a clock that somebody meddles with.

    python -m tests.torture.program ROOT [stay]

Without `stay` it ends when all that lies in the inbox is painted.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from backends.local import LocalBackend
from stylizer.backend import Backend
from stylizer.config import Config, Places
from stylizer.devices import Device
from stylizer.inbox.sidecar import asked_by
from stylizer.jobs import FINISHED, JobState
from stylizer.ledger import Arrival
from stylizer.runner import Runner, media_here
from stylizer.store import Store
from stylizer.watch_verbs import open_intake

DEVICES = (Device("cpu", "one", 1 << 30, 1),)
IDLE_SECONDS = 6.0
"""Of nothing to do, after which all is taken to have come: longer than a file needs to settle."""
COMMAND = (sys.executable, "-P", "-m", "tests.torture.worker")


def places(root: Path) -> Places:
    home = root / "home"
    return Places(home / "config.toml", home / "jobs.db", home / "work", home / "cache", home / "logs")


def settings() -> Config:
    plain = Config()
    return replace(
        plain,
        look=replace(plain.look, quality="draft"),
        run=replace(plain.run, chunk_seconds=1.0, stall_seconds=20.0),
        watch=replace(plain.watch, quiet_seconds=1.0, scan_seconds=2.0),
    )


def clock(root: Path) -> float:
    """Seconds by a clock that jumps as the file `clock` says."""
    offset = 0.0
    with suppress(OSError, ValueError):
        offset = float((root / "clock").read_text())
    return time.time() + offset


def main(root: Path, stay: bool) -> None:
    here, config = places(root), settings()
    project = Path(__file__).parents[2]
    sys.path.insert(0, str(project))

    def backends(name: str) -> Backend:
        assert name == "local"
        return LocalBackend(config, command=COMMAND, devices=lambda: DEVICES, logs=here.logs)

    with Store(here.store, clock=lambda: clock(root)) as store:
        asked = asked_by(config, styles=(str(root / "style.png"),))
        _, intake = open_intake(store, config, here, str(root / "inbox"), str(root / "out"), asked)
        idle_since = time.monotonic()

        def each() -> None:
            nonlocal idle_since
            unfinished = store.count(tuple(state for state in JobState if state not in FINISHED))
            waiting = store.found(str(root / "inbox"), (Arrival.SETTLING, Arrival.WAITING))
            if unfinished or waiting or not intake.is_idle():
                idle_since = time.monotonic()
            if not stay and time.monotonic() - idle_since > IDLE_SECONDS:
                runner.drain()

        runner = Runner(
            store,
            config,
            here,
            media=media_here(here),
            backends=backends,
            adopt=intake.turn,
            clock=lambda: clock(root),
        )
        try:
            runner.run(stay=True, each=each)
        finally:
            intake.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), "stay" in sys.argv[2:])
