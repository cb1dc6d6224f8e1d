"""The studio: the app around all screens.

A screen reads `app.now` (the store as it stands, see now.py), subscribes to `app.changed` to be told what to show anew, and
acts by `app.act(…)` with what acts.py makes of a verb; nothing else writes. Screens that need more of the store open it
themselves with write=False. To add a screen: a class in screens/, a line in `SHOWN`, its keys in its own BINDINGS. What it
shows of other people's making (names, errors) is Content or Text, never markup.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import ClassVar

from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.signal import Signal

from stylizer.config import Config, Places, load_config
from stylizer.errors import StylizerError
from stylizer.gauges import Gauges
from stylizer.jobs import FINISHED, Event, Job, RunnerDesired
from stylizer.screen import plain
from stylizer.store import Store
from tui import acts, desk
from tui.acts import Act, Do
from tui.feed import Feed, Reads
from tui.now import Changes, News, Now
from tui.theme import DAY, NIGHT, PLAIN
from tui.widgets.picture import sharp

SHOWN = {"1": ("studio", "Studio"), "2": ("cloud", "Cloud"), "3": ("devices", "Devices"), "4": ("settings", "Settings")}
"""Screens by key: name and title."""
MOST_UNDONE = 50
MOVES = ("move(", "page(", "jump(", "line(", "scroll", "command_palette", "screen.", "app.")
"""Actions of keys that nobody looks for by name."""
LONG = 1.0
"""Seconds that a change may take before it is said why nothing happens."""
NEARLY = 0.8
"""Share of a budget at which a person is told."""


class Studio(App[None]):
    """Shows the store of `here`, and writes what is wanted into it. `clock` gives the Unix time. Of one that is
    `passing` nothing goes on when it is left.
    """

    TITLE = "stylizer"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New"),
        Binding("u", "undo", "Undo", show=False),
        Binding("T", "other_theme", "Light or dark", show=False),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "leave", "Quit"),
        # Last: they are the first to go where there is no room.
        *(Binding(key, f"show('{name}')", title, show=key != "1") for key, (name, title) in SHOWN.items()),
        Binding("ctrl+q", "leave", "Quit", show=False, priority=True),
        Binding("ctrl+c", "leave", "Quit", show=False, priority=True),
    ]

    def __init__(
        self,
        here: Places,
        *,
        clock: Callable[[], float] = time.time,
        gauges: Callable[[], Reads] = Gauges,
        theme: str = "",
        passing: bool = False,
    ) -> None:
        super().__init__()
        self.passing = passing
        self.here, self.clock = here, clock
        self.now = Now()
        self.changed: Signal[Changes] = Signal(self, "changed")
        self.config, self._config_at = Config(), -1.0
        self._feed = Feed(here.store, lambda news: self.post_message(Told(news)), gauges)
        self._acting = asyncio.Lock()
        self._undo: list[tuple[str, Do]] = []
        self._warned: set[str] = set()
        self.sharp = sharp()
        """What draws pictures in real pixels here."""
        self.wanted_job: int | None = None
        """A job that was just made: the studio puts the cursor on it."""
        for one in (NIGHT, DAY, PLAIN):
            self.register_theme(one)
        # Few colours are better spent on the terminal's own, which a person has chosen.
        few = self.console.color_system in ("standard", "windows")
        self.theme = theme or (PLAIN.name if few else NIGHT.name)

    def get_default_screen(self) -> Screen[None]:
        from tui.screens.studio import StudioScreen  # noqa: PLC0415  # it names this module

        return StudioScreen()

    def on_mount(self) -> None:
        self._read_config()
        self.set_interval(2.0, self._read_config)
        self._feed.start()

    def on_unmount(self) -> None:
        self._feed.stop()

    # ---- what is so ----

    def on_told(self, message: Told) -> None:
        """Take in what the feed read, and let screens show it."""
        changes = self.now.apply(message.news)
        self._feed.heard()
        self.changed.publish(changes)
        if not changes.first:
            self._tell_of(changes.events)
        if message.news.money is not None:
            self._warn_of_money(said=not changes.first)

    def _tell_of(self, events: Iterable[Event]) -> None:
        """Toasts and the bell for what a person waits for."""
        ended = [event for event in events if event.kind in ("done", "failed") and event.job in self.now.jobs]
        for event in ended[:3]:
            job = self.now.jobs[event.job or 0]
            words = job.error if event.kind == "failed" and job.error else event.text
            title = plain(job.clip.path.name)
            self.notify(plain(words), title=title, severity="error" if words == job.error else "information", markup=False)
        if len(ended) > 3:
            self.notify(f"{len(ended) - 3} more are done or have failed.")
        if ended:
            self.bell()

    def _warn_of_money(self, *, said: bool) -> None:
        """Tell once of each budget that is nearly spent; those that were before we came are not news."""
        day, limit = float(self.now.spent(self.clock())), self.config.place.max_cost_day
        nearly = {"day"} if limit and day >= NEARLY * limit else set()
        for number, money in self.now.money.items():
            job = self.now.jobs.get(number)
            spent = sum(float(one.meter.spent) for one in money)
            if job and job.state not in FINISHED and job.max_cost and spent >= NEARLY * job.max_cost:
                nearly.add(str(number))
        for what in nearly - self._warned if said else ():
            whose = "today" if what == "day" else plain(self.now.jobs[int(what)].clip.path.name)
            self.notify(f"{NEARLY:.0%} of the money for {whose} is spent.", severity="warning", markup=False)
            self.bell()
        self._warned |= nearly

    def _read_config(self) -> None:
        """Limits may change while we are open; a config that is not understood leaves the last one in force."""
        try:
            at = self.here.config.stat().st_mtime if self.here.config.exists() else 0.0
            if at != self._config_at:
                self._config_at = at
                self.config = load_config(self.here.config)
                self.changed.publish(Changes())
        except (OSError, StylizerError) as error:
            self.notify(plain(str(error)), severity="warning", markup=False)

    # ---- what is wanted ----

    @work(group="act")
    async def act(self, act: Act) -> None:
        """Do it, one after the other, and tell; what can be undone is remembered."""

        def do() -> None:
            with Store(self.here.store) as store:
                act.do(store)

        async with self._acting:
            doing = asyncio.ensure_future(asyncio.to_thread(do))
            if not (await asyncio.wait([doing], timeout=LONG))[0]:
                self.notify("The job store is held by another program; waiting for it.", severity="warning", timeout=5)
            try:
                await doing
            except StylizerError as error:
                self.say(error)
                return
        if act.undo:
            self._undo = [*self._undo[1 - MOST_UNDONE :], (act.said, act.undo)]
        if act.said:
            self.notify(f"{plain(act.said)}{'  u undoes it.' if act.undo else ''}", timeout=3, markup=False)

    def say(self, error: StylizerError) -> None:
        """What went wrong, and what to do."""
        self.notify(plain(f"{error.message} {error.hint}".strip()), severity="error", timeout=8, markup=False)

    def action_undo(self) -> None:
        if not self._undo:
            self.notify("There is nothing to undo.", timeout=2)
            return
        said, undo = self._undo.pop()
        self.act(Act(f"Undone: {said}" if said else "Undone.", undo))

    def start_runner(self) -> None:
        """Start a process that works off the queue."""
        if self.now.alive:
            self.notify("A runner is at work already.", timeout=3)
            return
        try:
            log = desk.start_runner(self.here, ended=lambda words: self.call_later(self._runner_ended, words))
        except OSError as error:
            self.notify(plain(f"The runner could not be started: {error}."), severity="error", markup=False)
        else:
            self.notify(plain(f"The runner starts. What it says goes to {log.name} in the logs."), timeout=4, markup=False)

    def _runner_ended(self, words: str) -> None:
        if self.now.runner.desired is not RunnerDesired.RUN:
            # It was told to, and says only that a job has failed.
            return
        self.notify(plain(f"The runner has ended: {words}"), severity="error", timeout=12, markup=False)

    # ---- screens ----

    async def action_show(self, name: str) -> None:
        """Show a room, whatever lies above the studio."""
        while len(self.screen_stack) > 1:
            await self.pop_screen()
        if name != "studio":
            await self.push_screen(self._room(name))

    def _room(self, name: str) -> Screen[None]:
        from tui.screens.cloud import Cloud  # noqa: PLC0415  # rooms are opened seldom
        from tui.screens.devices import Devices  # noqa: PLC0415
        from tui.screens.settings import Settings  # noqa: PLC0415

        rooms: dict[str, Callable[[], Screen[None]]] = {
            "cloud": Cloud,
            "devices": Devices,
            "settings": lambda: Settings(self.here.config),
        }
        return rooms[name]()

    def action_new(self) -> None:
        from tui.screens.new_job import NewJob  # noqa: PLC0415  # Pillow

        def made(job: Job | None) -> None:
            if job:
                self.notify(plain(f"{job.clip.path.name} is queued."), timeout=3, markup=False)
                self.wanted_job = job.id

        self.push_screen(NewJob(self.here), made)

    def action_help(self) -> None:
        from tui.screens.help import Help  # noqa: PLC0415

        self.push_screen(Help(self.screen))

    def action_other_theme(self) -> None:
        self.theme = DAY.name if self.theme == NIGHT.name else NIGHT.name

    def action_leave(self) -> None:
        """Leave at once where there is no runner, else ask what is to become of it."""
        from tui.screens.quit import Leaving, Quit  # noqa: PLC0415

        chunks = sum(len(of_job) for of_job in self.now.under_way.values())
        if not self.now.alive or self.passing or isinstance(self.screen, Quit):
            self.exit()
            return

        def left(how: Leaving | None) -> None:
            wanted = {Leaving.FINISH: RunnerDesired.DRAIN, Leaving.STOP: RunnerDesired.STOP}
            if how in wanted:
                self._end_runner(wanted[how])
            elif how:
                self.exit()

        self.push_screen(Quit(chunks, len(self.now.under_way), self.now.runner.inbox), left)

    @work
    async def _end_runner(self, desired: RunnerDesired) -> None:
        await self.act(acts.end_runner(desired)).wait()
        self.exit()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: all keys of the screen by name, the rooms, the themes."""
        seen = set()
        for node, binding, enabled, _ in screen.active_bindings.values():
            words = binding.description
            if enabled and words and words not in seen and not (binding.system or binding.action.startswith(MOVES)):
                seen.add(words)
                about = f"{self.get_key_display(binding)}   {binding.tooltip}".rstrip()
                yield SystemCommand(words, about, _run(self, binding.action, node))
        yield SystemCommand("Theme", "Choose among all themes", self.search_themes)


def _run(app: App[None], action: str, node: object) -> Callable[[], object]:
    return lambda: app.run_action(action, node)  # type: ignore[arg-type]


class Told(Message):
    """What the feed read."""

    def __init__(self, news: News) -> None:
        super().__init__()
        self.news = news
