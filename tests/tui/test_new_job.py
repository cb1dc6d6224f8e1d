"""New job: from what is typed to a job in the store; what cannot be used is said beside its field."""

import asyncio
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Select

from stylizer.config import Places
from stylizer.jobs import Job, Look, Quality, StyleImage
from stylizer.preview import Preview, sheet
from stylizer.store import Store
from tests.jobs_for_tests import clip as imagined
from tests.jobs_for_tests import look
from tests.media import make_clip
from tests.tui.canned import Clock, Still, fill
from tests.tui.test_rooms import drive, shown, until
from tui import desk
from tui.app import Studio
from tui.halfblocks import fitted, halfblocks
from tui.screens import new_job, offers
from tui.screens import sheet as sheet_module
from tui.screens.new_job import NewJob
from tui.screens.paths import CLIPS, PICTURES, MediaTree, completed, typed
from tui.screens.sheet import Sheet, cells


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A folder with a clip, a style and what is neither."""
    folder = tmp_path / "media"
    (folder / "more").mkdir(parents=True)
    make_clip(folder / "a clip [raw] 🌧.mp4")
    Image.effect_noise((80, 60), 90).convert("RGB").save(folder / "art.png")
    Image.new("RGB", (8, 8)).save(folder / "tiny.png")
    (folder / "notes.txt").write_text("no clip")
    (folder / ".hidden.mp4").touch()
    return folder


@pytest.fixture(autouse=True)
def quick_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real commands take seconds to say what these tests do not look at; one of them asks them."""
    said = '{"ok": true, "places": [{"backend": "local", "where": "cpu (it)", "seconds": 8.5, "cost": "", "basis": "so"}]}'
    monkeypatch.setattr(new_job, "command", lambda clip, look: [sys.executable, "-c", f"print('{said}')"])
    monkeypatch.setattr(sheet_module, "CALM", 1e6)


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[Places]:
    """Where a runner would have been started; a real one would paint on after the test."""
    started: list[Places] = []
    monkeypatch.setattr(desk, "start_runner", lambda here, **_: (started.append(here), here.logs / "runner.txt")[1])
    return started


def opened(app: Studio) -> NewJob:
    assert isinstance(app.screen, NewJob)
    return app.screen


async def open_form(pilot: Pilot[None], app: Studio, clip: str = "", style: str = "") -> list[Job | None]:
    given: list[Job | None] = []
    app.push_screen(NewJob(app.here), given.append)
    await until(
        pilot, lambda: isinstance(app.screen, NewJob) and bool(app.screen.query("#go-said") and app.screen.query("#styles"))
    )
    app.screen.query_one("#clip", Input).value = clip
    app.screen.query_one("#style-path", Input).value = style
    return given


def test_a_clip_and_a_style_become_a_job(tmp_path: Path, media: Path, started: list[Places]) -> None:
    clip = media / "a clip [raw] 🌧.mp4"

    async def act(pilot: Pilot[None], app: Studio) -> None:
        given = await open_form(pilot, app, str(clip), str(media / "art.png"))
        await until(pilot, lambda: "64 x 48" in shown(app, "#clip-said") and "art.png" in shown(app, "#style-said"))
        app.screen.query_one("#quality", Select).value = "draft"
        app.screen.query_one("#strength", Input).value = "0.5"
        app.screen.query_one("#size", Input).value = "32"
        app.screen.query_one("#colours", Select).value = "clip"
        await until(pilot, lambda: "strength 0.5" in shown(app, "#style-said") and "draft" in shown(app, "#style-said"))
        places = app.screen.query_one("#offers", OptionList)
        await until(pilot, lambda: [one.id for one in places.options] == ["auto", "local", "azure"])
        places.highlighted = 1
        await until(pilot, lambda: "cpu (it): so" in shown(app, "#basis"))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: given)
        assert given[0]
        with Store(app.here.store, write=False) as store:
            job = store.job(given[0].id)
        assert (job.clip.path, job.backend) == (clip, "local")
        assert (job.look.quality, job.look.strength, job.look.size, job.look.keep_color) == (Quality.DRAFT, 0.5, 32, True)
        assert job.output == media / "a clip [raw] 🌧.art.mp4"
        assert started == [app.here]
        # Asking for the same again finds the job, and makes no second one.
        again = await open_form(pilot, app, str(clip), str(media / "art.png"))
        await until(pilot, lambda: "64 x 48" in shown(app, "#clip-said") and "art.png" in shown(app, "#style-said"))
        await pilot.press("escape")
        assert again == [None]

    drive(tmp_path, act)


