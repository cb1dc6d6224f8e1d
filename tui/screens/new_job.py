"""New job: a clip, a style, a look and a place to paint, with a preview before anything is begun."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import DirectoryTree, Input, OptionList, Select, Static
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from stylizer import screen
from stylizer.config import Config, Places, load_config
from stylizer.errors import ConfigError, StyleError, StylizerError
from stylizer.jobs import Clip, Job, Look
from tui.app import Studio
from tui.screens.asking import asked, still_open, wrong_words
from tui.screens.lines import Heading, Lines
from tui.screens.look_form import LookForm, make_look
from tui.screens.offers import Offer, command, facts, offers
from tui.screens.output_form import Order, OutputForm, place
from tui.screens.paths import CLIPS, PICTURES, MediaTree, PathInput, typed
from tui.screens.sheet import Sheet
from tui.screens.thumbnails import Known, known_styles
from tui.widgets.keys import Keys

PAUSE = 0.25
"""Seconds without a key before what was typed is looked at."""
T = TypeVar("T")


class NewJob(Screen[Job | None]):
    """Makes a job in the store of `here`; the answer is the job, None if there is to be none."""

    TITLE = "New job"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012  # as Textual declares it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "paint", "Paint it", priority=True),
        Binding("ctrl+r", "preview", "Preview", priority=True),
        Binding("ctrl+o", "enlarge", "Larger", priority=True),
        Binding("space", "blend", "Blend", show=False),
        Binding("escape", "dismiss", "Back"),
    ]

    def __init__(self, here: Places, clip: Path | None = None, styles: Sequence[Path] = ()) -> None:
        super().__init__()
        self._here, self._first = here, clip
        self._styles = [path.absolute() for path in styles]
        self._known: list[Known] = []
        self._clip: Clip | None = None
        self._look: Look | None = None
        self._offers: list[Offer] = []
        self._waiting: dict[str, Timer] = {}
        self._config = Config()
        self._trouble: ConfigError | None = None
        try:
            self._config = load_config(here.config)
        except ConfigError as error:
            self._trouble = error

    def compose(self) -> ComposeResult:
        yield Heading("New job")
        with Horizontal(id="top"):
            with Vertical(classes="pane"):
                yield Static("Clip", classes="title")
                yield PathInput(str(self._first or ""), "a clip, or pictures", CLIPS, id="clip")
                yield Static(id="clip-said", classes="said", markup=False)
                yield MediaTree(self._first.absolute().parent if self._first else Path.cwd(), CLIPS, id="tree")
            with Vertical(classes="pane"):
                yield Static("Style", classes="title")
                yield PathInput(str(self._styles[0]) if self._styles else "", "a picture", PICTURES, id="style-path")
                yield Static(id="style-said", classes="said", markup=False)
                yield Lines(id="styles")
            yield Sheet(classes="pane")
        with Horizontal(id="bottom"):
            with Vertical(classes="pane", id="form"):
                yield Static("Look", classes="title")
                yield LookForm(self._config.look, id="look")
                yield OutputForm(self._config.encoding.codec)
            with Vertical(classes="pane"):
                yield Static("Where", classes="title")
                yield Lines(id="offers")
                yield Static(id="basis", classes="said", markup=False)
                yield Static(id="go-said", classes="said", markup=False)
        yield Keys()

    def on_mount(self) -> None:
        self.query_one("#clip").focus()
        self._offer()
        self._find_styles([path.parent for path in self._styles] or [Path.cwd()])
        if self._trouble:
            self._say("go", self._trouble)

    # ---- what is typed and chosen ----

    @on(Input.Changed)
    def _something_is_typed(self, event: Input.Changed) -> None:
        if event.input.id == "clip":
            self._clip = None
            self._soon("clip", self._probe_typed)
            return
        path = typed(event.value).absolute()
        if event.input.id == "style-path" and self._styles[:1] != [path]:
            self._styles = [path] if event.value.strip() else []
        self._soon("look", self._check_look)

    @on(Select.Changed)
    def _something_is_chosen(self) -> None:
        self._soon("look", self._check_look)

    @on(Input.Submitted)
    def _go_on(self, event: Input.Submitted) -> None:
        after = {"clip": "#style-path", "style-path": "#quality"}.get(event.input.id or "")
        if after:
            self.set_focus(self.query_one(after))
        else:
            self.focus_next()

    @on(DirectoryTree.FileSelected)
    @on(DirectoryTree.DirectorySelected)
    def _taken_from_tree(self, event: DirectoryTree.FileSelected | DirectoryTree.DirectorySelected) -> None:
        self.query_one("#clip", Input).value = str(event.path)

    @on(OptionList.OptionSelected, "#styles")
    def _style_taken(self, event: OptionList.OptionSelected) -> None:
        self._take_styles([self._known[event.option_index].path])

    @on(OptionList.OptionHighlighted, "#offers")
    def _place_looked_at(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_index < len(self._offers):
            self.query_one("#basis", Static).update(self._offers[event.option_index].why)

    @on(OptionList.OptionSelected, "#offers")
    def _place_taken(self) -> None:
        self.action_paint()

    def action_blend(self) -> None:
        """Take the style under the cursor into the blend, or out of it."""
        shown = self.query_one("#styles", OptionList)
        if self.focused is shown and shown.highlighted is not None:
            path = self._known[shown.highlighted].path
            left = [one for one in self._styles if one != path]
            self._take_styles(left if len(left) < len(self._styles) else [*left, path])

    def _take_styles(self, paths: list[Path]) -> None:
        self._styles = paths
        field = self.query_one("#style-path", Input)
        field.value = str(paths[0]) if paths else ""
        self._show_styles()
        self._soon("look", self._check_look)

    def _soon(self, what: str, act: Callable[[], object]) -> None:
        """Do it when nothing has been typed for a moment."""
        if what in self._waiting:
            self._waiting[what].stop()
        self._waiting[what] = self.set_timer(PAUSE, partial(self._if_here, act))

    def _if_here(self, act: Callable[..., object], *values: object) -> None:
        """What was found out meanwhile; nobody wants it any more once the screen is left."""
        if still_open(self):
            act(*values)

    def _find_out(self, find: Callable[[], T], tell: Callable[[T | StylizerError], None]) -> None:
        """In a thread: what is found, or why nothing is, told to the screen unless something else is asked for meanwhile."""
        worker = get_current_worker()
        found: T | StylizerError
        try:
            found = find()
        except StylizerError as error:
            found = error
        if not worker.is_cancelled:
            self.app.call_from_thread(self._if_here, tell, found)

    def _say(self, where: str, words: str | StylizerError) -> None:
        said = self.query_one(f"#{where}-said", Static)
        said.set_class(isinstance(words, StylizerError), "-wrong")
        if isinstance(words, StylizerError):
            # A hint that names an option is for those who type commands.
            words = words.message if "--" in words.hint else f"{words.message} {words.hint}".strip()
        said.update(words)

    # ---- the clip ----

    def _probe_typed(self) -> None:
        text = self.query_one("#clip", Input).value
        if not text.strip():
            self._say("clip", "")
            self._offer()
            return
        path = typed(text)
        tree = self.query_one(MediaTree)
        folder = path if text.rstrip().endswith(("/", "\\")) else path.parent
        if folder.is_dir() and folder.absolute() != Path(tree.path).absolute() and self.focused is not tree:
            tree.path = folder
        self._probe(path)

    @work(thread=True, exclusive=True, group="clip")
    def _probe(self, path: Path) -> None:
        from stylizer.video import probe  # noqa: PLC0415  # PyAV

        self._find_out(lambda: probe(path, self._config.limits), self._probed)

    def _probed(self, found: Clip | StylizerError) -> None:
        self._clip = None if isinstance(found, StylizerError) else found
        self._say("clip", found if isinstance(found, StylizerError) else facts(found))
        self._offer()

    # ---- the look ----

    @work(thread=True, exclusive=True, group="styles")
    def _find_styles(self, folders: list[Path]) -> None:
        self._find_out(lambda: known_styles(self._here.store, self._styles, folders, self._known), self._styles_found)

    def _styles_found(self, found: list[Known] | StylizerError) -> None:
        # A store that cannot be read is said where something is done with it.
        self._known = [] if isinstance(found, StylizerError) else found
        self._show_styles()

    def _show_styles(self) -> None:
        shown = self.query_one("#styles", OptionList)
        at = shown.highlighted
        share = 1 / len(self._styles) if self._styles else 0.0
        shown.set_options([Option(one.option(share if one.path in self._styles else 0.0)) for one in self._known])
        shown.highlighted = at

    def _check_look(self) -> None:
        form = self.query_one(LookForm)
        numbers = form.numbers()
        self._look = None
        if not self._styles:
            self._say("style", "")
        elif numbers:
            self._make_look(list(self._styles), numbers, form.quality, form.keep_color)

    @work(thread=True, exclusive=True, group="look")
    def _make_look(self, styles: list[Path], numbers: dict[str, float], quality: str, keep: bool) -> None:
        seed, limits = self._config.look.seed, self._config.limits
        self._find_out(lambda: make_look(styles, numbers, quality, keep, seed, limits), self._look_made)

    def _look_made(self, found: Look | StylizerError) -> None:
        if isinstance(found, Look):
            self._look = found
            self._say("style", screen.look_words(found))
            self._find_styles([style.path.parent for style in found.styles])
        elif isinstance(found, StyleError):
            self._say("style", found)
        elif not (isinstance(found, ConfigError) and self.query_one(LookForm).blame(found)):
            self._say("go", found)
        self._offer()

    # ---- where ----

    def _offer(self) -> None:
        """Show how it would look and what each place would take, of what is known of clip and look so far."""
        now = cast(Studio, self.app).now
        self.query_one(Sheet).look_at(self._clip.path if self._clip else None, self._look, idle=not now.is_painting_here)
        if self._clip is None or self._look is None:
            self.query_one("#offers", OptionList).clear_options()
            self.query_one("#basis", Static).update("What it takes is shown once there are a clip and a style.")
            return
        self._estimate(self._clip, self._look)
        self.query_one(OutputForm).check(self._clip, self._look)

    @on(OutputForm.Checked)
    def _output_checked(self, event: OutputForm.Checked) -> None:
        self._say("go", event.error or "")

    @work(exclusive=True, group="offers")
    async def _estimate(self, clip: Clip, look: Look) -> None:
        self.query_one("#basis", Static).update("Asking what it takes …")
        answer = await asked(command(clip, look))
        if not still_open(self):
            return
        if not answer.get("ok"):
            self.query_one("#basis", Static).update(wrong_words(answer))
            return
        now = cast(Studio, self.app).now
        money = [one for of_job in now.money.values() for one in of_job]
        self._show_offers(offers(answer, clip, look, now.known, money, self._config))

    def _show_offers(self, found: Sequence[Offer]) -> None:
        self._offers = list(found)
        shown = self.query_one("#offers", OptionList)
        at = shown.highlighted or 0
        width = self.query_one("#basis").content_size.width
        shown.set_options([Option(one.line(width), id=one.backend) for one in found])
        shown.highlighted = min(at, len(found) - 1)

    @property
    def _backend(self) -> str:
        shown = self.query_one("#offers", OptionList)
        at = shown.highlighted
        return (shown.get_option_at_index(at).id or "") if at is not None else self._config.run.backend

    # ---- preview and go ----

    def action_preview(self) -> None:
        if ready := self._ready():
            clip, look = ready
            self.query_one(Sheet).paint(clip.path, look, wanted=True)

    @on(Sheet.Painted)
    def _previewed(self) -> None:
        if not self.query_one(Sheet).display:
            self._say("go", "Two frames are painted: ctrl+o shows them.")

    def action_enlarge(self) -> None:
        self.query_one(Sheet).enlarge()

    def action_paint(self) -> None:
        if ready := self._ready():
            form = self.query_one(OutputForm)
            self._add(Order(*ready, self._backend, form.output, form.codec))

    def _ready(self) -> tuple[Clip, Look] | None:
        """The clip and the look; None if one is lacking, which is said."""
        lacking = "" if self._look else "The look is not usable yet; see above."
        lacking = lacking if self._styles else "There is no style yet to paint in."
        lacking = lacking if self._clip else "There is no clip yet that can be painted."
        self._say("go", ConfigError(lacking) if lacking else "")
        return (self._clip, self._look) if self._clip and self._look else None

    @work(thread=True, exclusive=True, group="add")
    def _add(self, order: Order) -> None:
        try:
            job, was_painted = place(order, self._here, self._config)
        except StylizerError as error:
            self.app.call_from_thread(self._if_here, self._say, "go", error)
            return
        if was_painted:
            words = f"{job.output.name} is painted already, as job {job.id}; redo paints it anew."
            self.app.call_from_thread(self._if_here, self._say, "go", words)
            return
        self.app.call_from_thread(self._if_here, self._added, job)

    def _added(self, job: Job) -> None:
        studio = cast(Studio, self.app)
        if not studio.now.alive:
            # A person who says go wants it painted, not only queued.
            studio.start_runner()
        self.dismiss(job)
