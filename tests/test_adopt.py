"""From an inbox to jobs and outputs: real files, pictures and store, real probing processes; only painting is imagined."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from PIL import Image

from backends.fake import FakeBackend
from stylizer import commands
from stylizer.config import Config, WatchDefaults
from stylizer.errors import InputError
from stylizer.inbox.adopt import Intake
from stylizer.inbox.arrivals import Arrivals
from stylizer.inbox.deliver import Deliveries, copy_here
from stylizer.inbox.examine import Examiner
from stylizer.inbox.folder import Folder
from stylizer.inbox.outbox import Outbox
from stylizer.inbox.prober import Prober
from stylizer.inbox.sidecar import asked_by
from stylizer.inbox.watch import Changes, Watch
from stylizer.jobs import FINISHED, Job, JobState
from stylizer.ledger import Arrival, Found
from stylizer.runner import Runner
from stylizer.sequence import SUFFIXES
from stylizer.source import check_unchanged
from stylizer.store import Store
from tests import jobs_for_tests as small
from tests.media import make_clip

QUIET = 5.0


class Stepped:
    """Iterates like a Watch, one scan at a time, when it is told."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.scans = 0

    def __iter__(self) -> Iterator[Changes]:
        while self._asked.get():
            yield self._watch.look()
            self.scans += 1

    def scan(self) -> None:
        before = self.scans
        self._asked.put(True)
        small.until(lambda: self.scans > before)

    def stop(self) -> None:
        self._asked.put(False)


class Shared(Examiner):
    """Examines with one process for all tests, which takes half a second to start."""

    prober = Prober()

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._lanes.shutdown()
        # A Prober is for one thread at a time.
        self._lanes = ThreadPoolExecutor(1)

    def _prober(self) -> Prober:
        return self.prober