@pytest.mark.parametrize(
    ("clip", "style", "where", "words"),
    [
        ("notes.txt", "", "#clip-said", "notes.txt"),
        ("nowhere.mp4", "", "#clip-said", "nowhere.mp4"),
        ("more", "", "#clip-said", "more"),
        ("", "notes.txt", "#style-said", "is not a picture"),
        ("", "tiny.png", "#style-said", "no brush stroke"),
        ("", "nowhere.png", "#style-said", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_said_beside_its_field(
    tmp_path: Path, media: Path, clip: str, style: str, where: str, words: str
) -> None:
    async def act(pilot: Pilot[None], app: Studio) -> None:
        await open_form(pilot, app, str(media / clip) if clip else "", str(media / style) if style else "")
        await until(pilot, lambda: words in shown(app, where))
        assert app.screen.query_one(where).has_class("-wrong")
        await pilot.press("ctrl+s")
        assert "There is no" in shown(app, "#go-said")

    drive(tmp_path, act)


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("strength", "much", "a number, not 'much'"),
        ("strength", "3", "goes from 0 to 1"),
        ("brush", "9", "goes from 0.25 to 4"),
        ("size", "1.5", "a whole number"),
        ("size", "7", "goes from 16"),
    ],
)
def test_a_wrong_number_is_said_beside_it(tmp_path: Path, media: Path, field: str, text: str, words: str) -> None:
    async def act(pilot: Pilot[None], app: Studio) -> None:
        await open_form(pilot, app, "", str(media / "art.png"))
        app.screen.query_one(f"#{field}", Input).value = text
        await until(pilot, lambda: words in shown(app, f"#{field}-hint"))
        app.screen.query_one(f"#{field}", Input).value = ""
        if field == "size":
            await until(pilot, lambda: words not in shown(app, f"#{field}-hint"))

    drive(tmp_path, act)


def test_styles_are_blended_with_the_space_bar(tmp_path: Path, media: Path) -> None:
    async def act(pilot: Pilot[None], app: Studio) -> None:
        await open_form(pilot, app)
        styles = opened(app).query_one("#styles", OptionList)
        await until(pilot, lambda: styles.option_count >= 5)
        styles.focus()
        await pilot.press("home", "space", "down", "space")
        await until(pilot, lambda: "50%" in shown(app, "#style-said"))
        await pilot.press("space")
        await until(pilot, lambda: "50%" not in shown(app, "#style-said") and shown(app, "#style-said"))

    drive(tmp_path, act)


def test_the_output_and_its_codec_are_chosen(tmp_path: Path, media: Path) -> None:
    async def act(pilot: Pilot[None], app: Studio) -> None:
        given = await open_form(pilot, app, str(media / "a clip [raw] 🌧.mp4"), str(media / "art.png"))
        field, codec = app.screen.query_one("#output", Input), app.screen.query_one("#codec", Select)
        await until(pilot, lambda: field.placeholder == "a clip [raw] 🌧.art.mp4")
        field.value = str(media / "more" / "film.txt")
        await until(pilot, lambda: "cannot be written as film.txt" in shown(app, "#go-said"))
        field.value = str(media / "more" / "film.mov")
        await until(pilot, lambda: not shown(app, "#go-said") and field.placeholder == "film.mov")
        codec.value = "hevc"
        field.value = str(media / "more" / "film.webm")
        await until(pilot, lambda: "'hevc' cannot be written into .webm" in shown(app, "#go-said"))
        field.value = str(media / "more" / "film.mkv")
        await until(pilot, lambda: not shown(app, "#go-said") and field.placeholder == "film.mkv")
        assert codec.value == "hevc"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: given)
        assert given[0]
        assert (given[0].output, given[0].encoding.codec) == (media / "more" / "film.mkv", "hevc")

    drive(tmp_path, act)


