"""Tells people, and programs of theirs, that jobs are done or have failed. Each event is told at most once.

with Notifier(store, config.notify) as notifier:
    Runner(..., adopt=notifier.turn)

Sending happens aside and never holds up the loop; what does not work is an event, without the address, which may hold a
secret.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import shlex
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import psutil

from stylizer.config import NotifyDefaults
from stylizer.errors import ConfigError
from stylizer.jobs import Event, Job
from stylizer.store import MOST_EVENTS, Store

if TYPE_CHECKING:
    from apprise import Apprise

COMMAND_SECONDS = 600.0
"""That a when-done command may take."""
CLOSE_SECONDS = 20.0
"""That the last messages may take when all is done; commands have their own limit."""
LOOK_SECONDS = 1.0
SINGLY = 3
"""So many events are told one by one; more at once are one message."""
KINDS = {"done": "done", "failed": "failed", "refused": "refused"}
"""Kinds of events that are told, and the words for many of them."""


@dataclass(frozen=True, slots=True)
class Command:
    """A when-done command for one job."""

    job: int
    words: tuple[str, ...]
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class Message:
    title: str
    text: str
    failed: bool


class Notifier:
    """`turn` belongs to the thread of the store; call it often. ConfigError if an address or command cannot be used."""

    def __init__(self, store: Store, config: NotifyDefaults, when_done: str = "") -> None:
        self._store, self._desktop = store, config.desktop
        self._command = split(when_done or config.when_done)
        self._addresses = [(name, address) for name, address in map(address_of, config.to)]
        self._wanted = bool(self._command or self._addresses or self._desktop)
        self._given: queue.SimpleQueue[Command | Message | None] = queue.SimpleQueue()
        self._troubles: queue.SimpleQueue[tuple[int | None, str]] = queue.SimpleQueue()
        self._left = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._looked_at = 0.0
        self._turned = False
        """Whether we ever ran the store; who only looked on leaves the last word to who did."""
        newest = max((event.seq for event in store.events(most=1)), default=0)
        self._told = (store.told() or newest) if self._wanted else 0
        if self._told != store.told():
            store.set_told(self._told)

    def turn(self) -> None:
        """Hand on what has happened since the last time."""
        self._turned = True
        if not self._wanted or time.monotonic() < self._looked_at + LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        self._hand_on()

    def close(self) -> None:
        """Tell of the last events, and wait for that a while."""
        if self._wanted and self._turned:
            self._hand_on()
        if self._thread is not None:
            self._given.put(None)
            self._thread.join(CLOSE_SECONDS + (COMMAND_SECONDS if self._command else 0))
            self._note_troubles()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hand_on(self) -> None:
        self._note_troubles()
        with self._store.transaction():
            # Another runner may have told of some before it handed over.
            self._told = max(self._told, self._store.told())
            events = self._store.events(after=self._told, most=MOST_EVENTS)
            if not events:
                return
            # First this: should we end now, nobody is told twice.
            self._told = events[-1].seq
            self._store.set_told(self._told)
        chosen = [event for event in events if event.kind in KINDS and event.chunk is None]
        for event in chosen:
            if self._command and event.kind == "done" and event.job and self._store.has_job(event.job):
                self._put(_command(self._command, self._store.job(event.job)))
        if self._addresses or self._desktop:
            for message in _messages(chosen):
                self._put(message)

    def _put(self, what: Command | Message) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._send_all, name="notify", daemon=True)
            self._thread.start()
        self._given.put(what)

    def _note_troubles(self) -> None:
        while not self._troubles.empty():
            job, text = self._troubles.get()
            known = job if job is not None and self._store.has_job(job) else None
            self._store.note(known, None, "notify", text)

    # ---- aside ----

    def _send_all(self) -> None:
        while (what := self._given.get()) is not None:
            try:
                if isinstance(what, Command):
                    if trouble := carry_out(what):
                        self._troubles.put((what.job, trouble))
                else:
                    self._send(what)
            except Exception as error:  # whatever a library raises, painting goes on
                self._troubles.put((None, f"A message could not be sent ({type(error).__name__})."))

    def _send(self, message: Message) -> None:
        if self._desktop and (trouble := show_here(message)):
            self._troubles.put((None, f"The desktop does not show messages: {trouble}"))
        for name, address in self._addresses:
            if not send(address, message):
                self._troubles.put((None, f"A message could not be sent to {name}."))


def address_of(setting: str) -> tuple[str, str]:
    """A name that may be shown and the address, which may hold a secret. ConfigError if it is none."""
    name = setting
    if setting.startswith("env:"):
        address = os.environ.get(setting[4:], "")
        if not address:
            raise ConfigError(
                f"notify.to says {setting}, but {setting[4:]} is not in the environment.", hint="Set it first."
            )
    else:
        address = setting
        name = f"{setting.partition(':')[0]}://…"
    if sender_to(address) is None:
        raise ConfigError(f"notify.to has an address that is not understood: {name}.", hint="See https://appriseit.com.")
    return name, address


def send(address: str, message: Message) -> bool:
    """Send a message to an address as Apprise knows them; whether it was sent."""
    sender = sender_to(address)
    if sender is None:
        return False
    from apprise import NotifyType  # noqa: PLC0415

    kind = NotifyType.FAILURE if message.failed else NotifyType.SUCCESS
    return bool(sender.notify(title=message.title, body=message.text, notify_type=kind))


def sender_to(address: str) -> Apprise | None:
    """What sends to that address; None if it is none."""
    with warnings.catch_warnings():
        # What its own imports warn of is none of a person's business.
        warnings.simplefilter("ignore", DeprecationWarning)
        from apprise import Apprise  # noqa: PLC0415

        # It logs addresses, which hold secrets.
        logger = logging.getLogger("apprise")
        logger.handlers, logger.propagate = [logging.NullHandler()], False
        made = Apprise()
        return made if made.add(address) else None


def show_here(message: Message) -> str:
    """Show a message on this desktop; returns why that is not possible, empty if it was."""
    if sys.platform == "linux" and not os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return "there is no desktop session."
    from desktop_notifier import DesktopNotifier, Urgency  # noqa: PLC0415

    async def show() -> None:
        urgency = Urgency.Critical if message.failed else Urgency.Normal
        notifier = DesktopNotifier(app_name="stylizer", app_icon=None)
        await asyncio.wait_for(notifier.send(message.title, message.text, urgency=urgency), CLOSE_SECONDS)

    try:
        asyncio.run(show())
    except Exception as error:  # each desktop fails in its own way
        return f"{type(error).__name__}."
    return ""


def split(command: str) -> tuple[str, ...]:
    """The words of a command, without a shell. ConfigError if its quotes do not match."""
    try:
        words = shlex.split(command, posix=os.name != "nt")
    except ValueError as error:
        raise ConfigError(f"The command {command!r} is not complete: {error}.", hint="Check its quotes.") from None
    return tuple(word.strip('"') if os.name == "nt" else word for word in words)


def _command(words: Sequence[str], job: Job) -> Command:
    output = str(job.output)
    filled = tuple(word.replace("{output}", output) for word in words)
    environment = {"STYLIZER_JOB": str(job.id), "STYLIZER_OUTPUT": output, "STYLIZER_CLIP": str(job.clip.path)}
    return Command(job.id, filled if filled != tuple(words) else (*filled, output), environment)


def carry_out(command: Command, seconds: float = COMMAND_SECONDS) -> str:
    """Run it to its end, or to the limit; returns what went wrong, empty if nothing did."""
    name = command.words[0]
    try:
        process = subprocess.Popen(
            list(command.words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **command.environment},
            start_new_session=os.name != "nt",
        )
    except (OSError, ValueError) as error:
        return f"The command {name} could not be started: {getattr(error, 'strerror', None) or error}."
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        _end(process)
        return f"The command {name} was ended: it was not done after {seconds:.0f} s."
    return f"The command {name} ended with code {code}." if code else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it has started."""
    try:
        inner = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        inner = []
    process.kill()
    for child in inner:
        try:
            child.kill()
        except psutil.Error:
            continue
    process.wait()


def _messages(events: Sequence[Event]) -> list[Message]:
    """One for each event; a single one for many."""
    if len(events) <= SINGLY:
        return [Message(f"stylizer: {KINDS[e.kind]}", e.text, e.kind != "done") for e in events]
    counts = {kind: sum(event.kind == kind for event in events) for kind in KINDS}
    words = ", ".join(f"{count} {KINDS[kind]}" for kind, count in counts.items() if count)
    failures = [event.text for event in events if event.kind != "done"][:SINGLY]
    return [Message(f"stylizer: {words}", "\n".join([f"{len(events)} jobs have ended.", *failures]), bool(failures))]
