"""A worker process as the local backend holds it: started apart, heard line by line, ended with certainty."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from stylizer.wire import MAX_LINE

GRACE_SECONDS = 5.0
"""Between asking a worker to end and ending it."""
LOOK_SECONDS = 0.5
"""Between two looks at how much memory a worker takes."""
TAIL_LINES = 40
LOG_BYTES = 1 << 20
"""Of one spec; what comes after it is dropped."""


class Process:
    """Starts `command` and gives it specs by its stdin, which stays open as long as we live: the worker ends with us."""

    def __init__(self, command: Sequence[str], logs: Path, stall_seconds: float, most_bytes: int) -> None:
        self.current = ""
        """Id of the spec that the worker is at."""
        self.reason = ""
        """Why we ended it: cancelled, closed, stalled or memory; empty if we did not."""
        self.code: int | None = None
        """How it ended; None while it runs."""
        self._logs, self._stall, self._most = logs, stall_seconds, most_bytes
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._logged: dict[str, int] = {}
        self._heard: queue.Queue[tuple[bool, str] | None] = queue.Queue(10_000)
        self._asked = self._looked = 0.0
        self._spoke = time.monotonic()
        apart = 0
        if sys.platform == "win32":
            apart = subprocess.CREATE_NEW_PROCESS_GROUP
        # Apart, so that Ctrl-C in the terminal reaches the runner alone, which then decides.
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=sys.platform != "win32",
            creationflags=apart,
        )
        self._pumps = [
            threading.Thread(target=self._pump, args=(stream, ours), daemon=True)
            for stream, ours in ((self._process.stdout, True), (self._process.stderr, False))
        ]
        for pump in self._pumps:
            pump.start()

    def give(self, name: str, text: str) -> None:
        """The next spec, as one line; `lines` tells what comes of it."""
        self.current, self._spoke = name, time.monotonic()
        self._write_in(text + "\n")

    def lines(self) -> Iterator[str]:
        """Lines of the worker's stdout, as they come, until it has ended; `code` then says how. A silent one is ended, and
        one that takes more memory than it may.
        """
        while self.code is None:
            try:
                heard = self._heard.get(timeout=0.1)
            except queue.Empty:
                now = time.monotonic()
                if self._process.poll() is not None and (
                    not any(p.is_alive() for p in self._pumps) or now - self._spoke > 1
                ):
                    # A grandchild may hold the pipes open; the worker itself says nothing more.
                    self.finish()
                else:
                    self._watch(now)
                continue
            # One that never stops talking is watched as well.
            self._watch(time.monotonic())
            if heard is not None:
                self._spoke = time.monotonic()
                is_stdout, text = heard
                if is_stdout:
                    yield text
                else:
                    self.log(text)

    def dismiss(self) -> None:
        """Nothing more will come: the worker ends by itself, and soon."""
        self._write_in("\n")
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_SECONDS)
        self.finish()

    def _write_in(self, text: str) -> None:
        assert self._process.stdin
        # A worker that is gone says so by its end.
        with suppress(OSError, ValueError):
            self._process.stdin.write(text.encode())
            self._process.stdin.flush()

    def log(self, text: str) -> None:
        """Keep what is not for us in the log of the spec that the worker is at."""
        self._tail.append(text[:2000])
        self._write(self.current or "worker", text)

    def blame(self, name: str) -> str:
        """The last lines that are not for us; they are in that spec's log too.

        stderr may overtake stdout, so that a line can have come before we knew that this spec had begun.
        """
        if name not in self._logged and self._tail:
            self._write(name, self.tail())
        return self.tail()

    def _write(self, name: str, text: str) -> None:
        size = self._logged.get(name, 0)
        if size >= LOG_BYTES:
            return
        self._logged[name] = size + len(text) + 1
        # A log that cannot be written must not cost the picture.
        with suppress(OSError):
            self._logs.mkdir(parents=True, exist_ok=True)
            with (self._logs / f"{name}.log").open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text + "\n")

    def tail(self) -> str:
        """The last lines that are not for us."""
        return "\n".join(self._tail)

    def end(self, reason: str) -> None:
        """Ask the worker to end; it is ended if it does not. The first reason counts."""
        self.reason = self.reason or reason
        if not self._asked:
            self._asked = time.monotonic()
            self._signal(hard=False)

    def _watch(self, now: float) -> None:
        if now - self._spoke > self._stall:
            self.end("stalled")
        if now - self._looked > LOOK_SECONDS:
            self._looked = now
            with suppress(psutil.Error):
                if psutil.Process(self._process.pid).memory_info().rss > self._most:
                    self.end("memory")
        if self._asked and now - self._asked > GRACE_SECONDS:
            self._signal(hard=True)

    def _signal(self, *, hard: bool) -> None:
        if self._process.poll() is not None:
            return
        with suppress(OSError):
            if sys.platform == "win32":
                self._process.terminate()
            else:
                os.killpg(self._process.pid, signal.SIGKILL if hard else signal.SIGTERM)

    def _pump(self, stream: IO[bytes], is_stdout: bool) -> None:
        with suppress(ValueError, OSError):
            for raw in iter(lambda: stream.readline(MAX_LINE + 1), b""):
                self._heard.put((is_stdout, raw.decode("utf-8", "replace").rstrip("\r\n")))
        self._heard.put(None)

    def finish(self) -> None:
        """Whatever happened: no process, no pipe and no thread is left. Repeatable."""
        if self.code is not None:
            return
        self._signal(hard=True)
        self.code = self._process.wait()
        assert self._process.stdin
        with suppress(OSError):
            self._process.stdin.close()
        for pump, stream in zip(self._pumps, (self._process.stdout, self._process.stderr), strict=True):
            pump.join(timeout=1)
            if stream and not pump.is_alive():
                stream.close()


def ending(code: int, reason: str, stall_seconds: float) -> tuple[str, str]:
    """How a worker ended that had not said so, as a sentence and a hint."""
    if reason == "stalled":
        return f"The worker said nothing for {stall_seconds:.0f} s and was ended.", "Should it happen again, see its log."
    if reason == "memory":
        return "The worker took more memory than it may and was ended.", "Choose a smaller --size."
    if code in (-9, 137):
        return "The worker was killed, most likely for want of memory.", "Close other programs, or choose a smaller --size."
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"The worker crashed ({name}).", "Should it happen again, try another --device; its log may say more."
    return f"The worker ended without finishing its work (exit code {code}).", "See its log."