def test_a_preview_of_a_blend_is_painted_and_shown(tmp_path: Path, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLIZER_HOME", str(tmp_path))
    monkeypatch.setattr(new_job, "command", offers.command)

    async def act(pilot: Pilot[None], app: Studio) -> None:
        await open_form(pilot, app, str(media / "a clip [raw] 🌧.mp4"), str(media / "art.png"))
        await until(pilot, lambda: "64 x 48" in shown(app, "#clip-said") and "The style" in shown(app, "#sheet-said"))
        await until(pilot, lambda: app.screen.query_one("#offers", OptionList).option_count == 3, 60)
        await until(pilot, lambda: app.screen.query_one("#offers").virtual_size.height == 3, 60)
        styles = opened(app).query_one("#styles", OptionList)
        await until(pilot, lambda: styles.option_count >= 5)
        styles.focus()
        await pilot.press("home", "down", "space")
        await until(pilot, lambda: "50%" in shown(app, "#style-said"))
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "for all 12 frames" in shown(app, "#sheet-said"), 120)
        assert shown(app, "#picture").count("▀") > 100
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "1 of 4 · painted" in shown(app, "#caption"))
        await pilot.press("right")
        assert "2 of 4 · as it is" in shown(app, "#caption")
        await pilot.press("escape")
        assert isinstance(app.screen, NewJob)

    drive(tmp_path, act)


@pytest.mark.parametrize(("alive", "width"), [(False, 120), (False, 80), (True, 120)], ids=["idle", "narrow", "busy"])
def test_two_frames_are_painted_unasked_where_the_machine_is_idle(
    tmp_path: Path, media: Path, monkeypatch: pytest.MonkeyPatch, alive: bool, width: int
) -> None:
    """A real contact sheet of flat colours stands for what the command paints."""
    flat = [np.full((48, 64, 3), 40 * n, np.uint8) for n in range(4)]
    style = Look((StyleImage(media / "art.png", 1.0, "ab"),))
    sheet(Preview((0.0, 1.0), tuple(flat[:2]), ((style, tuple(flat[2:])),), 0.1), "", "").save(tmp_path / "sheet.png")
    calls = tmp_path / "calls"
    script = "import sys,shutil; shutil.copy(sys.argv[1], sys.argv[2]); open(sys.argv[3], 'a').write('x'); "
    script += """print('{"ok": true, "seconds": 3.0, "frames": 12, "basis": "so"}')"""

    def command(clip: Path, look: object, target: Path) -> list[str]:
        return [sys.executable, "-c", script, str(tmp_path / "sheet.png"), str(target), str(calls)]

    monkeypatch.setattr(sheet_module, "CALM", 0.01)
    monkeypatch.setattr(sheet_module, "command", command)

    async def act(pilot: Pilot[None], app: Studio) -> None:
        await open_form(pilot, app, str(media / "a clip [raw] 🌧.mp4"), str(media / "art.png"))
        if alive:
            await until(pilot, lambda: "ctrl+r" in shown(app, "#sheet-said"))
            assert not calls.exists()
            await pilot.press("ctrl+r")
        await until(pilot, lambda: "for all 12 frames" in shown(app, "#sheet-said"))
        if width < 100:
            await until(pilot, lambda: "ctrl+o shows them" in shown(app, "#go-said"))
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "1 of 4 · painted" in shown(app, "#caption"))
        await pilot.press("escape")
        # What is the same is not painted again.
        app.screen.query_one("#output", Input).value = str(media / "film.mov")
        await until(pilot, lambda: app.screen.query_one("#output", Input).placeholder == "film.mov")
        assert calls.read_text() == "x"

    async def run() -> None:
        app = Studio(fill(tmp_path), clock=Clock(), gauges=Still)
        with Store(app.here.store) as store, store.runner_lock() if alive else nullcontext():
            async with app.run_test(size=(width, 36)) as pilot:
                await until(pilot, lambda: app.now.is_open and app.now.alive is alive)
                await act(pilot, app)

    asyncio.run(run())