class World:
    """An inbox, an outbox, and a runner on a clock that its own sleeping moves."""

    def __init__(self, root: Path, **asked: object) -> None:
        self.root, self.now = root, 1e9
        self.inbox, self.outbox = root / "inbox", root / "outbox"
        self.inbox.mkdir()
        self.places = small.places(root)
        self.settings = WatchDefaults(quiet_seconds=QUIET)
        self.asked = asked
        self.painted: Counter[tuple[str, str]] = Counter()
        self.fail_to_carry = 0
        self.lose_links: Callable[[Job], None] = lambda job: None
        self.begin()

    def begin(self) -> None:
        self.store = Store(self.root / "jobs.db", clock=lambda: self.now)
        config = Config(run=small.config().run, watch=self.settings)
        place = Folder(self.inbox, without=[self.outbox])
        self.examiner = Shared(place, asked_by(config, **self.asked), config, self.places.work / "styles")
        self.intake = Intake(
            self.store,
            place,
            lambda: Arrivals(self.store, place.name, Outbox(self.outbox), self.places.work, clock=lambda: self.now),
            self.examiner,
            Deliveries(self.store, self.carry, clock=lambda: self.now),
            config,
            watch=self.watching,  # type: ignore[arg-type]
            clock=lambda: self.now,
        )
        self.place, self.config = place, config
        self.watch: Stepped | None = None

    def watching(self, known: dict[str, str]) -> Stepped:
        self.watch = Stepped(Watch(self.place, quiet=QUIET, every=10, known=known, clock=lambda: self.now))
        return self.watch

    def carry(self, output: Path, target: str) -> None:
        if self.fail_to_carry:
            self.fail_to_carry -= 1
            raise OSError(28, "No space left on device")
        copy_here(output, Path(target))

    def end(self) -> None:
        """As a kill would, but for the threads that a test must not leave behind."""
        if self.watch:
            self.watch.stop()
            assert self.intake._thread
            self.intake._thread.join(10)
        self.examiner._lanes.shutdown()
        self.intake._deliveries._lanes.shutdown()
        assert self.store.check() == []
        self.store.close()

    def restart(self) -> None:
        self.end()
        self.begin()

    # ---- what people do ----

    def write(self, name: str, content: bytes) -> Path:
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        # Two versions within one tick of the disk's clock would look the same.
        os.utime(path, ns=(time.time_ns(), time.time_ns()))
        return path

    def drop(self, name: str, colour: int = 0) -> Path:
        return self.write(name, picture(colour, Path(name).suffix))

    # ---- what the program does ----

    def turn(self) -> None:
        """Decide all that was told so far."""
        deadline = time.monotonic() + 20
        while True:
            self.intake.turn()
            if self.intake.is_idle():
                return
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def look(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.intake.turn()
        assert self.watch
        self.watch.scan()
        self.turn()

    def settle(self) -> None:
        self.look()
        self.look(QUIET)
        self.look(QUIET)

    def paint(self) -> None:
        """Run all jobs to their end, copies included."""
        self.settle()
        fake = FakeBackend(slots=4, speed=1e6, clock=lambda: self.now)

        def sleep(seconds: float) -> None:
            self.now += max(seconds, 0.5)
            time.sleep(0.001)

        for _ in range(3):
            runner = Runner(
                self.store,
                self.config,
                self.places,
                media=replace(small.media(self.root), check=check_unchanged, assemble=self.assemble),
                backends=lambda name: fake,
                adopt=self.intake.turn,
                cloud="",
                clock=lambda: self.now,
                sleep=sleep,
            )
            runner.run()
            for _ in range(100):
                self.now += 2
                self.turn()
                if not self.intake._deliveries._going and not self.store.deliveries(due=True):
                    break
                time.sleep(0.002)

    def assemble(self, job: Job, chunks: Sequence[Path], frames: int) -> Sequence[str]:
        """A painting that says what it is of."""
        source = job.clip.path
        content = source.read_bytes() if source.is_file() else b"".join(p.read_bytes() for p in sorted(source.glob("*.png")))
        self.painted[job.output.name, hashlib.sha256(content).hexdigest()] += 1
        part = job.output.with_name(job.output.name + ".part")
        part.write_bytes(content)
        part.replace(job.output)
        return ()

    # ---- what can be seen ----

    def rows(self) -> dict[str, Found]:
        return {row.path: row for row in self.store.found(self.place.name)}

    def states(self) -> dict[str, str]:
        return {path: str(row.state) for path, row in self.rows().items()}

    def outputs(self) -> dict[str, bytes]:
        return {p.relative_to(self.outbox).as_posix(): p.read_bytes() for p in self.outbox.rglob("*") if p.is_file()}

    def jobs(self) -> list[tuple[str, str]]:
        return sorted((job.clip.path.relative_to(self.inbox).as_posix(), job.output.name) for job in self.store.jobs())


PICTURES: dict[tuple[int, str], bytes] = {}


def picture(colour: int, suffix: str = ".png") -> bytes:
    """A small picture's bytes, others for each colour."""
    key = colour, suffix
    if key not in PICTURES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"p{suffix}")
            Image.new("RGB", (40 + colour, 40), (colour * 40 % 256, 80, 120)).save(path, SUFFIXES[suffix.lower()])
            PICTURES[key] = path.read_bytes()
    return PICTURES[key]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.end()


@pytest.fixture(scope="module", autouse=True)
def _prober() -> Iterator[None]:
    yield
    Shared.prober.close()


# ---- which style ----


def test_a_clip_waits_for_a_style_and_is_painted_when_one_lands(world: World) -> None:
    world.drop("a/clip.png", 1)
    world.settle()
    row = world.rows()["a/clip.png"]
    assert row.state is Arrival.WAITING and "There is no style" in row.reason
    assert any(event.kind == "waiting" for event in world.store.events())
    world.drop("style.jpg")
    world.paint()
    assert world.outputs() == {"a/clip.style.png": picture(1)}
    assert world.states() == {"a/clip.png": "taken"}


