"""What a person does to jobs by one key: the same on every screen that shows jobs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from stylizer.backend import names
from stylizer.errors import ConfigError
from stylizer.jobs import FINISHED, Job, JobState
from tui import acts, desk
from tui.acts import Act
from tui.screens.ask import Ask

if TYPE_CHECKING:
    from tui.app import Studio

AGAIN = (JobState.FAILED, JobState.CANCELLED)
IMAGINED = "fake"
"""The backend of demos is no place to send a clip."""


class JobVerbs(Screen[None]):
    """A screen with jobs to do something to: `subjects` says which."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "Pause", tooltip="Start nothing more of it, or let it go on"),
        Binding("x", "cancel", "Cancel", tooltip="End it; what it has painted is thrown away"),
        Binding("r", "retry", "Retry", tooltip="Try a failed or cancelled one again"),
        Binding("R", "redo", "Redo", tooltip="Paint it anew"),
        Binding("b", "backend", "Backend", show=False, tooltip="Who paints what is left of it"),
        Binding("plus,equals_sign", "priority(1)", "Priority up", show=False),
        Binding("minus", "priority(-1)", "Priority down", show=False),
        Binding("o", "open_output", "Show output", show=False, tooltip="Open what was painted"),
        Binding("y", "copy_path", "Copy path", show=False, tooltip="Copy the path of the output"),
        Binding("delete,backspace", "forget", "Forget", show=False, tooltip="Take a finished one out of the list"),
        Binding("H", "hold", "Hold queue", show=False, tooltip="Pause the whole queue, or let it go on"),
        Binding("w", "work", "Start runner", show=False),
    ]

    _shown_for: frozenset[int] = frozenset()

    @property
    def studio(self) -> Studio:
        return cast("Studio", self.app)

    def subjects(self) -> list[Job]:
        """The jobs that a verb is for."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Only the verbs that can be given are shown."""
        if action in ("pause", "cancel", "retry", "redo") and self.is_mounted:
            states = {job.state for job in self.subjects()}
            fitting = {"retry": set(AGAIN), "redo": FINISHED}.get(action, set(JobState) - FINISHED)
            return bool(states & fitting)
        return True

    def verbs_changed(self) -> None:
        """Other jobs are the subjects, or their states are others: show the verbs for these."""
        states = frozenset(job.state in FINISHED and (job.state in AGAIN or 2) for job in self.subjects())
        if states != self._shown_for:
            self._shown_for = states
            self.refresh_bindings()

    def done_with(self) -> None:
        """The verb was given."""

    def _act(self, act: Act) -> None:
        self.studio.act(act)
        self.done_with()

    def _those(self, states: Sequence[JobState], none: str) -> list[Job]:
        """The subjects in these states; a word where there are none."""
        found = [job for job in self.subjects() if job.state in states]
        if not found and self.subjects():
            self.notify(none, timeout=3)
        return found

    def _unfinished(self, verb: str) -> list[Job]:
        return self._those([state for state in JobState if state not in FINISHED], f"Nothing here is left to be {verb}.")

    def action_pause(self) -> None:
        """Pause, or go on where all of them are paused."""
        jobs = self._unfinished("paused")
        if jobs and all(acts.is_paused(job) for job in jobs):
            self._act(acts.resume(jobs))
        elif running := [job for job in jobs if not acts.is_paused(job)]:
            self._act(acts.pause(running))

    def action_cancel(self) -> None:
        jobs = self._unfinished("cancelled")
        if jobs:
            about = "What is painted of it so far is thrown away. The clip itself is not touched."
            self._ask(f"Cancel {acts.named(jobs)}?", about, "Cancel it", acts.cancel(jobs, self.studio.here.work))

    def action_retry(self) -> None:
        if jobs := self._those(AGAIN, "Only what has failed or was cancelled can be tried again.  R paints anew."):
            self._act(acts.retry(jobs))

    def action_redo(self) -> None:
        if jobs := self._those(tuple(FINISHED), "Wait until it is done, or cancel it first."):
            about = "All of it is painted once more, over what is there now."
            self._ask(f"Paint {acts.named(jobs)} anew?", about, "Paint anew", acts.redo(jobs))

    def action_forget(self) -> None:
        if jobs := self._those(tuple(FINISHED), "Only what is done, failed or cancelled can be forgotten."):
            about = "It goes from this list, with its history. Painted files stay where they are."
            self._ask(f"Forget {acts.named(jobs)}?", about, "Forget", acts.remove(jobs, self.studio.here.work))

    def action_priority(self, step: int) -> None:
        if jobs := self._unfinished("put before others"):
            self.studio.act(acts.prioritize(jobs, step))

    def action_backend(self) -> None:
        if not (jobs := self._unfinished("sent elsewhere")):
            return

        def chosen(backend: str | None) -> None:
            if backend:
                self._act(acts.send_to(jobs, backend))

        self.app.push_screen(Choose(f"Who paints {acts.named(jobs)}?", backends(), jobs[0].backend), chosen)

    def action_open_output(self) -> None:
        try:
            for job in self.subjects()[:1]:
                desk.open_file(job.output)
        except ConfigError as error:
            self.studio.say(error)

    def action_copy_path(self) -> None:
        paths: list[Path] = [job.output for job in self.subjects()]
        if paths:
            self.app.copy_to_clipboard("\n".join(map(str, paths)))
            self.notify("Copied the path." if len(paths) == 1 else f"Copied {len(paths)} paths.", timeout=2)

    def action_hold(self) -> None:
        self.studio.act(acts.hold(not self.studio.now.runner.held))

    def action_work(self) -> None:
        self.studio.start_runner()

    def _ask(self, title: str, about: str, yes: str, act: Act) -> None:
        self.app.push_screen(Ask(title, about, yes=yes), lambda answer: self._act(act) if answer else None)


def backends() -> dict[str, str]:
    """Who can paint, with a word on each."""
    about = {"auto": "where the rules say", "local": "this machine", "azure": "rented machines; costs money"}
    return {name: about.get(name, "") for name in ("auto", *(name for name in names() if name != IMAGINED))}


class Choose(ModalScreen[str | None]):
    """One of a few; the answer is its name, None for none of them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Leave it"),
        Binding("j", "move(1)", "Down", show=False),
        Binding("k", "move(-1)", "Up", show=False),
    ]

    def __init__(self, title: str, options: dict[str, str], now: str) -> None:
        super().__init__()
        self._title, self._options, self._now = title, options, now

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._title, classes="title", markup=False)
            yield OptionList(
                *(
                    Option(Content.assemble(f"{name:<9}", (about, "$foreground-muted")), id=name)
                    for name, about in self._options.items()
                )
            )

    def on_mount(self) -> None:
        options = self.query_one(OptionList)
        options.highlighted = list(self._options).index(self._now) if self._now in self._options else 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)

    def action_move(self, lines: int) -> None:
        options = self.query_one(OptionList)
        if lines > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()
