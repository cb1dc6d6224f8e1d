"""The command line as a person types it: words, exit codes, JSON, and a clip painted from end to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from stylizer.cli import main
from stylizer.commands import add
from stylizer.jobs import Encoding, FrameRange, JobState, RunnerDesired
from stylizer.store import Store
from stylizer.video import probe
from tests import jobs_for_tests as small
from tests.media import make_clip


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        """The last line of stdout."""
        found: dict[str, object] = json.loads(self.out.splitlines()[-1])
        return found


Typed = Callable[..., Said]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STYLIZER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path / "home"


@pytest.fixture
def typed(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Runs a command line in this process."""

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["stylizer", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return Said(end.value.code, out, err)

    return run


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "my clip.mp4", times=range(6))


@pytest.fixture
def art(tmp_path: Path) -> Path:
    path = tmp_path / "art.png"
    Image.effect_noise((160, 120), 90).convert("RGB").save(path)
    return path


@pytest.fixture
def queued(home: Path, tmp_path: Path) -> list[int]:
    """Three jobs in the store."""
    with Store(home / "jobs.db") as store:
        look = small.look(tmp_path)
        clips = [small.clip(tmp_path, f"{name}.mp4") for name in "abc"]
        return [add(store, clip, look, Encoding(), clip.path.with_suffix(".out.mp4")).id for clip in clips]


def test_help_names_every_command(typed: Typed) -> None:
    said = typed("--help")
    assert said.code == 0
    for command in [
        "run",
        "watch",
        "work",
        "preview",
        "status",
        "pause",
        "resume",
        "cancel",
        "retry",
        "redo",
        "rm",
        "move",
        "styles",
        "doctor",
        "config",
    ]:
        assert f" {command} " in said.out
    assert typed().out == said.out, "no command is the help"
    assert typed("--version").out.startswith("stylizer 0.")


def test_a_mistyped_option_is_a_sentence_and_exit_code_2(typed: Typed, clip: Path, art: Path) -> None:
    said = typed("run", clip, "--style", art, "--stile", "x")
    assert said.code == 2 and "--stile" in said.err and said.out == ""
    assert typed("run", clip).code == 2
    assert typed("paint").code == 2


