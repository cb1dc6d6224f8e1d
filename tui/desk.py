"""This machine's own ways: start a runner that outlives us, show a file in the program that the system has for it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from stylizer.config import Places
from stylizer.errors import ConfigError

WELL = (0, 130)
"""Exit codes of a runner that ended by itself: all is done, it was interrupted."""
MOST_BYTES = 4096
"""Of a log that are looked at."""


def start_runner(here: Places, *arguments: str, ended: Callable[[str], object] = lambda words: None) -> Path:
    """Start `stylizer work --stay` (or another command that runs jobs) as a process of its own; returns its log file.

    `ended` is called in a thread, should it end otherwise than well while we are here, with what it said last.
    """
    command = [sys.executable, "-m", "stylizer", *(arguments or ("work", "--stay")), "--quiet"]
    here.logs.mkdir(parents=True, exist_ok=True)
    log = here.logs / "runner.txt"
    with log.open("ab") as stream:
        begun = log.stat().st_size
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, creationflags=flags)
        else:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
            )

    def wait() -> None:
        # While we are here an ended runner is our child; somebody has to ask how it ended, or the system keeps it.
        code = process.wait()
        if code not in WELL:
            ended(last_words(log, begun) or (f"killed by signal {-code}" if code < 0 else f"exit code {code}"))

    threading.Thread(target=wait, daemon=True).start()
    return log


def last_words(log: Path, begun: int) -> str:
    """The last two lines (an error and its hint) of the log after so many bytes; empty if there are none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(begun, log.stat().st_size - MOST_BYTES))
            lines = stream.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return " ".join([line.strip() for line in lines if line.strip()][-2:])


def open_file(path: Path) -> None:
    """Show a file or folder. ConfigError if it is not there, or where there is no desktop to show it on."""
    if not path.exists():
        raise ConfigError(f"{path} is not there yet.")
    if sys.platform == "win32":
        os.startfile(path)  # noqa: S606  # it is what the person asked for
        return
    remote = not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if sys.platform != "darwin" and remote:
        raise ConfigError("There is no desktop here that could open it.", hint="y copies its path.")
    command = "open" if sys.platform == "darwin" else "xdg-open"
    try:
        subprocess.Popen(
            [command, str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError as error:
        raise ConfigError(f"{path} cannot be opened: {error.strerror}.", hint="y copies its path.") from None
