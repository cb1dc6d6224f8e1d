"""What is shown: numbers as a person says them, calm tables, bars, pictures of half blocks."""

from __future__ import annotations

import io
import json
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console, RenderableType
from rich.table import Table

from stylizer import console, screen
from stylizer.commands import add
from stylizer.config import Config
from stylizer.errors import StyleError
from stylizer.jobs import Desired, Encoding, JobState
from stylizer.rows import Tally
from stylizer.store import Store
from stylizer.views import AtWork, JobView, status
from tests import jobs_for_tests as small


def drawn(what: RenderableType, width: int = 100) -> str:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=False).print(what)
    return file.getvalue()


@pytest.fixture
def view(tmp_path: Path) -> JobView:
    with Store(tmp_path / "jobs.db") as store:
        add(store, small.clip(tmp_path, "lake.mp4"), small.look(tmp_path), Encoding(), tmp_path / "out.mp4")
        (found,) = status(store).jobs
    return found


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (12000, "3 h 20 min")],
)
def test_durations_are_said_as_a_person_says_them(seconds: float, words: str) -> None:
    assert screen.duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (812, "812 B"), (4_300_000, "4.3 MB"), (78e9, "78 GB"), (3e12, "3.0 TB")]
)
def test_sizes_are_said_as_a_person_says_them(count: float, words: str) -> None:
    assert screen.size(count) == words


def test_each_stage_shows_its_own_numbers(view: JobView) -> None:
    job, tally = view.job, Tally(frames_total=240, frames_done=61, fps=3.25, running=1)
    assert "lake.mp4" in drawn(screen.progress([view])) and "fit" not in drawn(screen.progress([view]))
    fitting = replace(view, job=replace(job, state=JobState.FITTING, fit_done=50, fit_total=200))
    assert "50 of 200 steps" in drawn(screen.progress([fitting]))
    rendering = replace(view, job=replace(job, state=JobState.RENDERING), tally=tally, eta=55.1)
    assert "61 of 240 frames · 3.2 fps · 55 s left" in drawn(screen.progress([rendering]))
    assert screen.progress_line(rendering) == "lake.mp4: 61 of 240 frames, 3.2 fps, 55 s left"
    many = [view] * 10
    assert "and 7 more" in drawn(screen.progress(many[:3], 7))


def test_markup_and_escapes_in_a_file_name_are_only_a_name(view: JobView) -> None:
    clip = replace(view.job.clip, path=Path("[bold red]x\x1b[2J\n.mp4"))
    odd = replace(view, job=replace(view.job, clip=clip, state=JobState.RENDERING, desired=Desired.PAUSE))
    assert "[bold red]x?[2J?.mp4" in drawn(screen.progress([odd]))
    assert "paused" in screen.state_of(odd).plain


def test_a_picture_is_two_pixels_a_character() -> None:
    pixels = np.zeros((5, 3, 3), np.uint8)
    pixels[0] = (255, 0, 0)
    file = io.StringIO()
    Console(file=file, width=10, force_terminal=True, color_system="truecolor").print(screen.picture(pixels), end="")
    lines = file.getvalue().splitlines()
    assert len(lines) == 2 and lines[0].count("▀") == 3
    assert "38;2;255;0;0;48;2;0;0;0" in lines[0]


def test_settings_as_toml_read_back_the_same() -> None:
    read = tomllib.loads(screen.toml(Config()))
    assert read["run"]["chunk_seconds"] == 10.0 and set(read) == {section.name for section in fields(Config)}


def test_a_failure_is_a_sentence_and_a_hint_or_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    error = StyleError("The style [x] is bad.", hint="Take another.")
    assert console.failure(error, as_json=False) == 3
    out, err = capsys.readouterr()
    assert out == "" and err == "✗ The style [x] is bad.\n  Take another.\n"
    assert console.failure(error, as_json=True) == 3
    out, err = capsys.readouterr()
    said = {"code": "style", "message": "The style [x] is bad.", "hint": "Take another."}
    assert json.loads(out) == {"ok": False, "error": said} and err == ""


def test_progress_without_a_terminal_is_a_line_when_something_changes(
    view: JobView, capsys: pytest.CaptureFixture[str]
) -> None:
    rendering = replace(view, job=replace(view.job, state=JobState.RENDERING))
    for quiet, as_json in ((False, False), (True, False), (False, True)):
        with console.Progress(quiet=quiet, as_json=as_json) as progress:
            for _ in range(3):
                progress.update(AtWork((rendering,), 0))
        out, err = capsys.readouterr()
        assert len(out.splitlines()) == as_json
        assert len(err.splitlines()) == (not quiet and not as_json)


def test_numbers_stay_whole_in_a_narrow_terminal() -> None:
    table = Table()
    table.add_column("job", no_wrap=True)
    table.add_column("clip", no_wrap=True, overflow="ellipsis")
    table.add_row("12345", "a very long name of a clip " * 4)
    narrow = Console(width=30, file=io.StringIO())
    narrow.print(screen.Fitting(table, ("job",)))
    shown = narrow.file.getvalue()
    assert "12345" in shown and "…" in shown