def test_the_nearest_style_counts(world: World) -> None:
    world.drop("style.jpg", 1)
    world.drop("vangogh/style.jpg", 2)
    world.drop("vangogh/deep/clip.png", 3)
    world.drop("clip.png", 4)
    world.settle()
    by_clip = {job.clip.path.name + job.clip.path.parent.name: job.look.styles[0].digest for job in world.store.jobs()}
    digests = [hashlib.sha256(picture(n, ".jpg")).hexdigest() for n in (1, 2)]
    assert by_clip == {"clip.pnginbox": digests[0], "clip.pngdeep": digests[1]}


def test_each_of_several_styles_makes_an_output(world: World) -> None:
    world.drop("style.jpg", 1)
    world.drop("style-2.png", 2)
    world.drop("style.png", 3)
    world.drop("clip.png", 4)
    world.settle()
    assert world.jobs() == [
        ("clip.png", "clip.style-2.png"),
        ("clip.png", "clip.style.jpg.png"),
        ("clip.png", "clip.style.png.png"),
    ]
    assert len(world.rows()["clip.png"].jobs) == 3


def test_the_command_line_comes_before_the_inbox_and_the_config_after(tmp_path: Path) -> None:
    for name, colour in (("given.jpg", 5), ("usual.jpg", 6)):
        (tmp_path / name).write_bytes(picture(colour, ".jpg"))
    (tmp_path / "one").mkdir()
    world = World(tmp_path / "one", styles=(str(tmp_path / "given.jpg"),))
    world.drop("style.jpg")
    world.drop("clip.png")
    world.settle()
    assert world.jobs() == [("clip.png", "clip.given.png")]
    world.end()
    (tmp_path / "two").mkdir()
    world = World(tmp_path / "two")
    world.settings = replace(world.settings, styles=(str(tmp_path / "usual.jpg"),))
    world.restart()
    world.drop("clip.png")
    world.drop("own/style.jpg")
    world.drop("own/clip.png", 1)
    world.settle()
    assert world.jobs() == [("clip.png", "clip.usual.png"), ("own/clip.png", "clip.style.png")]
    world.end()


def test_a_style_that_changes_applies_to_later_clips_only(world: World) -> None:
    world.drop("style.jpg", 1)
    world.drop("a.png", 3)
    world.settle()
    world.drop("style.jpg", 2)
    world.drop("b.png", 4)
    world.settle()
    looks = {job.clip.path.name: job.look.styles[0] for job in world.store.jobs()}
    assert looks["a.png"].digest != looks["b.png"].digest
    for style in looks.values():
        assert hashlib.sha256(style.path.read_bytes()).hexdigest() == style.digest, "what is queued keeps its style"


def test_a_style_must_have_settled_itself(world: World) -> None:
    world.drop("clip.png")
    world.settle()
    whole = picture(1, ".jpg")
    for part in (whole[:100], whole[:200]):
        world.write("style.jpg", part)
        world.look(QUIET)
        assert world.jobs() == [] and "style.jpg is still being written" in world.rows()["clip.png"].reason
    world.write("style.jpg", whole)
    world.settle()
    assert world.jobs() == [("clip.png", "clip.style.png")]


def test_a_style_that_is_no_picture_is_told_by_its_own_name(world: World) -> None:
    world.drop("clip.png")
    world.write("style.jpg", b"not a picture")
    world.settle()
    row = world.rows()["clip.png"]
    assert row.state is Arrival.WAITING and f"{world.inbox / 'style.jpg'} is not a picture" in row.reason
    world.drop("style.jpg")
    world.settle()
    assert world.states() == {"clip.png": "taken"}


# ---- sidecars ----


