"""Paint on this machine's devices: a worker process a device, which takes the next spec when it is done with the last.

A thread for each busy device starts the worker, gives it one spec after another, hears what it says and judges how it
ended. A worker holds the other end of our stdin pipe: it ends by itself when we are gone, whatever ended us.

A device that fails spec after spec of different jobs is itself at fault: it rests for a while, and what it had is LOST,
which counts against no job.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from backends.process import Process, ending
from stylizer.backend import Capacity, Meter, Phase, Report
from stylizer.config import Config, places
from stylizer.devices import Device
from stylizer.errors import OutputError
from stylizer.estimate import Estimate, Measurement, rest_of, time_left
from stylizer.jobs import Clip, Look
from stylizer.wire import Line, Spec, dumps, hear

AHEAD = 4
"""Specs that are taken for each device: the next one waits at hand when a worker is done with the last."""
LINGER_SECONDS = 10.0
"""A worker without work waits so long for more: loading torch costs seconds."""
SUSPECT_JOBS = 3
"""Failures of so many jobs in a row are the device's fault."""
REST_SECONDS = 30.0
"""That such a device is left alone, twice as long each time until it does something right."""
MEMORY_SHARE = 0.85
"""Of the machine's memory that one worker may take before it is ended, rather than the machine."""
GUESS = 2e6
"""Pixels a second, on a small processor; only until something has been measured."""


@dataclass(slots=True)
class Entry:
    """A spec that we were given, and what is known of it."""

    spec: Spec
    report: Report

    @property
    def is_open(self) -> bool:
        return self.report.phase in (Phase.WAITING, Phase.RUNNING)


