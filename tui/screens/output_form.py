"""The fields that say what is written: the file, and the codec in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Select, Static
from textual.worker import get_current_worker

from stylizer import commands
from stylizer.config import Config, Places
from stylizer.errors import StylizerError
from stylizer.jobs import Clip, Encoding, Job, JobState, Look
from stylizer.screen import plain
from stylizer.store import Store
from tui.screens.asking import still_open
from tui.screens.paths import CLIPS, PathInput, typed

SUITED = "what suits the file"


@dataclass(frozen=True, slots=True)
class Order:
    """What a person asks for."""

    clip: Clip
    look: Look
    backend: str
    output: str
    """As typed: a file or a folder; empty: beside the clip."""
    codec: str
    """Empty: what suits the file."""


class OutputForm(Vertical):
    """The output and its codec; `codec` is the one of the settings."""

    DEFAULT_CSS = """
    OutputForm { height: 2; }
    OutputForm > Horizontal { height: 1; }
    OutputForm .name { width: 10; color: $foreground-muted; }
    OutputForm #output { width: 1fr; background: $surface; padding: 0 1; }
    OutputForm #output:focus { background: $panel; }
    OutputForm Select { width: 26; }
    """

    class Checked(Message):
        """What is wrong with it; None if nothing is."""

        def __init__(self, error: StylizerError | None) -> None:
            super().__init__()
            self.error = error

    def __init__(self, codec: str) -> None:
        super().__init__()
        self._first = codec
        self._codecs: tuple[str, ...] = ()
        self._of: tuple[Clip, Look] | None = None

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static("output", classes="name")
            yield PathInput("", "beside the clip, named after both", CLIPS, id="output")
        with Horizontal():
            yield Static("codec", classes="name")
            known = [(self._first, self._first)] if self._first else []
            yield Select[str]([(SUITED, ""), *known], value=self._first, allow_blank=False, compact=True, id="codec")

    @property
    def output(self) -> str:
        return self.query_one("#output", Input).value.strip()

    @property
    def codec(self) -> str:
        return str(self.query_one("#codec", Select).value)

    def check(self, clip: Clip, look: Look) -> None:
        """Show where a painting of this clip in this look goes, and say what is wrong with that."""
        self._of = clip, look
        self._check(Order(clip, look, "", self.output, self.codec))

    @on(Input.Changed)
    @on(Select.Changed)
    def _changed(self, event: Input.Changed | Select.Changed) -> None:
        event.stop()
        if self._of:
            self.check(*self._of)

    @work(thread=True, exclusive=True, group="output")
    def _check(self, order: Order) -> None:
        worker = get_current_worker()
        try:
            found: tuple[Path, tuple[str, ...]] | StylizerError = target(order)
        except StylizerError as error:
            found = error
        if not worker.is_cancelled:
            self.app.call_from_thread(self._show, found)

    def _show(self, found: tuple[Path, tuple[str, ...]] | StylizerError) -> None:
        if not still_open(self):
            return
        if isinstance(found, StylizerError):
            self.post_message(self.Checked(found))
            return
        path, codecs = found
        self.query_one("#output", Input).placeholder = plain(path.name)
        if codecs != self._codecs:
            self._codecs, chosen = codecs, self.codec
            shown = self.query_one("#codec", Select)
            with shown.prevent(Select.Changed):
                shown.set_options([(SUITED, ""), *((name, name) for name in codecs)])
                shown.value = chosen if chosen in codecs else ""
        self.post_message(self.Checked(None))


def target(order: Order) -> tuple[Path, tuple[str, ...]]:
    """Where it goes, and the codecs that can be there; ConfigError if it cannot be written so. Not for the thread of the
    screen: it may read the clip.
    """
    from stylizer.encode import CONTAINERS, available, check_encoding  # noqa: PLC0415  # PyAV
    from stylizer.output import output_path  # noqa: PLC0415  # same

    given = typed(order.output) if order.output else None
    path = output_path(order.clip, [style.path.stem for style in order.look.styles], given)
    codecs = CONTAINERS.get(path.suffix.lower(), ("", ()))[1]
    check_encoding(path, Encoding(order.codec))
    return path, tuple(name for name in codecs if available(name))


def place(order: Order, here: Places, config: Config) -> tuple[Job, bool]:
    """The job in the store, and whether it is painted already. StylizerError if it cannot be made."""
    from stylizer.encode import check_encoding  # noqa: PLC0415  # PyAV

    path, _ = target(order)
    wanted = config.encoding
    same = order.codec == wanted.codec and wanted.crf >= 0
    encoding = Encoding(order.codec, wanted.crf if same else None)
    check_encoding(path, encoding)
    with Store(here.store) as store:
        done = {job.id for job in store.jobs((JobState.DONE,))}
        device, precision = config.run.device, config.run.precision
        job = commands.add(
            store, order.clip, order.look, encoding, path, backend=order.backend, device=device, precision=precision
        )
    return job, job.state is JobState.DONE and job.id in done