def test_a_sidecar_says_how_its_clip_is_painted(world: World) -> None:
    (world.root / "own.jpg").write_bytes(picture(7, ".jpg"))
    world.drop("style.jpg")
    text = 'strength = 0.5\nstyle = "../own.jpg"\npriority = 3\nmax_cost = 2\n[look]\nkeep_color = true\n'
    world.write("clip.toml", text.encode())
    world.drop("clip.png", 1)
    world.drop("other.png", 2)
    world.settle()
    clip, other = sorted(world.store.jobs(), key=lambda job: job.clip.path.name)
    assert (clip.look.strength, clip.look.keep_color, clip.priority, clip.max_cost) == (0.5, True, 3, 2.0)
    assert (clip.output.name, other.output.name) == ("clip.own.png", "other.style.png")
    assert (other.look.strength, other.priority) == (1.0, 0)


def test_a_sidecar_mixes_styles_where_it_says_a_blend(world: World) -> None:
    for name in ("a.jpg", "b.jpg"):
        (world.root / name).write_bytes(picture(ord(name[0]) % 16, ".jpg"))
    world.write("clip.png.toml", b'styles = ["../a.jpg", "../b.jpg"]\nblend = "0.7,0.3"')
    world.drop("clip.png", 1)
    world.settle()
    (job,) = world.store.jobs()
    assert [round(style.weight, 2) for style in job.look.styles] == [0.7, 0.3] and job.output.name == "clip.a+b.png"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("strenght = 0.5", "Did you mean 'strength'?"),
        ("strength = 7", "--strength is 7; it goes from 0 to 1."),
        ('strength = "much"', "must be a number"),
        ("strength = ", "not valid TOML"),
        ('style = "nowhere.jpg"', "cannot be read"),
        ('backend = "mars"', "The backend 'mars' is not one of"),
        ('codec = "h999"', "h999"),
    ],
)
def test_a_bad_sidecar_makes_its_clip_wait_with_the_sentence(world: World, text: str, said: str) -> None:
    world.drop("style.jpg")
    make_clip(world.inbox / "clip.mp4")
    sidecar = world.write("clip.toml", text.encode())
    world.settle()
    row = world.rows()["clip.mp4"]
    assert row.state is Arrival.WAITING and said in row.reason
    world.write(sidecar.name, b"strength = 0.5")
    world.settle()
    assert [job.look.strength for job in world.store.jobs()] == [0.5]


# ---- what is taken, and what is not ----


def test_a_broken_file_is_refused_and_looked_at_anew_when_it_is_replaced(world: World) -> None:
    world.drop("style.jpg")
    world.write("clip.mp4", b"no video at all")
    world.settle()
    row = world.rows()["clip.mp4"]
    assert row.state is Arrival.REFUSED and "not a video or picture" in row.reason
    assert any(event.kind == "refused" for event in world.store.events())
    (world.inbox / "clip.mp4").unlink()
    make_clip(world.inbox / "clip.mp4")
    world.settle()
    assert world.states() == {"clip.mp4": "taken"}


def test_what_waits_or_was_refused_is_told_once_whoever_takes_over(world: World) -> None:
    world.write("broken.mp4", b"this is no film at all")
    world.drop("a.png")
    world.drop("b/c.png", 1)
    world.settle()
    told = [(event.kind, event.text) for event in world.store.events()]
    assert Counter(kind for kind, _ in told) == {"refused": 1, "waiting": 2}
    states = world.states()
    for _ in range(2):
        world.restart()
        world.look()
        assert world.states() == states
        world.settle()
    assert [(event.kind, event.text) for event in world.store.events()] == told and world.states() == states
    world.write("broken.mp4", b"nor is this")
    world.drop("style.png", 2)
    world.settle()
    assert sum(event.kind == "refused" for event in world.store.events()) == 2
    assert world.states() == {"broken.mp4": "refused", "a.png": "taken", "b/c.png": "taken"}


