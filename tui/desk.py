"""This machine's own ways: start a runner that outlives us, show a file in the program that the system has for it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from stylizer.config import Places
from stylizer.errors import ConfigError


def start_runner(here: Places, *arguments: str) -> Path:
    """Start `stylizer work --stay` (or another command that runs jobs) as a process of its own; returns its log file."""
    command = [sys.executable, "-m", "stylizer", *(arguments or ("work", "--stay")), "--quiet"]
    here.logs.mkdir(parents=True, exist_ok=True)
    log = here.logs / "runner.txt"
    with log.open("ab") as stream:
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, creationflags=flags)
        else:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
            )
    # While we are here an ended runner is our child; somebody has to ask how it ended, or the system keeps it.
    threading.Thread(target=process.wait, daemon=True).start()
    return log


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