def test_json_errors_have_one_envelope(typed: Typed, tmp_path: Path, clip: Path, art: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    for arguments, exit_code, code in [
        (("run", tmp_path / "none.mp4", "--style", art), 3, "input"),
        (("run", tmp_path / "text.mp4", "--style", art), 3, "input"),
        (("run", clip, "--style", clip), 3, "style"),
        (("run", clip, "--style", art, "--strength", "7"), 2, "config"),
        (("run", clip, "--style", art, "--crf", "x"), 2, "config"),
        (("run", clip, "--style", art, "--codec", "vhs"), 2, "config"),
        (("run", clip, "--style", art, "--backend", "lokal"), 2, "config"),
        (("run", clip, "--style", art, "-o", clip), 2, "config"),
        (("cancel", "77"), 2, "config"),
    ]:
        said = typed(*arguments, "--json")
        assert said.code == exit_code, said
        assert said.json["ok"] is False
        error = said.json["error"]
        assert isinstance(error, dict) and error["code"] == code and error["message"] and "hint" in error
        assert said.err == ""


def test_nothing_is_queued_if_one_source_of_several_is_not_usable(
    typed: Typed, tmp_path: Path, clip: Path, art: Path
) -> None:
    assert typed("run", clip, tmp_path / "none.mp4", "--style", art).code == 3
    assert typed("status", "--json").json["jobs"] == []


def test_a_typo_in_the_config_names_the_nearest_key(typed: Typed, home: Path) -> None:
    home.mkdir()
    (home / "config.toml").write_text("[look]\nstrenght = 0.5\n")
    said = typed("status")
    assert said.code == 2 and "look.strenght" in said.err and "look.strength" in said.err


def test_verbs_change_what_is_desired(typed: Typed, home: Path, queued: list[int]) -> None:
    first, second, third = queued
    assert typed("pause", first, "--json").json["jobs"] == [{"id": first, "state": "queued", "desired": "pause"}]
    assert "paused" in typed("status").out
    assert typed("resume", "--all").code == 0
    assert typed("move", third, 1).code == 0
    assert typed("cancel", second).code == 0
    found = {job["id"]: job for job in typed("status", "--json").json["jobs"]}  # type: ignore[attr-defined]
    assert (found[third]["place"], found[first]["place"], found[second]["place"]) == (1, 2, None)
    assert found[second]["state"] == "cancelled"
    assert typed("rm", first).code == 2, "it is not finished"
    assert typed("retry", second).code == 0
    assert typed("cancel", "--all").code == typed("rm", "--all").code == 0
    with Store(home / "jobs.db") as store:
        assert store.jobs() == []


def test_the_whole_queue_can_be_held(typed: Typed, home: Path, queued: list[int]) -> None:
    assert typed("pause", "--all").code == 0
    assert typed("status", "--json").json["held"] is True and "The queue is paused" in typed("status").out
    assert typed("pause", queued[0]).code == 0
    assert typed("resume", "--all", "--json").json["held"] is False
    found = typed("status", "--json").json["jobs"]
    assert {job["desired"] for job in found} == {"run"}  # type: ignore[attr-defined]


def test_one_job_is_shown_with_its_chunks_and_history(typed: Typed, home: Path, queued: list[int]) -> None:
    with Store(home / "jobs.db") as store:
        store.cut(queued[0], [FrameRange(0, 120), FrameRange(120, 240)])
    said = typed("status", queued[0])
    assert "a.mp4" in said.out and "a.mp4 is queued" in said.out and "··" in said.out
    found = typed("status", queued[0], "--json").json
    assert [chunk["id"] for chunk in found["chunks"]] == [f"{queued[0]}-0000{n}-1" for n in (0, 1)]  # type: ignore[attr-defined]
    assert found["events"][0]["kind"] == "added" and found["job"]["place"] == 1  # type: ignore[index]
    assert typed("status", 99).code == 2


def test_priority_goes_before_place(typed: Typed, queued: list[int]) -> None:
    first, _, third = queued
    assert typed("move", third, "--priority", 5).code == 0
    found = {job["id"]: job for job in typed("status", "--json").json["jobs"]}  # type: ignore[attr-defined]
    assert (found[third]["place"], found[third]["priority"], found[first]["place"]) == (1, 5, 2)
    assert typed("move", third).code == 2 and typed("move", third, 1, "--priority", 5).code == 2


def test_whoever_is_painting_can_be_ended(typed: Typed, home: Path) -> None:
    assert typed("stop", "--json").json["running"] is False
    with Store(home / "jobs.db") as store, store.runner_lock():
        assert "is finished" in typed("stop").err
        assert store.runner().desired is RunnerDesired.DRAIN
        assert typed("stop", "--now").code == 0 and store.runner().desired is RunnerDesired.STOP


def test_a_failed_job_can_go_on_elsewhere(typed: Typed, home: Path, queued: list[int]) -> None:
    assert typed("cancel", queued[0]).code == 0
    assert "moon" in typed("retry", queued[0], "--backend", "moon").err
    assert typed("retry", queued[0], "--backend", "local").code == 0
    with Store(home / "jobs.db") as store:
        assert store.job(queued[0]).backend == "local"


def test_a_verb_wants_jobs_or_all_but_not_both(typed: Typed, queued: list[int]) -> None:
    assert typed("pause").code == 2
    assert typed("pause", queued[0], "--all").code == 2


def test_the_config_can_be_written_shown_and_is_not_overwritten(typed: Typed, home: Path) -> None:
    assert typed("config", "path").out.strip() == str(home / "config.toml")
    assert typed("config", "init").code == 0
    assert "# " in (home / "config.toml").read_text(encoding="utf-8"), "the commented example"
    assert typed("config", "init").code == 2
    shown = typed("config", "show").out
    (home / "config.toml").write_text(shown)
    assert typed("config").out == shown, "what is shown can be read again"
    assert typed("config", "show", "--json").json["config"]["run"]["retries"] == 2  # type: ignore[index]


def test_the_doctor_says_that_this_machine_can_paint(typed: Typed) -> None:
    said = typed("doctor", "--json")
    assert said.code == 0 and said.json["ok"] is True
    names = {check["name"] for check in said.json["checks"]}  # type: ignore[attr-defined]
    assert {"python", "torch", "cpu", "media", "weights", "jobs", "output", "work", "cache", "local"} <= names


def test_the_doctor_finds_a_damaged_store(typed: Typed, home: Path) -> None:
    home.mkdir()
    (home / "jobs.db").write_bytes(b"this is no database, " * 100)
    said = typed("doctor")
    assert said.code == 1 and "✗" in said.out


@pytest.mark.parametrize("name", ['it\'s a "clip"\n.mp4', "-o.mp4", "ünï ☂.mp4"])
def test_odd_names_are_just_names(
    typed: Typed, tmp_path: Path, art: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(tmp_path / "plain.mp4", times=range(3)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    said = typed("run", "--style", art, "--quality", "draft", "--strength", "9", "--json", "--", name)
    assert said.code == 2 and "--strength" in str(said.json), "the source was understood; only the strength was refused"


def test_a_clip_is_painted_and_found_done_again(typed: Typed, tmp_path: Path, clip: Path, art: Path) -> None:
    before = clip.read_bytes()
    said = typed("run", clip, "--style", art, "--quality", "draft", "--device", "cpu", "--json")
    assert said.code == 0, said
    events = [json.loads(line) for line in said.out.splitlines()]
    assert {"rendering", "chunk done", "done"} <= {event.get("event") for event in events}
    output = clip.with_name("my clip.art.mp4")
    assert events[-1]["ok"] and events[-1]["jobs"][0]["output"] == str(output)
    assert probe(output).frames == probe(clip).frames == 6
    assert clip.read_bytes() == before
    stamp = output.stat().st_mtime_ns
    again = typed("run", clip, "--style", art, "--quality", "draft", "--device", "cpu")
    assert again.code == 0 and again.out.strip() == str(output)
    assert output.stat().st_mtime_ns == stamp, "nothing was painted twice"
    assert "done" in typed("status").out
    (style,) = typed("styles", "--json").json["styles"]  # type: ignore[misc]
    assert style["facts"]["styles"] == "art.png"
    assert "my clip.mp4" in typed("styles", "show", style["name"]).out
    assert typed("styles", "rm", "--all").code == 0
    assert typed("styles", "--json").json["styles"] == []
    assert {path.name for path in tmp_path.iterdir()} == {"art.png", "home", "my clip.art.mp4", "my clip.mp4"}


def test_a_preview_is_a_picture_and_touches_nothing_else(typed: Typed, tmp_path: Path, clip: Path, art: Path) -> None:
    said = typed("preview", clip, "--style", art, "--frames", "2", "--device", "cpu", "--json")
    assert said.code == 0, said
    sheet = tmp_path / "my clip.preview.png"
    assert said.json["sheet"] == str(sheet) and said.json["frames"] == 6
    with Image.open(sheet) as picture:
        assert picture.width > 600 and len(picture.convert("RGB").getcolors(1 << 24) or []) > 500
    assert {path.name for path in tmp_path.iterdir()} <= {"art.png", "home", sheet.name, clip.name}
    assert typed("preview", clip, "--style", art, "-o", art).code == 2


def started(home: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stylizer", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "STYLIZER_HOME": str(home)},
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_the_second_ctrl_c_stops_and_says_how_to_go_on(home: Path, clip: Path, art: Path) -> None:
    command = ["run", clip, "--style", art, "--quality", "high", "--device", "cpu"]
    process = started(home, *command)
    try:
        deadline = time.monotonic() + 120
        while not ((home / "jobs.db").exists() and is_fitting(home)):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said = ""
        while "Ctrl-C again" not in said:
            assert process.stderr and time.monotonic() < deadline
            said = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "To go on:" in err and "--quality high" in err
    with Store(home / "jobs.db", write=False) as store:
        assert [job.state for job in store.jobs()] == [JobState.QUEUED]
        assert not store.has_runner()


def is_fitting(home: Path) -> bool:
    with Store(home / "jobs.db", write=False) as store:
        return any(job.state is JobState.FITTING for job in store.jobs())


def test_a_reader_that_goes_away_is_no_traceback(home: Path) -> None:
    process = started(home, "config", "show")
    assert process.stdout and process.stderr
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.wait(60)
    process.stderr.close()
