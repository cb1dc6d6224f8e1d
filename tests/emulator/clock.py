"""Virtual time: hours of cloud in seconds of test."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass(order=True)
class Alarm:
    """Something that will happen at `due` (virtual seconds since the start), unless it is cancelled."""

    due: float
    order: int
    action: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """`scale` virtual seconds pass in a real one; with scale 0 time stands still but for `advance`.

    Actions run one after the other, in the order of their due times, holding `lock`, and see `now` at exactly their due
    time however late the machine is; so what follows from what is the same at any scale.
    """

    def __init__(self, scale: float, failed: Callable[[Exception], None]) -> None:
        """`failed` hears of actions that raise; the clock goes on without them."""
        self.lock = threading.RLock()
        self.failed = failed
        self.start = datetime.now(UTC)
        self.scale = scale
        self._begun = time.monotonic()
        self._passed = 0.0
        self._due: float | None = None
        self._alarms: list[Alarm] = []
        self._order = itertools.count()
        self._changed = threading.Condition(self.lock)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="emulator clock", daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        """Virtual seconds since the start."""
        if self._due is not None:
            return self._due
        return self._passed + (time.monotonic() - self._begun) * self.scale

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)

    def after(self, seconds: float, action: Callable[[], None]) -> Alarm:
        """Run the action `seconds` of virtual time from now; at the earliest when the caller lets go of the lock."""
        with self._changed:
            alarm = Alarm(self.seconds + max(0.0, seconds), next(self._order), action)
            heapq.heappush(self._alarms, alarm)
            self._changed.notify_all()
            return alarm

    def advance(self, seconds: float) -> None:
        """Let virtual time pass at once, with all that happens in it."""
        with self._changed:
            self.catch_up(self.seconds + seconds)
            self._passed += seconds
            self._changed.notify_all()

    def set_scale(self, scale: float) -> None:
        """Change the pace from now on."""
        with self._changed:
            self._passed, self._begun = self.seconds, time.monotonic()
            self.scale = scale
            self._changed.notify_all()

    def catch_up(self, until: float | None = None) -> None:
        """Run what is due; who reads the state calls this first, so that it is never behind the clock."""
        with self.lock:
            if self._due is not None:
                return
            limit = self.seconds if until is None else until
            try:
                while self._alarms and self._alarms[0].due <= limit:
                    alarm = heapq.heappop(self._alarms)
                    if not alarm.cancelled:
                        self._due = alarm.due
                        self._act(alarm)
            finally:
                self._due = None

    def _act(self, alarm: Alarm) -> None:
        try:
            alarm.action()
        except Exception as error:
            self.failed(error)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(10)

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                self.catch_up()
                wait = None
                if self._alarms and self.scale > 0:
                    wait = max(0.0, (self._alarms[0].due - self.seconds) / self.scale)
                elif self._alarms and self._alarms[0].due <= self.seconds:
                    wait = 0.0
                self._changed.wait(wait)