@dataclass(slots=True)
class Standing:
    """How a device has done since it last did something right."""

    failed: set[str] = field(default_factory=set)
    """Jobs of which it failed something."""
    rests: int = 0
    until: float = 0.0
    """When its rest is over (monotonic)."""


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
        self._most = int(psutil.virtual_memory().total * MEMORY_SHARE)
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._closed = False
        self._entries: dict[str, Entry] = {}
        self._queue: list[str] = []
        self._serving: dict[str, threading.Thread] = {}
        self._processes: dict[str, Process] = {}
        self._standing: dict[str, Standing] = {}
        self._failed_on: dict[str, set[str]] = {}
        """Devices that each chunk failed on, whatever the attempt."""

    def capacity(self) -> Capacity:
        """`total` devices that `auto` uses; `free` counts what is taken ahead for them too."""
        fast = self._fast()
        with self._lock:
            taken = sum(entry.is_open for entry in self._entries.values())
            fast = [device for device in fast if not self._is_resting(device)] or fast[:1]
        label = ", ".join(device.label for device in fast)
        return Capacity(len(fast), max(0, AHEAD * len(fast) - taken), label, kind=_kind(fast[0]))

    def estimate(self, clip: Clip, look: Look, known: Sequence[Measurement] = ()) -> Estimate:
        found = time_left(rest_of(clip, look), [*known, *self._measurements], guess=GUESS)
        assert found
        return Estimate(clip.frames, found.seconds, None, 0, found.basis)

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
            self._closed = True
            self._entries.clear()
            self._queue.clear()
            for process in self._processes.values():
                process.end("closed")
            self._changed.notify_all()
            threads = list(self._serving.values())
        for thread in threads:
            thread.join()

    # ---- which device gets what ----

    def _fast(self) -> list[Device]:
        """Devices that `auto` means: all of the fastest kind here."""
        found = self._find()
        return [device for device in found if _kind(device) == _kind(found[0])]

    def _is_resting(self, device: Device) -> bool:
        standing = self._standing.get(device.name)
        return standing is not None and standing.until > time.monotonic()

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
        self._changed.notify_all()

    def _serve(self, device: Device, fast: Sequence[str]) -> None:
        process: Process | None = None
        while name := self._take(device, fast):
            if process is None:
                try:
                    process = Process(self._command, self._logs, self._stall, self._most)
                except OSError as error:
                    with self._lock:
                        self._fail(name, f"The worker could not be started: {error}.", retryable=True)
                    continue
            if not self._carry_out(process, device, name):
                process.finish()
                process = None
        if process:
            process.dismiss()

    def _take(self, device: Device, fast: Sequence[str]) -> str:
        """The next spec for a device, waited for; empty when none has come for a while, and then nobody serves it."""
        deadline = time.monotonic() + LINGER_SECONDS
        with self._lock:
            while not self._closed:
                resting = self._is_resting(device)
                for name in () if resting else self._queue:
                    if device.name in _wanted(self._entries[name].spec, fast) and not self._spares(name, device, fast):
                        self._queue.remove(name)
                        return name
                # What waits for a device that rests is served when it has rested.
                left = deadline - time.monotonic()
                if left <= 0 and not (resting and self._queue):
                    break
                self._changed.wait(max(0.05, min(left, 0.5)))
            del self._serving[device.name]
            return ""

    def _spares(self, name: str, device: Device, fast: Sequence[str]) -> bool:
        """Whether what failed here before is left to another device that has not tried it yet."""
        failed = self._failed_on.get(_chunk(name), set())
        others = set(_wanted(self._entries[name].spec, fast)) & self._serving.keys() - {device.name}
        return device.name in failed and bool(others - failed)

    # ---- one worker process ----

    def _carry_out(self, process: Process, device: Device, name: str) -> bool:
        """Let the worker carry out one spec; whether it can be given another."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                return True
            entry.report = replace(entry.report, phase=Phase.RUNNING, worker=device.label)
            self._processes[device.name] = process
            process.give(name, dumps(replace(entry.spec, device=device.name)))
        try:
            for text in process.lines():
                line = hear(text)
                if line is None:
                    process.log(text)
                elif line.id == name and self._hear(line, process, device):
                    break
        finally:
            with self._lock:
                del self._processes[device.name]
                if process.code is not None:
                    self._judge(process, device, name)
        # One that failed gives way to a fresh one: what is wrong may be the worker.
        return process.code is None and not process.reason and entry.report.phase is Phase.DONE

    def _hear(self, line: Line, process: Process, device: Device) -> bool:
        """Whether the spec is closed by this line."""
        with self._lock:
            entry = self._entries.get(line.id)
            if entry is None or not entry.is_open:
                return True
            report = replace(entry.report, phase=Phase.RUNNING, worker=device.label)
            if line.kind == "progress":
                entry.report = replace(report, done=line.done, total=line.total, fps=line.fps)
            elif line.kind == "note":
                entry.report = replace(report, notes=(*report.notes, line.text)[-100:])
            elif line.kind == "finished":
                entry.report = replace(report, phase=Phase.DONE, done=line.frames, digest=line.digest, seconds=line.seconds)
                self._standing.pop(device.name, None)
                self._failed_on.pop(_chunk(line.id), None)
            else:
                log = process.blame(line.id)
                self._fail(line.id, line.message, hint=line.hint, code=line.code, retryable=line.retryable, log=log)
                self._suspect(device, line.id)
            return not entry.is_open

    def _judge(self, process: Process, device: Device, name: str) -> None:
        """The worker has ended: blame the spec that it was at, if it was not we who ended it."""
        entry, code = self._entries.get(name), process.code or 0
        if entry is None or not entry.is_open:
            return
        if process.reason in ("cancelled", "closed"):
            # Another spec was meant, which ended by itself just then.
            entry.report = Report(name, Phase.WAITING)
            self._queue.insert(0, name)
        elif code == 2 and not process.reason:
            self._fail(name, f"The worker does not understand its spec: {process.tail()[-500:]}")
        else:
            sentence, hint = ending(code, process.reason, self._stall)
            self._fail(name, sentence, hint=hint, code="worker", retryable=True, log=process.blame(name))
            self._suspect(device, name)

    def _suspect(self, device: Device, name: str) -> None:
        """Something failed on a device that may do better elsewhere or later; after too many jobs it is the device."""
        entry = self._entries.get(name)
        if entry is None or not entry.report.retryable:
            return
        self._failed_on.setdefault(_chunk(name), set()).add(device.name)
        standing = self._standing.setdefault(device.name, Standing())
        standing.failed.add(name.partition("-")[0])
        if len(standing.failed) >= SUSPECT_JOBS:
            seconds = REST_SECONDS * 2 ** min(standing.rests, 6)
            self._standing[device.name] = Standing(set(), standing.rests + 1, time.monotonic() + seconds)
            said = f"{device.label} failed {SUSPECT_JOBS} jobs in a row, the last with: {entry.report.error}"
            entry.report = Report(name, Phase.LOST, error=f"{said} It rests for {seconds:.0f} s; the chunk starts anew.")

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


def _chunk(name: str) -> str:
    """What an id names apart from its attempt."""
    return name.rpartition("-")[0]


def _kind(device: Device) -> str:
    return device.name.partition(":")[0]


def _devices() -> Sequence[Device]:
    from stylizer.devices import devices  # noqa: PLC0415  # imports torch

    return devices()