def test_a_preview_that_fails_says_why(tmp_path: Path, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(pilot: Pilot[None], app: Studio) -> None:
        await open_form(pilot, app)
        opened(app).query_one(Sheet).paint(media / "notes.txt", look(media))
        await until(pilot, lambda: app.screen.query_one("#sheet-said").has_class("-wrong"), 60)
        assert "notes.txt" in shown(app, "#sheet-said")

    drive(tmp_path, act)


def test_an_answer_that_comes_when_the_form_is_left_is_dropped(
    tmp_path: Path, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = asyncio.Event()

    async def asked(command: object) -> dict[str, object]:
        await answered.wait()
        return {"ok": True, "places": [{"backend": "local", "where": "here", "seconds": 1.0, "cost": "", "basis": "so"}]}

    async def act(pilot: Pilot[None], app: Studio) -> None:
        await open_form(pilot, app, str(media / "a clip [raw] 🌧.mp4"), str(media / "art.png"))
        await until(pilot, lambda: "Asking" in shown(app, "#basis"))
        form, offers = opened(app), opened(app).query_one("#offers", OptionList)
        app.pop_screen()
        answered.set()
        await until(pilot, lambda: not form.workers or not form.is_running)
        assert offers.option_count == 0

    monkeypatch.setattr(new_job, "asked", asked)
    drive(tmp_path, act)


def test_the_frames_are_cut_out_of_the_contact_sheet(tmp_path: Path) -> None:
    flat = [np.full((180, 320, 3), n, np.uint8) for n in (10, 60, 110, 160)]
    Image.new("RGB", (64, 64), "red").save(tmp_path / "art.jpg")
    shown_there = Preview((0.0, 1.0), tuple(flat[:2]), ((look(tmp_path), tuple(flat[2:])),), 0.1)
    drawn = np.asarray(sheet(shown_there, imagined(tmp_path).path.name, "so long"))
    assert [[int(cell.mean()) for cell in row] for row in cells(drawn, 2)] == [[10, 60], [110, 160]]
    assert {cell.shape for row in cells(drawn, 2) for cell in row} == {(180, 320, 3)}


def test_paths_are_completed(media: Path) -> None:
    assert completed(f"{media}/a c", CLIPS) == f"{media}/a clip [raw] 🌧.mp4"
    assert completed(f"{media}/mo", CLIPS) == f"{media}/more/"
    assert completed(f"{media}/no", CLIPS) is None
    assert completed(f"{media}/.h", CLIPS) == f"{media}/.hidden.mp4"
    assert completed(f"{media}/", PICTURES) is None
    assert completed(f"{media}/nowhere/x", PICTURES) is None
    assert typed(' "/a b/c.mp4" ') == Path("/a b/c.mp4")
    assert typed("~/c.mp4") == Path.home() / "c.mp4"


def test_tab_completes_then_goes_on(tmp_path: Path, media: Path) -> None:
    async def act(pilot: Pilot[None], app: Studio) -> None:
        await open_form(pilot, app, f"{media}/a c")
        field = app.screen.query_one("#clip", Input)
        await pilot.press("tab")
        assert field.value.endswith("🌧.mp4") and app.focused is field
        await until(pilot, lambda: Path(app.screen.query_one(MediaTree).path) == media)
        await pilot.press("tab")
        assert app.focused is not field

    drive(tmp_path, act)


def test_a_large_folder_does_not_hold_up_a_key(tmp_path: Path) -> None:
    for n in range(2100):
        (tmp_path / f"{n}.mp4").touch()
    begun = time.perf_counter()
    completed(f"{tmp_path}/1", CLIPS)
    assert time.perf_counter() - begun < 1


def test_half_blocks_show_two_rows_a_line() -> None:
    pixels = np.zeros((4, 3, 3), np.uint8)
    pixels[0], pixels[1] = (255, 0, 0), (0, 0, 255)
    first, second = halfblocks(pixels)
    assert first.plain == second.plain == "▀▀▀"
    assert {str(span.style) for span in first.spans} == {"#ff0000 on #0000ff"}
    assert fitted(np.zeros((50, 400, 3), np.uint8), 6, 2).shape == (4, 6, 3)
