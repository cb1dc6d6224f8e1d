"""Turns what has settled in an inbox into jobs, each exactly once. The store's `inbox` table is the memory (arrivals.py).

Scanning and looking at files happens aside (watch.py, examine.py). What is left for the runner's loop, a few milliseconds
a turn, is to decide: which style and sidecar go with a thing, and whether it is taken, waits or is refused.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from stylizer.config import Config
from stylizer.errors import ConfigError
from stylizer.inbox.arrivals import Arrivals
from stylizer.inbox.deliver import Deliveries
from stylizer.inbox.examine import Brief, Examiner, Ready, Refused, Verdict, Wanting
from stylizer.inbox.watch import Changes, Kind, Place, Thing, Watch, parent, sidecars_of, within
from stylizer.jobs import JobState
from stylizer.ledger import Arrival
from stylizer.store import Store

BUDGET = 0.015
"""Seconds that one turn may take when there is much to do."""
AT_ONCE = 16
"""Things that are looked at or stand in line for it; more wait where they can still be forgotten."""
AGAIN_SECONDS = 30.0
"""Until something that may come right by itself is looked at again."""
SLOW_SECONDS = 1.0
"""Between two looks at what changes slowly."""
JOIN_SECONDS = 5.0
WRITING = "It is still being written."


Twin = tuple[int, ...]
"""Jobs of another file of the same content."""


class Intake:
    """`turn` is the runner's `adopt`. It begins at its first turn, when this process is sure to be the one that runs."""

    def __init__(
        self,
        store: Store,
        place: Place,
        arrivals: Callable[[], Arrivals],
        examiner: Examiner,
        deliveries: Deliveries,
        config: Config,
        *,
        watch: Callable[[dict[str, str]], Watch] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._place, self._arrivals_of = store, place, arrivals
        self._examiner, self._deliveries, self._clock = examiner, deliveries, clock
        self._most = config.watch.files_per_hour
        settings = config.watch
        self._watch_of = watch or (
            lambda known: Watch(place, quiet=settings.quiet_seconds, every=settings.scan_seconds, known=known)
        )
        self._watch: Watch | None = None
        self._thread: threading.Thread | None = None
        self._heard: queue.SimpleQueue[Changes] = queue.SimpleQueue()
        self._news: deque[tuple[str, Thing | str, str]] = deque()
        self._trouble = ""
        self._extras: dict[str, dict[str, Thing]] = {}
        """Styles and sidecars that have settled, by folder and path."""
        self._arriving: dict[str, Thing] = {}
        """Those that have not."""
        self._things: dict[str, Thing] = {}
        """Clips that have settled and have no jobs yet."""
        self._todo: dict[str, None] = {}
        """Of them, those to be looked at next."""
        self._examining: dict[str, tuple[Thing, Future[Verdict]]] = {}
        self._held: dict[str, tuple[Ready, Twin]] = {}
        """Ready, but for room within the hour or the end of an earlier version's jobs; or for a twin to be painted."""
        self._comparing: dict[str, tuple[Ready, Twin, Future[bool]]] = {}
        self._single: set[str] = set()
        """Painted by themselves, whatever else has their content."""
        self._again: dict[str, float] = {}
        self._said: set[tuple[str, str]] = set()
        self._brought: deque[tuple[str, tuple[int, ...]]] = deque()
        """What was brought here for jobs, and may not be needed any more."""
        self._broken: BaseException | None = None
        self._slow_at = 0.0

    def turn(self) -> None:
        """A few milliseconds of what there is to do."""
        if self._watch is None:
            self._begin()
        if self._broken:
            raise self._broken
        until = time.perf_counter() + BUDGET
        self._hear()
        if self._news:
            with self._store.transaction():
                while self._news and time.perf_counter() < until:
                    self._note(*self._news.popleft())
        self._look_up(until)
        if self._clock() >= self._slow_at + SLOW_SECONDS:
            self._slow_at = self._clock()
            self._slowly(until)
        self._deliveries.turn()
        self._give_work()

    def is_idle(self) -> bool:
        """Whether all that was told so far is decided."""
        busy = self._news or self._todo or self._examining or self._comparing
        return not busy and self._heard.empty()

    def close(self) -> None:
        """End what goes on aside; the next start carries on."""
        if self._watch:
            self._watch.stop()
        if self._thread:
            self._thread.join(JOIN_SECONDS)
        self._examiner.close()
        self._deliveries.close()

    def _begin(self) -> None:
        self._arrivals = self._arrivals_of()
        if not self._place.is_here:
            self._brought.extend((row.path, row.jobs) for row in self._arrivals.taken())
        self._watch = watch = self._watch_of(self._arrivals.known())

        def listen() -> None:
            try:
                for changes in watch:
                    self._heard.put(changes)
            except BaseException as error:
                # Better to end with it than to run on and see nothing.
                self._broken = error

        self._thread = threading.Thread(target=listen, name="watch", daemon=True)
        self._thread.start()

    # ---- what the scans found ----

    def _hear(self) -> None:
        with suppress(queue.Empty):
            while True:
                changes = self._heard.get_nowait()
                if changes.trouble != self._trouble:
                    self._trouble = changes.trouble
                    self._store.note(None, None, "inbox", changes.trouble or f"The inbox {self._place.name} is there again.")
                self._news.extend(("gone", path, "") for path in changes.gone)
                # Styles and sidecars first: they are for what has settled with them.
                self._news.extend(("settling", thing, WRITING) for thing in sorted(changes.settling, key=_is_clip))
                self._news.extend(("stuck", thing, reason) for thing, reason in changes.stuck)
                self._news.extend(("settled", thing, "") for thing in sorted(changes.settled, key=_is_clip))

    def _note(self, what: str, about: Thing | str, reason: str) -> None:
        if isinstance(about, str):
            self._void(about)
            self._arrivals.drop(about)
            self._arriving.pop(about, None)
            if self._extras.get(parent(about), {}).pop(about, None):
                self._reconsider(parent(about))
        elif _is_clip(about):
            self._void(about.path)
            if what == "settled":
                self._things[about.path] = about
                self._todo[about.path] = None
            else:
                self._arrivals.put(about, Arrival.SETTLING if what == "settling" else Arrival.WAITING, reason)
        else:
            folder = self._extras.setdefault(about.folder, {})
            if what == "settled":
                self._arriving.pop(about.path, None)
                folder[about.path] = about
            else:
                self._arriving[about.path] = about
                folder.pop(about.path, None)
            self._reconsider(about.folder)

    def _reconsider(self, folder: str) -> None:
        """A style or sidecar came, changed or went: what waits there is looked at anew."""
        self._todo |= dict.fromkeys(path for path, thing in self._things.items() if within(thing.folder, folder))

    def _void(self, path: str) -> None:
        """What was found out about that path holds no more."""
        self._examiner.forget(path)
        self._single.discard(path)
        for known in (self._things, self._todo, self._examining, self._comparing, self._held, self._again):
            known.pop(path, None)

    # ---- looking at them ----

    def _give_work(self) -> None:
        while self._todo and len(self._examining) < AT_ONCE:
            path = next(path for path in self._todo)
            del self._todo[path]
            thing = self._things[path]
            brief, waits_for = self._brief(thing)
            self._held.pop(path, None)
            self._comparing.pop(path, None)
            if waits_for:
                self._arrivals.put(thing, Arrival.WAITING, f"{waits_for} is still being written.")
            else:
                self._examining[path] = thing, self._examiner.start(brief)

    def _brief(self, thing: Thing) -> tuple[Brief, str]:
        """What lies around a thing; and what of that is still being written."""
        sidecar = None
        for path in sidecars_of(thing.path):
            if path in self._arriving:
                return Brief(thing), path
            sidecar = sidecar or self._extras.get(parent(path), {}).get(path)
        folder = thing.folder
        while True:
            for path, one in self._arriving.items():
                if one.kind is Kind.STYLE and one.folder == folder:
                    return Brief(thing), path
            styles = tuple(one for one in self._extras.get(folder, {}).values() if one.kind is Kind.STYLE)
            if styles or not folder:
                return Brief(thing, sidecar, styles), ""
            folder = parent(folder)

    def _look_up(self, until: float) -> None:
        """See what was found out aside."""
        done = [path for path, (_, future) in self._examining.items() if future.done()]
        if done:
            # One transaction for all of them: each has to reach the disk before it counts.
            with self._store.transaction():
                for path in done:
                    if time.perf_counter() > until:
                        return
                    thing, future = self._examining.pop(path)
                    # One that waits for another look has met something new since.
                    if path not in self._todo:
                        self._judge(thing, future.result())
        for path in [path for path, (_, _, future) in self._comparing.items() if future.done()]:
            if time.perf_counter() > until:
                return
            ready, twin, same = self._comparing.pop(path)
            if same.result():
                self._follow(ready, twin)
            else:
                self._single.add(path)
                self._take(ready)

    def _judge(self, thing: Thing, verdict: Verdict) -> None:
        if isinstance(verdict, Wanting):
            self._wait(thing, verdict.reason)
            if verdict.again:
                self._again[thing.path] = self._clock() + AGAIN_SECONDS
        elif isinstance(verdict, Refused):
            with self._store.transaction():
                if self._arrivals.put(thing, Arrival.REFUSED, verdict.reason):
                    self._store.note(None, None, "refused", verdict.reason)
            self._void(thing.path)
        elif verdict and self._arrivals.is_ours(verdict.clip.path):
            self._void(thing.path)
            self._arrivals.drop(thing.path)
        elif verdict:
            self._take(verdict)

    # ---- taking them ----

    def _take(self, ready: Ready) -> None:
        path = ready.thing.path
        if self._arrivals.cancel_earlier(path):
            self._hold(ready, "Its earlier version is just being stopped.")
        elif not self._arrivals.has_room(self._most):
            self._hold(ready, f"{self._most} files were taken within the hour, as many as may be (watch.files_per_hour).")
        elif path not in self._single and (twin := self._arrivals.twin(ready)):
            other = self._arrivals.clip_of(twin)
            self._comparing[path] = ready, twin, self._examiner.compare(ready.clip, other)
        else:
            try:
                jobs = self._arrivals.take(ready)
            except ConfigError as error:
                self._later(ready.thing, f"{error.message} {error.hint}".strip())
            except OSError as error:
                self._later(ready.thing, f"Its place in the outbox cannot be made: {error.strerror or error}.")
            else:
                self._void(path)
                if not self._place.is_here:
                    self._brought.append((path, jobs))

    def _later(self, thing: Thing, reason: str) -> None:
        self._wait(thing, reason)
        self._again[thing.path] = self._clock() + AGAIN_SECONDS

    def _hold(self, ready: Ready, reason: str, twin: Twin = ()) -> None:
        self._held[ready.thing.path] = ready, twin
        self._arrivals.put(ready.thing, Arrival.WAITING, reason)

    def _wait(self, thing: Thing, reason: str) -> None:
        """A person is needed. Said once for a folder, where a thousand files may lack the same."""
        with self._store.transaction():
            is_new = self._arrivals.put(thing, Arrival.WAITING, reason)
            if is_new and (thing.folder, reason) not in self._said:
                self._said.add((thing.folder, reason))
                self._store.note(None, None, "waiting", f"{thing.path} waits. {reason}")

    def _follow(self, ready: Ready, twin: Twin) -> None:
        """A file of the same content as another is copied from what that becomes, or is painted if that fails."""
        copied = self._arrivals.copy(ready, twin)
        if copied:
            self._void(ready.thing.path)
        elif copied is None:
            name = self._arrivals.clip_of(twin).path.name
            self._hold(ready, f"It is the same as {name}: painted once, and copied when that is done.", twin)
        else:
            self._single.add(ready.thing.path)
            self._take(ready)

    def _give_back(self, until: float) -> None:
        """Delete what was downloaded for jobs that are done."""
        for _ in range(len(self._brought)):
            path, jobs = self._brought.popleft()
            states = {self._store.job(job).state for job in jobs if self._store.has_job(job)}
            if states <= {JobState.DONE, JobState.CANCELLED}:
                if path not in self._things:
                    self._place.discard(path)
            else:
                self._brought.append((path, jobs))
            if time.perf_counter() > until:
                return

    def _slowly(self, until: float) -> None:
        self._give_back(until)
        for path in [path for path, at in self._again.items() if at <= self._clock()]:
            del self._again[path]
            if path in self._things:
                self._todo[path] = None
        for path, (ready, twin) in list(self._held.items()):
            if time.perf_counter() > until:
                return
            if twin:
                del self._held[path]
                self._follow(ready, twin)
            elif self._arrivals.has_room(self._most):
                del self._held[path]
                self._take(ready)


def _is_clip(thing: Thing) -> bool:
    return thing.kind in (Kind.CLIP, Kind.SEQUENCE)