def test_a_replaced_file_is_painted_and_takes_the_place_of_the_old_painting(world: World) -> None:
    world.drop("style.jpg")
    world.drop("clip.png", 1)
    world.paint()
    assert world.outputs() == {"clip.style.png": picture(1)}
    world.drop("clip.png", 2)
    world.paint()
    assert world.outputs() == {"clip.style.png": picture(2)}


def test_a_file_that_is_replaced_before_it_was_painted_is_painted_once(world: World) -> None:
    world.drop("style.jpg")
    world.drop("clip.png", 1)
    world.settle()
    world.drop("clip.png", 2)
    world.paint()
    assert world.outputs() == {"clip.style.png": picture(2)}
    assert [job.state for job in world.store.jobs()].count(JobState.DONE) == 1


def test_a_file_that_is_put_back_as_it_was_gets_its_own_painting_again(world: World) -> None:
    world.drop("style.jpg")
    first = world.drop("clip.png", 1)
    times = first.stat()
    world.paint()
    world.drop("clip.png", 2)
    world.paint()
    world.drop("clip.png", 1)
    os.utime(first, ns=(times.st_atime_ns, times.st_mtime_ns))
    world.paint()
    assert world.outputs() == {"clip.style.png": picture(1)}


def test_the_same_content_under_two_names_is_painted_once_and_copied(world: World) -> None:
    world.drop("style.jpg")
    world.drop("a.png", 1)
    world.settle()
    world.drop("sub/b.png", 1)
    world.settle()
    assert "painted once, and copied when that is done" in world.rows()["sub/b.png"].reason
    world.fail_to_carry = 2
    world.paint()
    assert world.outputs() == {"a.style.png": picture(1), "sub/b.style.png": picture(1)}
    assert sum(world.painted.values()) == 1 and len(world.store.jobs()) == 1
    assert "No space left" in "".join(event.text for event in world.store.events())
    world.restart()
    world.paint()
    assert sum(world.painted.values()) == 1


def test_a_twin_of_what_could_not_be_painted_is_painted_itself(world: World) -> None:
    world.drop("style.jpg")
    world.drop("a.png", 1)
    world.settle()
    world.drop("b.png", 1)
    world.settle()
    (world.inbox / "a.png").unlink()
    world.paint()
    assert world.outputs() == {"b.style.png": picture(1)}


def test_the_same_content_in_another_style_is_painted_on_its_own(world: World) -> None:
    world.drop("style.jpg", 1)
    world.drop("other/style.jpg", 2)
    world.drop("a.png", 3)
    world.drop("other/a.png", 3)
    world.paint()
    assert sum(world.painted.values()) == 2


def test_a_renamed_file_is_not_painted_again(world: World) -> None:
    world.drop("style.jpg")
    path = world.drop("a.png", 1)
    world.paint()
    path.rename(world.inbox / "b.png")
    world.paint()
    assert sum(world.painted.values()) == 1 and "b.style.png" in world.outputs()


def test_a_file_that_is_renamed_over_another_takes_its_place(world: World) -> None:
    world.drop("style.jpg")
    first, second = world.drop("a.png", 1), world.drop("b.png", 2)
    world.paint()
    world.now += 60
    first.replace(second)
    world.paint()
    assert world.outputs()["b.style.png"] == picture(1)


def test_what_went_while_nobody_watched_is_forgotten(world: World) -> None:
    world.drop("style.jpg")
    path = world.write("clip.mp4", b"no video")
    world.settle()
    world.restart()
    path.unlink()
    world.settle()
    assert world.rows() == {}


def test_clips_of_one_stem_get_names_of_their_own(world: World) -> None:
    world.drop("style.jpg")
    world.drop("clip.png", 1)
    world.settle()
    make_clip(world.inbox / "clip.avi", codec="mpeg4")
    make_clip(world.inbox / "clip.mp4")
    world.settle()
    outputs = [output for _, output in world.jobs()]
    assert len(set(outputs)) == 3 and "clip.style.png" in outputs and "clip.style.mp4" in outputs


