"""What works on this machine, what does not, and what to do: one Check a line."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from stylizer.backend import load, names
from stylizer.check import Check
from stylizer.config import Config, Places
from stylizer.errors import StylizerError

SCARCE = 2 * 10**9
"""Bytes of free disk below which a clip of some length will not fit."""


def examine(config: Config, places: Places, output: Path) -> Iterator[Check]:
    """All checks, cheapest first; `output` is a folder where paintings are to go. No check raises."""
    yield Check("stylizer", "good", f"{version('stylizer')}, settings from {_settings(places)}")
    yield Check("python", "good", f"{platform.python_version()} on {platform.platform(terse=True)}")
    checks: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("terminal", _terminal),
        ("disk", lambda: _disk(places, output)),
        ("jobs", lambda: _store(places)),
        ("media", _media),
        ("weights", _weights),
        ("torch", lambda: _devices(config)),
        ("backends", lambda: _backends(config)),
    ]
    for name, check in checks:
        try:
            yield from check()
        except StylizerError as error:
            yield Check(name, "bad", error.message, error.hint)
        except (ImportError, OSError, RuntimeError) as error:
            yield Check(
                name,
                "bad",
                f"{type(error).__name__}: {error}",
                "Install stylizer again: pip install --force-reinstall stylizer",
            )


def can_paint(checks: list[Check]) -> bool:
    return all(check.verdict != "bad" for check in checks)


def _settings(places: Places) -> str:
    return str(places.config) if places.config.exists() else "their defaults"


def _terminal() -> Iterator[Check]:
    wide, high = shutil.get_terminal_size()
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    kind = f"{wide} x {high}" if sys.stdout.isatty() else "not a terminal: no bars, plain lines"
    colours = "true colour" if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit") else "256 colours or fewer"
    if encoding != "utf8":
        yield Check(
            "terminal", "poor", f"{kind}, text as {encoding or 'unknown'}", "Set PYTHONUTF8=1 for bars and pictures."
        )
    else:
        yield Check("terminal", "good", f"{kind}, {colours}" if sys.stdout.isatty() else kind)


def _disk(places: Places, output: Path) -> Iterator[Check]:
    for name, folder in (("output", output), ("work", places.work), ("cache", places.cache)):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(there).free
        text = f"{free / 1e9:.0f} GB free in {folder}"
        if not os.access(there, os.W_OK):
            yield Check(name, "poor" if name == "output" else "bad", f"{folder} cannot be written", "Choose another folder.")
        elif free < SCARCE:
            yield Check(name, "poor", text, "Free some space; painted chunks wait on disk until a clip is complete.")
        else:
            yield Check(name, "good", text)


def _store(places: Places) -> Iterator[Check]:
    from stylizer.store import Store  # noqa: PLC0415

    if not places.store.exists():
        yield Check("jobs", "good", "none yet")
        return
    with Store(places.store, write=False) as store:
        problems = store.check()
        if problems:
            yield Check("jobs", "bad", f"the store is damaged: {problems[0]}", f"Move {places.store} away to start afresh.")
        else:
            count = len(store.jobs())
            running = ", one process is painting now" if store.has_runner() else ""
            yield Check("jobs", "good", f"{count} {'job' if count == 1 else 'jobs'}, the store is sound{running}")


def _media() -> Iterator[Check]:
    import av  # noqa: PLC0415

    from stylizer.encode import CODECS, available  # noqa: PLC0415

    here = [name for name in CODECS if available(name)]
    absent = [name for name in CODECS if name not in here]
    text = f"PyAV {av.__version__}, writes {', '.join(here)}"
    if "h264" in here:
        yield Check("media", "good", text + (f" (not {', '.join(absent)})" if absent else ""))
    else:
        yield Check("media", "poor", text, "This build of PyAV has no h264; give --codec, or install PyAV from PyPI.")


def _weights() -> Iterator[Check]:
    from stylizer.styles import SHIPPED, weights_digest  # noqa: PLC0415

    yield Check("weights", "good", f"{SHIPPED.stat().st_size / 1e6:.1f} MB, sha256 {weights_digest()[:12]}…")


def _devices(config: Config) -> Iterator[Check]:
    import torch  # noqa: PLC0415

    from stylizer.devices import choose, devices  # noqa: PLC0415
    from stylizer.stylize import best_precision  # noqa: PLC0415

    yield Check("torch", "good", f"{torch.__version__}, {torch.get_num_threads()} threads")
    chosen = choose(config.run.device).device
    for device in devices():
        memory = f", {device.memory / 1e9:.0f} GB" if device.memory else ""
        count = f", {device.cores} {'core' if device.cores == 1 else 'cores'}" if device.cores else ""
        used = ", the one that auto takes" if device == chosen else ""
        yield Check(device.name, "good", f"{device.model}{count}{memory}, paints in {best_precision(device.name)}{used}")
    if all(device.name == "cpu" for device in devices()):
        yield Check("gpu", "poor", "none that torch can use", _gpu_advice())


def _gpu_advice() -> str:
    if shutil.which("nvidia-smi"):
        return "There is an NVIDIA driver, but this torch cannot use it: see pytorch.org/get-started for one that can."
    return "Painting works on the processor, at a few frames a second."


def _backends(config: Config) -> Iterator[Check]:
    for name in names():
        if name == "fake":
            continue  # for demonstrations
        if name == "azure" and not config.azure.batch:
            yield Check(name, "good", "backend, not set up; stylizer azure init does that")
            continue
        try:
            backend = load(name, config)
            capacity = backend.capacity()
            backend.close()
        except StylizerError as error:
            yield Check(name, "poor", f"backend: {error.message}", error.hint)
        except ImportError as error:
            yield Check(name, "poor", f"backend: {error}", f"pip install 'stylizer[{name}]'")
        else:
            yield Check(name, "good", f"backend, {capacity.total} at once: {capacity.label}")
