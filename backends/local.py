"""Paint on this machine's devices: one worker process a device, given several specs in one go so that torch stays loaded.

A thread for each busy device starts the worker, hears what it says and judges how it ended. A worker holds the other end
of our stdin pipe: it ends by itself when we are gone, whatever ended us.
"""

from __future__ import annotations

import math
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backends.process import Process, ending
from stylizer.backend import Capacity, Meter, Phase, Report
from stylizer.config import Config, places
from stylizer.devices import Device
from stylizer.errors import OutputError
from stylizer.estimate import Estimate, Measurement, rate_here
from stylizer.jobs import Clip, Look
from stylizer.wire import Line, Spec, dumps, hear

AHEAD = 32
"""Specs that are taken for each device: loading torch anew for each chunk costs more than painting it."""
GUESS = 2e6
"""Pixels a second, on a small processor; only until something has been measured."""


@dataclass(slots=True)
class Entry:
    """A spec that we were given, and what is known of it."""

    spec: Spec
    report: Report
    alone: bool = False
    """Give it a worker of its own, to find out which spec of several is at fault."""

    @property
    def is_open(self) -> bool:
        return self.report.phase in (Phase.WAITING, Phase.RUNNING)


class LocalBackend:
    """Worker processes on the devices here. `command` is the worker's command line, to which spec files are added."""

    name = "local"

    def __init__(
        self,
        config: Config,
        *,
        command: Sequence[str] = (sys.executable, "-P", "-m", "stylizer.worker"),
        devices: Callable[[], Sequence[Device]] | None = None,
        measurements: Sequence[Measurement] = (),
        logs: Path | None = None,
    ) -> None:
        self._stall = config.run.stall_seconds
        self._command = list(command)
        self._find = devices or _devices
        self._measurements = measurements
        self._logs = logs or places().logs
        self._lock = threading.RLock()
        self._entries: dict[str, Entry] = {}
        self._queue: list[str] = []
        self._serving: dict[str, threading.Thread] = {}
        self._processes: dict[str, Process] = {}

    def capacity(self) -> Capacity:
        """`total` devices that `auto` uses; `free` counts what is taken ahead for them too."""
        fast = self._fast()
        with self._lock:
            taken = sum(entry.is_open for entry in self._entries.values())
        label = ", ".join(device.label for device in fast)
        return Capacity(len(fast), max(0, AHEAD * len(fast) - taken), label, kind=_kind(fast[0]))

    def estimate(self, clip: Clip, look: Look) -> Estimate:
        scale = look.size / max(clip.width, clip.height) if look.size else 1.0
        width, height = round(clip.width * scale), round(clip.height * scale)
        found = rate_here(self._measurements, width=width, height=height)
        if found:
            rate, measured = found
            return Estimate(clip.frames, clip.frames / rate, None, 0, f"measured on {measured.device}")
        seconds = clip.frames * width * height / GUESS
        return Estimate(clip.frames, seconds, None, 0, "a guess; nothing has been measured here yet")

    def submit(self, specs: Sequence[Spec]) -> None:
        with self._lock:
            for spec in specs:
                if spec.id not in self._entries:
                    self._entries[spec.id] = Entry(spec, Report(spec.id, Phase.WAITING))
                    self._queue.append(spec.id)
            self._start()

    def poll(self, ids: Collection[str]) -> Sequence[Report]:
        with self._lock:
            return [self._entries[i].report if i in self._entries else Report(i, Phase.LOST) for i in ids]

    def fetch(self, spec: Spec) -> Path:
        """OutputError if it is gone."""
        if not spec.output.exists():
            raise OutputError(f"The painted file {spec.output} is gone.", hint="Check who cleans that folder.")
        return spec.output

    def cancel(self, ids: Collection[str]) -> None:
        with self._lock:
            for name in ids:
                self._entries.pop(name, None)
                if name in self._queue:
                    self._queue.remove(name)
            for process in self._processes.values():
                if process.current in ids:
                    process.end("cancelled")

    def meters(self) -> Sequence[Meter]:
        return ()

    def stop_spending(self, job: int) -> None:
        pass

    def close(self) -> None:
        with self._lock:
            self._entries.clear()
            self._queue.clear()
            for process in self._processes.values():
                process.end("closed")
            threads = list(self._serving.values())
        for thread in threads:
            thread.join()

    # ---- which device gets what ----

    def _fast(self) -> list[Device]:
        """Devices that `auto` means: all of the fastest kind here."""
        found = self._find()
        return [device for device in found if _kind(device) == _kind(found[0])]

    def _start(self) -> None:
        """See that a thread serves each device that something waits for."""
        known = {device.name: device for device in self._find()}
        fast = [device.name for device in self._fast()]
        for name in list(self._queue):
            wanted = _wanted(self._entries[name].spec, fast)
            if not any(device in known for device in wanted):
                self._queue.remove(name)
                here = ", ".join(device.label for device in known.values())
                self._fail(
                    name, f"There is no device {wanted[0]!r} here; there is {here}.", hint="Choose one with --device."
                )
            for device in wanted:
                if device in known and device not in self._serving:
                    thread = threading.Thread(target=self._serve, args=(known[device], fast), name=device, daemon=True)
                    self._serving[device] = thread
                    thread.start()

    def _serve(self, device: Device, fast: Sequence[str]) -> None:
        while True:
            with self._lock:
                batch = self._take(device, fast)
                if not batch:
                    del self._serving[device.name]
                    return
            try:
                self._carry_out(device, batch)
            except OSError as error:
                with self._lock:
                    for name in batch:
                        self._fail(name, f"The worker could not be started: {error}.", retryable=True)

    def _take(self, device: Device, fast: Sequence[str]) -> list[str]:
        """This device's share of what waits, so that several devices end at about the same time."""
        fitting = [name for name in self._queue if device.name in _wanted(self._entries[name].spec, fast)]
        share = min(AHEAD, math.ceil(len(fitting) / max(1, len(fast))))
        batch = fitting[:share]
        for place, name in enumerate(batch):
            if self._entries[name].alone:
                batch = batch[: max(1, place)]
                break
        self._queue = [name for name in self._queue if name not in batch]
        return batch

    # ---- one worker process ----

    def _carry_out(self, device: Device, batch: Sequence[str]) -> None:
        with tempfile.TemporaryDirectory(prefix="stylizer-") as folder:
            files = []
            with self._lock:
                batch = [name for name in batch if name in self._entries]
                for name in batch:
                    file = Path(folder) / f"{name}.json"
                    file.write_text(dumps(replace(self._entries[name].spec, device=device.name)), encoding="utf-8")
                    files.append(str(file))
                if not batch:
                    return
                process = Process([*self._command, *files], self._logs, self._stall)
                self._processes[device.name] = process
                self._next(process, batch, device)
            try:
                for text in process.lines():
                    line = hear(text)
                    if line is None:
                        process.log(text)
                    elif line.id in batch:
                        self._hear(line, process, batch, device)
            finally:
                with self._lock:
                    del self._processes[device.name]
                    self._judge(process, batch)

    def _next(self, process: Process, batch: Sequence[str], device: Device) -> None:
        """Note which spec the worker is at now. A cancelled one cannot be taken from it: another worker gets the rest."""
        left = [name for name in batch if name not in self._entries or self._entries[name].is_open]
        process.current = left[0] if left else ""
        if left and left[0] not in self._entries:
            process.end("cancelled")
        elif left:
            entry = self._entries[left[0]]
            entry.report = replace(entry.report, phase=Phase.RUNNING, worker=device.label)

    def _hear(self, line: Line, process: Process, batch: Sequence[str], device: Device) -> None:
        with self._lock:
            entry = self._entries.get(line.id)
            if entry is None or not entry.is_open:
                return
            report = replace(entry.report, phase=Phase.RUNNING, worker=device.label)
            if line.kind == "progress":
                entry.report = replace(report, done=line.done, total=line.total, fps=line.fps)
            elif line.kind == "note":
                entry.report = replace(report, notes=(*report.notes, line.text)[-100:])
            elif line.kind == "finished":
                entry.report = replace(report, phase=Phase.DONE, done=line.frames, digest=line.digest, seconds=line.seconds)
                self._next(process, batch, device)
            else:
                self._fail(
                    line.id,
                    line.message,
                    hint=line.hint,
                    code=line.code,
                    retryable=line.retryable,
                    log=process.blame(line.id),
                )
                self._next(process, batch, device)

    def _judge(self, process: Process, batch: Sequence[str]) -> None:
        """The worker has ended: blame the spec that it was at, if it was not we who ended it, and queue the others again."""
        left = [name for name in batch if name in self._entries and self._entries[name].is_open]
        code, reason = process.code, process.reason
        if left and code == 2 and not reason:
            if len(batch) == 1:
                self._fail(left.pop(), f"The worker does not understand its spec: {process.tail()[-500:]}")
            for name in left:
                self._entries[name].alone = True
        elif left and reason not in ("cancelled", "closed"):
            sentence, hint = ending(code, reason, self._stall)
            name = left.pop(0)
            self._fail(name, sentence, hint=hint, code="worker", retryable=True, log=process.blame(name))
        for name in left:
            self._entries[name].report = Report(name, Phase.WAITING)
        self._queue[:0] = left

    def _fail(
        self, name: str, error: str, *, hint: str = "", code: str = "", retryable: bool = False, log: str = ""
    ) -> None:
        entry = self._entries.get(name)
        if entry and entry.is_open:
            entry.report = replace(
                entry.report, phase=Phase.FAILED, error=error, hint=hint, code=code, retryable=retryable, log=log
            )


def _wanted(spec: Spec, fast: Sequence[str]) -> Sequence[str]:
    """Names of the devices that may carry out a spec."""
    if spec.device in ("", "auto"):
        return fast
    return ["cuda:0" if spec.device == "cuda" else spec.device]


def _kind(device: Device) -> str:
    return device.name.partition(":")[0]


def _devices() -> Sequence[Device]:
    from stylizer.devices import devices  # noqa: PLC0415  # imports torch

    return devices()