def test_a_strangers_file_in_the_outbox_is_left_alone(world: World) -> None:
    world.outbox.mkdir()
    (world.outbox / "clip.style.png").write_bytes(b"a stranger's")
    world.drop("style.jpg")
    world.drop("clip.png", 1)
    world.paint()
    assert world.outputs() == {"clip.style.png": b"a stranger's", "clip.png.style.png": picture(1)}


def test_what_stylizer_painted_into_the_inbox_is_not_painted_again(world: World) -> None:
    world.drop("style.jpg")
    world.drop("clip.png", 1)
    world.settle()
    job = world.store.jobs()[0]
    output = world.inbox / "clip.mine.png"
    commands.add(world.store, job.clip, job.look, job.encoding, output)
    world.drop("clip.mine.png", 2)
    world.settle()
    assert world.states() == {"clip.png": "taken"}


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode here")
def test_a_name_that_is_no_unicode_is_painted_like_any_other(world: World) -> None:
    world.drop("style.jpg")
    world.drop(os.fsdecode(b"caf\xe9.png"), 1)
    world.paint()
    world.restart()
    world.paint()
    assert world.outputs() == {os.fsdecode(b"caf\xe9.style.png"): picture(1)}
    assert sum(world.painted.values()) == 1


def test_a_clip_that_is_moved_away_before_it_is_taken_is_forgotten(world: World) -> None:
    path = world.drop("clip.png")
    world.settle()
    path.unlink()
    world.settle()
    assert world.rows() == {} and world.store.inboxes() == []


def test_a_painting_that_was_carried_off_is_not_painted_again(world: World) -> None:
    world.drop("style.jpg")
    world.drop("clip.png")
    world.paint()
    shutil.rmtree(world.outbox)
    world.restart()
    world.paint()
    assert sum(world.painted.values()) == 1


