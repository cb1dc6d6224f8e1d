"""A runner as a process of its own, on a clock that somebody meddles with: python -m tests.torture.program ROOT [stay]."""

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
from stylizer.runner import Runner, media_here
from stylizer.store import Store

DEVICES = (Device("cpu", "one", 1 << 30, 1),)
COMMAND = (sys.executable, "-P", "-m", "tests.torture.worker")


def places(root: Path) -> Places:
    home = root / "home"
    return Places(home / "config.toml", home / "jobs.db", home / "work", home / "cache", home / "logs")


def settings() -> Config:
    plain = Config()
    return replace(plain, run=replace(plain.run, chunk_seconds=1.0, stall_seconds=20.0))


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
        runner = Runner(store, config, here, media=media_here(here), backends=backends, clock=lambda: clock(root))
        runner.run(stay=stay)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "stay" in sys.argv[2:])
