"""The real command in a real terminal: from an empty studio to a painted file, by keys alone."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from stylizer.jobs import JobState, RunnerDesired
from stylizer.store import Store
from stylizer.video import probe
from tests.media import make_clip

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux here")
SIZE = (80, 24)
KEY_SECONDS = 0.25
"""After each key: a person sees what it did before the next one."""


class Terminal:
    """A terminal of a tmux server of our own."""

    def __init__(self, home: Path) -> None:
        self._tmux = ["tmux", "-S", str(home / "tmux"), "-f", os.devnull]
        variables = {"STYLIZER_HOME": str(home), "OMP_NUM_THREADS": "1", "TERM": "screen-256color"}
        given = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
        wide, high = map(str, SIZE)
        command = shlex.join([sys.executable, "-m", "stylizer", "tui"])
        self._call("new-session", "-d", "-s", "studio", "-x", wide, "-y", high, *given, "-c", str(home), command)
        self._call("set-option", "-t", "studio", "remain-on-exit", "on")

    def _call(self, *arguments: str) -> str:
        return subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, check=True, timeout=20).stdout

    def shows(self) -> str:
        return self._call("capture-pane", "-p", "-t", "studio")

    def type(self, text: str) -> None:
        self._call("send-keys", "-l", "-t", "studio", text)

    def press(self, *keys: str) -> None:
        for key in keys:
            self._call("send-keys", "-t", "studio", key)
            time.sleep(KEY_SECONDS)

    def wait(self, words: str, seconds: float = 60.0) -> str:
        """Until the words are on the screen; returns it all."""
        deadline = time.monotonic() + seconds
        while words not in (screen := self.shows()):
            assert time.monotonic() < deadline, f"{words!r} did not come:\n{screen}"
            time.sleep(0.1)
        return screen

    def has_ended(self) -> bool:
        return self._call("display-message", "-p", "-t", "studio", "#{pane_dead}").strip() == "1"

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, timeout=20)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    # The runner that the studio started lives on when the studio is left: it is told to end.
    if (tmp_path / "jobs.db").exists():
        with Store(tmp_path / "jobs.db") as store:
            store.want_runner(RunnerDesired.STOP)
            deadline = time.monotonic() + 20
            while store.has_runner() and time.monotonic() < deadline:
                time.sleep(0.1)


@pytest.fixture
def terminal(home: Path) -> Iterator[Terminal]:
    opened = Terminal(home)
    yield opened
    opened.close()


def test_a_clip_is_painted_by_keys_alone(home: Path, terminal: Terminal) -> None:
    clip = make_clip(home / "lake.mp4", times=range(30))
    Image.effect_noise((160, 120), 90).convert("RGB").save(home / "art.png")
    output = home / "lake.art.mp4"

    terminal.wait("New")
    terminal.press("n")
    terminal.wait("quality")
    terminal.type("lak")
    terminal.press("Tab")
    screen = terminal.wait("64 x 48")
    assert "lake.mp4" in screen
    terminal.press("Enter")
    terminal.type("art.png")
    terminal.wait("✓")
    terminal.press("Enter")
    # Nothing can be typed into what has the focus now.
    terminal.wait("q Quit")
    terminal.press("Enter")
    terminal.wait("high")
    terminal.press("Home", "Enter")
    terminal.wait("art.png · draft")
    terminal.press("Tab", "Tab", "Tab")
    terminal.type("64")
    screen = terminal.wait("64    ")
    assert all(len(line) <= SIZE[0] for line in screen.splitlines()) and len(screen.splitlines()) <= SIZE[1]
    # What it takes is known when it is asked for; going does not wait for that.
    terminal.press("C-s")
    terminal.wait("lake.mp4")
    deadline = time.monotonic() + 180
    while not output.exists():
        assert time.monotonic() < deadline, terminal.shows() + (home / "logs" / "runner.txt").read_text(errors="replace")
        time.sleep(0.2)
    terminal.wait("done")
    painted = probe(output)
    assert (painted.frames, painted.width, painted.height) == (probe(clip).frames, 64, 48)
    terminal.press("q")
    terminal.wait("Leave the studio?")
    terminal.press("b")
    deadline = time.monotonic() + 20
    while not terminal.has_ended():
        assert time.monotonic() < deadline, terminal.shows()
        time.sleep(0.1)
    with Store(home / "jobs.db", write=False) as store:
        assert [job.state for job in store.jobs()] == [JobState.DONE]
        assert store.has_runner(), "the runner outlives the studio"