def test_no_more_than_so_many_files_an_hour(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.settings = replace(world.settings, files_per_hour=2)
    world.restart()
    world.drop("style.jpg")
    for number in range(5):
        world.drop(f"{'abcde'[number]}.png", number)
    world.settle()
    assert Counter(world.states().values()) == {"taken": 2, "waiting": 3}
    assert "2 files were taken within the hour" in next(r.reason for r in world.rows().values() if r.reason)
    world.now += 3600
    # A turn takes what it has time for.
    small.until(lambda: world.look(1.0) or Counter(world.states().values()) == {"taken": 4, "waiting": 1})
    world.end()


def test_a_sequence_is_one_job(world: World) -> None:
    world.drop("style.jpg")
    for number in range(3):
        world.drop(f"shot/frame_{number}.png", 1)
    world.drop("shot/style.jpg", 2)
    world.write("shot/_READY", b"")
    world.look()
    world.look()
    assert world.jobs() == [("shot", "shot.style")] or world.jobs() == []
    world.settle()
    (job,) = world.store.jobs()
    assert (job.clip.kind, job.clip.frames, job.output) == ("sequence", 3, world.outbox / "shot.style")
    assert job.look.styles[0].digest == hashlib.sha256(picture(2, ".jpg")).hexdigest()


def test_a_place_that_cannot_be_written_makes_files_wait(world: World) -> None:
    world.drop("style.jpg")
    world.outbox.write_bytes(b"a file where the outbox belongs")
    world.drop("a/clip.png")
    world.settle()
    assert "outbox cannot be made" in world.rows()["a/clip.png"].reason
    world.outbox.unlink()
    world.now += 60
    world.paint()
    assert world.states() == {"a/clip.png": "taken"} and len(world.outputs()) == 1


# ---- crashes ----


def test_a_file_that_crashes_who_looks_is_refused_and_the_next_one_is_not(tmp_path: Path) -> None:
    with Prober(seconds=20) as prober:
        make_clip(tmp_path / "good.mp4")
        assert prober.clip(tmp_path / "good.mp4")[1] == ".mp4"
        process = prober._process
        process.kill()
        process.join()
        assert prober.clip(tmp_path / "good.mp4")[0].frames == 12, "a new process does it"


class Doomed(Prober):
    """Its process dies over every question."""

    def _started(self) -> Any:
        line = super()._started()
        self._process.kill()
        self._process.join()
        return line


def test_a_file_that_crashes_the_decoder_each_time_is_refused(tmp_path: Path) -> None:
    make_clip(tmp_path / "good.mp4")
    with Doomed() as prober, pytest.raises(InputError, match=r"good\.mp4 crashes the decoder, each of 2 times"):
        prober.clip(tmp_path / "good.mp4")


@pytest.mark.skipif(os.name == "nt", reason="a pipe that never ends is made otherwise there")
def test_a_question_that_hangs_is_given_up(tmp_path: Path) -> None:
    with Prober(seconds=20) as prober:
        make_clip(tmp_path / "good.mp4")
        prober.clip(tmp_path / "good.mp4")
        os.kill(prober._process.pid, 19)  # stopped: it hangs as a decoder in an endless loop does
        prober._seconds = 0.5
        with pytest.raises(InputError, match="hangs the decoder"):
            prober.clip(tmp_path / "good.mp4")
        prober._seconds = 20
        assert prober.clip(tmp_path / "good.mp4")[0].frames == 12


def test_five_thousand_known_files_cost_a_turn_nothing(world: World) -> None:
    world.drop("style.jpg")
    with world.store.transaction():
        for number in range(5000):
            path = world.write(f"clip{number}.mp4", b"1")
            facts = path.stat()
            mark = f"{facts.st_size}-{facts.st_mtime_ns}"
            world.store.put_found(Found(world.place.name, path.name, f"{mark} x", Arrival.TAKEN, "", (), world.now))
    began = time.perf_counter()
    world.intake.turn()
    assert time.perf_counter() - began < 2.0
    world.settle()
    times = []
    for _ in range(50):
        began = time.perf_counter()
        world.intake.turn()
        times.append(time.perf_counter() - began)
    assert sorted(times)[25] < 0.005
    assert Counter(world.states().values()) == {"taken": 5000}


# ---- as a person types it ----


def test_the_command_takes_what_lands_and_ends_on_the_first_interrupt(tmp_path: Path) -> None:
    home, inbox = tmp_path / "home", tmp_path / "inbox"
    for folder in (home, inbox):
        folder.mkdir()
    (home / "config.toml").write_text("[watch]\nquiet_seconds = 0.2\nscan_seconds = 0.5\n")
    environment = {**os.environ, "STYLIZER_HOME": str(home), "PYTHONUNBUFFERED": "1"}

    def stylizer(*words: str) -> list[str]:
        return [sys.executable, "-m", "stylizer", *words]

    def files() -> dict[str, str]:
        done = subprocess.run(stylizer("inbox", "--json"), capture_output=True, text=True, timeout=60, env=environment)
        found = json.loads(done.stdout)["inboxes"]
        return {file["path"]: file["state"] for file in found[0]["files"]} if found else {}

    command = stylizer("watch", str(inbox), "--plain", "--json", "--backend", "fake")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    try:
        (inbox / "clip.png").write_bytes(picture(1))
        small.until(lambda: files() == {"clip.png": "waiting"}, 60)
        (inbox / "style.jpg").write_bytes(picture(2, ".jpg"))
        small.until(lambda: files() == {"clip.png": "taken"}, 60)
        shown = subprocess.run(stylizer("inbox"), capture_output=True, text=True, timeout=60, env=environment).stdout
        assert "1 taken" in shown and "clip.png" in shown
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    events = [json.loads(line) for line in said.splitlines()]
    assert [event["event"] for event in events[:2]] == ["waiting", "added"]
    assert "There is no style" in events[0]["text"]


# ---- anything in any order ----

NAMES = ("a.png", "b.png", "c.png", "sub/a.png", "sub/d.png")


class AnyOrder(RuleBasedStateMachine):
    """Whatever is created, appended to, renamed, replaced and deleted, with restarts at any moment: in the end each whole
    file has its jobs and its painting, one for each style, and nothing was painted more often than it landed.
    """

    @initialize(late=st.booleans(), second=st.booleans())
    def start(self, late: bool, second: bool) -> None:
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.world = World(Path(self.folder.name))
        self.landed: Counter[str] = Counter()
        self.halves: dict[str, int] = {}
        self.styles = ["style.jpg", *(["style-2.jpg"] if second else [])]
        if not late:
            self.add_styles()

    def add_styles(self) -> None:
        for number, name in enumerate(self.styles):
            if not (self.world.inbox / name).exists():
                self.world.drop(name, 10 + number)

    @rule(name=st.sampled_from(NAMES), colour=st.integers(1, 4))
    def drop(self, name: str, colour: int) -> None:
        self.world.drop(name, colour)
        self.halves.pop(name, None)
        self.landed[hashlib.sha256(picture(colour)).hexdigest()] += 1

    @rule(name=st.sampled_from(NAMES), colour=st.integers(1, 4))
    def begin_to_copy(self, name: str, colour: int) -> None:
        self.world.write(name, picture(colour)[:60])
        self.halves[name] = colour

    @precondition(lambda self: bool(getattr(self, "halves", {})))
    @rule()
    def go_on_copying(self) -> None:
        name, colour = self.halves.popitem()
        self.drop(name, colour)

    @rule(one=st.sampled_from(NAMES), other=st.sampled_from(NAMES))
    def rename(self, one: str, other: str) -> None:
        source, target = self.world.inbox / one, self.world.inbox / other
        if source.exists() and one != other:
            content = hashlib.sha256(source.read_bytes()).hexdigest()
            target.parent.mkdir(exist_ok=True)
            source.replace(target)
            self.landed[content] += 1
            self.halves.pop(other, None)
            if one in self.halves:
                self.halves[other] = self.halves.pop(one)

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        (self.world.inbox / name).unlink(missing_ok=True)
        self.halves.pop(name, None)

    @rule(seconds=st.sampled_from([0.0, 1.0, QUIET]))
    def look(self, seconds: float) -> None:
        self.world.look(seconds)

    @rule()
    def paint(self) -> None:
        self.world.paint()

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @rule()
    def style_lands(self) -> None:
        self.add_styles()

    @invariant()
    def no_output_is_half(self) -> None:
        wholes = {picture(colour) for colour in range(5)}
        if hasattr(self, "world") and self.world.outbox.exists():
            assert all(content in wholes for content in self.world.outputs().values())

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        try:
            self.add_styles()
            while self.halves:
                self.go_on_copying()
            world.paint()
            files = {name: (world.inbox / name).read_bytes() for name in NAMES if (world.inbox / name).exists()}
            assert world.states() == dict.fromkeys(files, "taken")
            for name, content in files.items():
                jobs = world.rows()[name].jobs
                assert len(jobs) == len(self.styles)
                assert all(world.store.job(job).state is JobState.DONE for job in jobs)
                for style in self.styles:
                    output = f"{name.removesuffix('.png')}.{Path(style).stem}.png"
                    assert world.outputs()[output] == content, f"{output} is not {name} as it is now"
            painted: Counter[str] = Counter()
            for (_, content_hash), count in world.painted.items():
                painted[content_hash] += count
            for content_hash, count in painted.items():
                assert count <= self.landed[content_hash] * len(self.styles), "painted more often than it landed"
            assert all(job.state in FINISHED for job in world.store.jobs())
        finally:
            world.end()
            self.folder.cleanup()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=12, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
)
