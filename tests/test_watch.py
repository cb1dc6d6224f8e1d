"""What has settled: real folders and files, on a clock that tests move."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from watchdog.observers import Observer

from stylizer.errors import ConfigError
from stylizer.inbox.folder import Folder
from stylizer.inbox.watch import Changes, Kind, Listing, Lying, Watch, arrange, is_ignored, sidecars_of
from tests.jobs_for_tests import until

QUIET = 5.0


class Inbox:
    """A folder that is scanned when a test says so."""

    def __init__(self, root: Path) -> None:
        self.root = root / "inbox"
        self.root.mkdir()
        self.now = 100.0
        self.place = Folder(self.root, without=[self.root / "outbox"])
        self.watch = self.watching()

    def watching(self, known: dict[str, str] | None = None) -> Watch:
        return Watch(self.place, quiet=QUIET, every=10.0, known=known, clock=lambda: self.now)

    def write(self, name: str, content: bytes = b"1") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as stream:
            stream.write(content)
        return path

    def scan(self, seconds: float = 0.0) -> Changes:
        """Let time pass, then look."""
        self.now += seconds
        return self.watch.look()

    def settled(self, seconds: float = QUIET) -> list[str]:
        self.scan()
        return sorted(thing.path for thing in self.scan(seconds).settled)


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path)


def paths(things: object) -> list[str]:
    return [thing.path for thing in things]  # type: ignore[attr-defined]


def test_a_file_settles_once_when_it_stands_still(inbox: Inbox) -> None:
    inbox.write("clip.mp4")
    assert paths(inbox.scan().settling) == ["clip.mp4"]
    assert inbox.scan(QUIET - 0.1).settled == []
    assert paths(inbox.scan(0.1).settled) == ["clip.mp4"]
    assert inbox.scan(100).settled == []


def test_a_slow_copy_settles_after_its_last_byte(inbox: Inbox) -> None:
    for _ in range(20):
        inbox.write("clip.mp4", b"some of it")
        assert inbox.scan(QUIET - 1).settled == []
    assert paths(inbox.scan(QUIET).settled) == ["clip.mp4"]


def test_the_time_of_a_file_is_never_held_against_our_clock(inbox: Inbox) -> None:
    for name, when in (("future.mp4", 4e9), ("past.mp4", 1.0)):
        os.utime(inbox.write(name), (when, when))
    assert inbox.settled() == ["future.mp4", "past.mp4"]


def test_a_file_that_changes_after_it_settled_settles_again(inbox: Inbox) -> None:
    inbox.write("clip.mp4")
    assert inbox.settled() == ["clip.mp4"]
    inbox.write("clip.mp4", b"more")
    assert paths(inbox.scan().settling) == ["clip.mp4"]
    assert paths(inbox.scan(QUIET).settled) == ["clip.mp4"]


def test_a_rename_is_a_file_that_goes_and_one_that_comes(inbox: Inbox) -> None:
    inbox.write("clip.mp4.part")
    assert inbox.settled() == []
    (inbox.root / "clip.mp4.part").rename(inbox.root / "clip.mp4")
    assert inbox.settled() == ["clip.mp4"]
    (inbox.root / "clip.mp4").rename(inbox.root / "other.mp4")
    changes = inbox.scan()
    assert changes.gone == ["clip.mp4"] and paths(changes.settling) == ["other.mp4"]


def test_the_empty_file_that_holds_the_name_of_a_download_is_no_clip_yet(inbox: Inbox) -> None:
    inbox.write("clip.mp4", b"")
    inbox.write("clip.mp4.part", b"some of it")
    inbox.write("empty.mp4", b"")
    assert inbox.settled() == ["empty.mp4"]
    (inbox.root / "clip.mp4.part").replace(inbox.root / "clip.mp4")
    assert inbox.settled() == ["clip.mp4"]


@pytest.mark.parametrize(
    "path",
    [
        ".clip.mp4.aB3xYz",
        ".hidden/clip.mp4",
        "a/clip.mp4.part",
        "CLIP.MP4.PART",
        "clip.mp4.crdownload",
        "clip.download/clip.mp4",
        "clip.mp4.!ut",
        "clip.filepart",
        "~$notes.mp4",
        "clip.mp4~",
        "Thumbs.db",
        "clip.tmp",
        "../clip.mp4",
    ],
)
def test_names_of_unfinished_and_foreign_files_are_ignored(path: str) -> None:
    assert is_ignored(path)


@pytest.mark.parametrize("path", ["clip.mp4", "party.mov", "a b/ü.mkv", "tmp/clip.mp4", "style.jpg"])
def test_names_of_clips_are_not(path: str) -> None:
    assert not is_ignored(path)


def test_the_outbox_and_painted_folders_are_not_looked_into(inbox: Inbox) -> None:
    inbox.write("outbox/clip.art.mp4")
    inbox.write("frames.art/1.png")
    inbox.write("frames.art/.stylizer")
    inbox.write("clip.mp4")
    assert inbox.settled() == ["clip.mp4"]


def test_numbered_pictures_in_their_own_folder_are_one_thing(inbox: Inbox) -> None:
    for number in range(3):
        inbox.write(f"shot/frame_{number:04}.png")
    assert inbox.settled() == ["shot"]
    inbox.write("shot/frame_0003.png")
    changes = inbox.scan()
    assert paths(changes.settling) == ["shot"]
    assert paths(inbox.scan(QUIET).settled) == ["shot"]


def test_a_sequence_that_is_still_growing_has_not_settled(inbox: Inbox) -> None:
    inbox.write("shot/0.png")
    for number in range(1, 6):
        inbox.write(f"shot/{number}.png")
        assert inbox.scan(QUIET - 1).settled == []
    assert [thing.kind for thing in inbox.scan(QUIET).settled] == [Kind.SEQUENCE]


def test_a_marker_settles_its_folder_at_once_and_only_once(inbox: Inbox) -> None:
    for number in range(3):
        inbox.write(f"shot/{number}.png")
    assert inbox.scan().settled == []
    inbox.write("shot/_READY", b"")
    assert paths(inbox.scan().settled) == ["shot"]
    inbox.write("shot/3.png")
    assert inbox.scan().settled == [], "the marker spoke of what was there then"
    assert paths(inbox.scan(QUIET).settled) == ["shot"]


@pytest.mark.parametrize("beside", ["style.jpg", "take.mp4"])
def test_numbered_pictures_beside_a_style_or_a_video_are_stills(inbox: Inbox, beside: str) -> None:
    for name in ("IMG_1.jpg", "IMG_2.jpg", beside):
        inbox.write(f"trip/{name}")
    assert inbox.settled() == sorted(["trip/IMG_1.jpg", "trip/IMG_2.jpg", f"trip/{beside}"])


def test_pictures_stay_what_they_were_told_to_be(inbox: Inbox) -> None:
    inbox.write("trip/IMG_1.jpg")
    assert inbox.settled() == ["trip/IMG_1.jpg"]
    inbox.write("trip/IMG_2.jpg")
    assert inbox.settled() == ["trip/IMG_2.jpg"]
    for number in range(3):
        inbox.write(f"shot/{number}.png")
    assert inbox.settled() == ["shot"]
    inbox.write("shot/style.jpg")
    assert inbox.settled() == ["shot/style.jpg"], "a style that lands in a sequence does not take it apart"


def test_pictures_right_in_the_inbox_are_stills(inbox: Inbox) -> None:
    inbox.write("1.png")
    inbox.write("2.png")
    assert inbox.settled() == ["1.png", "2.png"]


def test_what_was_dealt_with_before_a_restart_is_not_told_again(inbox: Inbox) -> None:
    inbox.write("a.mp4")
    inbox.write("b.mp4")
    inbox.scan()
    marks = {thing.path: thing.mark for thing in inbox.scan(QUIET).settled}
    inbox.watch = inbox.watching({**marks, "c.mp4": "gone by now"})
    changes = inbox.scan()
    assert (changes.settling, changes.gone) == ([], ["c.mp4"])
    inbox.write("b.mp4", b"new")
    assert inbox.settled() == ["b.mp4"]


def test_an_inbox_that_is_all_empty_at_the_start_forgets_nothing(inbox: Inbox) -> None:
    """As when its disk is not mounted yet."""
    inbox.watch = inbox.watching({"a.mp4": "1-1"})
    assert inbox.scan().gone == []
    inbox.write("b.mp4")
    assert inbox.scan().gone == ["a.mp4"]


def test_an_inbox_that_is_replaced_by_an_empty_folder_is_trouble(inbox: Inbox) -> None:
    inbox.write("a.mp4")
    inbox.settled()
    inbox.root.rename(inbox.root.with_name("elsewhere"))
    assert "cannot be read" in inbox.scan().trouble
    inbox.root.mkdir()
    changes = inbox.scan()
    assert "not mounted" in changes.trouble and changes.gone == []
    inbox.root.rmdir()
    inbox.root.with_name("elsewhere").rename(inbox.root)
    assert inbox.scan() == Changes()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not hold this user back")
def test_a_file_that_may_not_be_read_waits_until_it_may(inbox: Inbox) -> None:
    path = inbox.write("clip.mp4")
    path.chmod(0)
    inbox.scan()
    changes = inbox.scan(QUIET)
    assert not changes.settled and "may not be read" in changes.stuck[0][1]
    assert inbox.scan(QUIET).stuck == []
    path.chmod(0o644)
    assert paths(inbox.scan().settled) == ["clip.mp4"]


def test_a_file_that_vanishes_while_it_is_looked_at_is_no_trouble(inbox: Inbox) -> None:
    path = inbox.write("clip.mp4")
    inbox.scan()
    path.unlink()
    assert inbox.scan(QUIET) == Changes(gone=["clip.mp4"])


def test_links_are_followed_only_inside(inbox: Inbox, tmp_path: Path) -> None:
    outside = tmp_path / "private.mp4"
    outside.write_bytes(b"secret")
    inbox.write("clip.mp4")
    try:
        (inbox.root / "inside.mp4").symlink_to(inbox.root / "clip.mp4")
        (inbox.root / "outside.mp4").symlink_to(outside)
        (inbox.root / "loop").symlink_to(inbox.root, target_is_directory=True)
        (inbox.root / "dangling.mp4").symlink_to(tmp_path / "nothing")
    except OSError:
        pytest.skip("no links here")
    assert inbox.settled() == ["clip.mp4", "inside.mp4"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode here")
def test_a_name_that_is_no_unicode_settles_like_any_other(inbox: Inbox) -> None:
    with open(os.fsencode(inbox.root) + b"/caf\xe9.mp4", "wb") as stream:  # noqa: PTH123
        stream.write(b"1")
    assert inbox.settled() == [os.fsdecode(b"caf\xe9.mp4")]


def test_a_folder_that_cannot_be_looked_into_does_not_lose_its_files() -> None:
    class Flaky:
        name, is_here, unread = "flaky", True, ()

        def listing(self) -> Listing:
            return Listing([Lying("a.mp4", 1, "1")] + [Lying("b/c.mp4", 1, "1")] * (not self.unread), self.unread)

        def trouble(self, thing: object) -> str:
            return ""

    place = Flaky()
    watch = Watch(place, quiet=0, every=1)  # type: ignore[arg-type]
    watch.look()
    place.unread = ("b",)  # type: ignore[assignment]
    assert watch.look().gone == []


def test_sidecars_and_styles_are_told_apart() -> None:
    names = ["clip.mp4", "clip.toml", "style.jpg", "STYLE-2.PNG", "style_van gogh.webp", "stylish.png", "style.mp4"]
    things, _ = arrange([Lying(name, 1, "1") for name in names], ())
    kinds = {path: thing.kind for path, thing in things.items()}
    assert [path for path, kind in kinds.items() if kind is Kind.STYLE] == [
        "style.jpg",
        "STYLE-2.PNG",
        "style_van gogh.webp",
    ]
    assert [path for path, kind in kinds.items() if kind is Kind.SIDECAR] == ["clip.toml"]
    assert sidecars_of("a/clip.mp4") == ("a/clip.mp4.toml", "a/clip.toml")


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        Folder(tmp_path / "nothing")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is not a folder"):
        Folder(tmp_path / "file")


def test_five_thousand_files_are_told_once_and_scanned_quickly(inbox: Inbox) -> None:
    for number in range(5000):
        (inbox.root / f"clip {number}.mp4").touch()
    assert len(inbox.settled()) == 5000
    began = time.perf_counter()
    assert inbox.scan() == Changes()
    assert time.perf_counter() - began < 2.0


@pytest.fixture(params=[False, True], ids=["native", "polling"])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, list[Changes], Folder]]:
    """A watch that iterates in a thread, as in the program; its scans are far apart, so that hints alone wake it."""
    (tmp_path / "inbox").mkdir()
    place = Folder(tmp_path / "inbox", polling=request.param, every=1.0)
    watch = Watch(place, quiet=0.2, every=60.0)
    heard: list[Changes] = []

    def listen() -> None:
        for changes in watch:
            heard.append(changes)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    until(lambda: heard)
    yield tmp_path / "inbox", heard, place
    watch.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_hint_wakes_the_scan(running: tuple[Path, list[Changes], Folder]) -> None:
    root, heard, _ = running
    time.sleep(1.2)  # so that polling has taken its first look; there is nothing to wait for that would tell
    (root / "a").mkdir()
    (root / "a" / "clip.mp4").write_bytes(b"1")
    until(lambda: any(paths(changes.settled) == ["a/clip.mp4"] for changes in heard), 15)
    shutil.rmtree(root / "a")
    until(lambda: any(changes.gone == ["a/clip.mp4"] for changes in heard), 15)


def test_where_the_system_has_no_more_watches_ours_takes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(Observer, "start", full)
    woken = threading.Event()
    end = Folder(tmp_path, every=0.1).hints(woken.set)
    try:
        deadline = time.monotonic() + 15
        while not woken.is_set():
            (tmp_path / f"{time.monotonic()}.mp4").touch()
            assert time.monotonic() < deadline
            woken.wait(0.2)
    finally:
        end()
