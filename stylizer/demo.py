"""The demo: a studio at work on imagined machines, with nothing to paint and nothing to pay.

    python -m stylizer.demo FOLDER [SEED]

is its runner: the real one, with `backends.fake` for this machine's GPUs and for rented ones. It lives through some minutes
before it begins, in a second, so that there is something to see; then it goes on until its stdin is closed.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import cycle
from pathlib import Path

from backends.fake import FakeBackend, Fate, write_tiny
from stylizer import commands
from stylizer.backend import Backend, Phase
from stylizer.config import Places, load_config, places
from stylizer.demo_gauges import GPUS
from stylizer.demo_scenes import LATER, POISON, SCENES, TROUBLES, Scene
from stylizer.errors import StylizerError
from stylizer.files import digest_of, glimpse_of
from stylizer.jobs import FINISHED, Clip, Encoding, Job, JobState, Look, MediaKind, StyleImage
from stylizer.runner import Runner, is_whole
from stylizer.store import Store
from stylizer.wire import ChunkSpec, FitSpec, Spec
from stylizer.work import Media

PAST = 420.0
"""Seconds that the demo has lived through when it is shown."""
STEP, LAST_STEP, LAST = 3.0, 1.0, 60.0
"""Of them, in a turn of the runner; and so many in one of the last."""
RECENT = 20.0
"""Of them, for which there are pictures."""
SHAPE_EVERY = 1.0
"""Seconds between two pictures of a look that is being fitted."""
JOINING = 1.5
"""Seconds that it takes to put a clip together."""
MOST_KEPT = 60
"""Finished jobs; older ones are forgotten."""
READY = "ready"
PATIENCE = 90.0
"""Seconds that a busy machine may take to set it up."""
NODES = {"tvmps-7c1f": 58.0, "tvmps-20ae": 58.0, "tvmps-b94d": 55.0, "tvmps-e05a": 58.0, "tvmps-41d8": 56.0}
"""Frames a second of each."""
FIT_STEPS = 600
FRAME = (1920, 1080)
"""Pixels of all clips."""
SIZE, PRICE = "Standard_NC24ads_A100_v4", Decimal("1.47")
SETTINGS = """# Settings of the demo; they go when it ends.

[place]
burst = "always"    # so that there is something to see in the cloud
max_cost_day = 2.5  # of imagined money

[azure]
nodes = 5
vm_size = "Standard_NC24ads_A100_v4"
"""


def main(folder: Path, seed: int) -> int:
    """The runner of a demo, until stdin is closed."""
    os.environ["STYLIZER_HOME"] = str(folder)
    here, clock = places(), Clock()
    here.config.write_text(SETTINGS, encoding="utf-8")
    script = Script(folder, seed, clock)
    shown = threading.Event()
    past = ExitStack()

    def each() -> None:
        if clock.is_now and not shown.is_set():
            shown.set()
            past.close()
            print(READY, flush=True)  # noqa: T201  # to the process that shows the studio

    with Store(here.store, clock=clock) as store, past:
        # The past is one transaction: it is written once, not at every turn.
        past.enter_context(store.transaction())
        runner = Runner(
            store,
            load_config(here.config),
            here,
            media=script.media,
            backends=script.backend,
            adopt=lambda: script.bring(store),
            cloud="azure",
            clock=clock,
            sleep=clock.sleep,
        )
        threading.Thread(target=_end_with_stdin, args=(runner,), daemon=True).start()
        runner.run(stay=True, each=each)
    # Here too: whoever shows the studio may have been killed.
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _end_with_stdin(runner: Runner) -> None:
    # Not sys.stdin: its lock, held by this thread, would abort the interpreter's shutdown.
    with suppress(OSError):
        while os.read(0, 1024):
            pass
    runner.stop()


class Clock:
    """The time: of some minutes ago, in big steps, until it has caught up with that of the wall."""

    def __init__(self) -> None:
        self.start = time.time()
        self._now = self.start - PAST

    def __call__(self) -> float:
        return self._now if self._now < time.time() else time.time()

    @property
    def is_now(self) -> bool:
        return self._now >= time.time()

    def sleep(self, seconds: float) -> None:
        if self.is_now:
            time.sleep(seconds)
        else:
            self._now += STEP if self._now < self.start - LAST else LAST_STEP
            # What is checked or joined aside is to be done within a step.
            time.sleep(0.001)


class Script:
    """What happens: which clips come, how their chunks fare, what is written."""

    def __init__(self, folder: Path, seed: int, clock: Clock) -> None:
        from stylizer import demo_pictures  # noqa: PLC0415  # numpy and Pillow, for the runner alone

        self._folder, self._seed, self._clock = folder, seed, clock
        self._clips = folder / "clips"
        self._clips.mkdir(parents=True, exist_ok=True)
        drawn = demo_pictures.draw_styles(folder / "styles", seed)
        self._styles = [(path, digest_of(path)) for path in drawn]
        self._coming = list(SCENES)
        self._later = enumerate(cycle(LATER))
        self._next_at = LATER[0].at
        self._shape_at = 0.0
        self.media = Media(
            check=lambda clip: None,
            size=_size,
            checkpoint=lambda job: folder / "cache" / f"{job.key[:40]}.safetensors",
            is_whole=is_whole,
            assemble=self._assemble,
        )

    def backend(self, name: str) -> Backend:
        """This machine, with two unequal GPUs; or rented ones that may be taken away."""
        always = partial(FakeBackend, name=name, clock=self._clock, fit_steps=FIT_STEPS, write=self._write)
        if name != "azure":
            return always(kind="cuda", workers=GPUS, script=self._fate_here)
        return always(kind="cloud", workers=NODES, price=PRICE, boot=9.0, linger=7.0, size=SIZE, script=self._fate_there)

    def bring(self, store: Store) -> None:
        """Add the clips whose time has come, and forget what was done long ago."""
        now = self._clock() - self._clock.start
        if self._clock.is_now and now >= self._shape_at:
            self._shape_at = now + SHAPE_EVERY
            self._shape(store)
        while self._coming and self._coming[0].at <= now:
            self._add(store, self._coming.pop(0))
        if now >= self._next_at:
            number, scene = next(self._later)
            self._next_at = now + LATER[(number + 1) % len(LATER)].at
            if take := number // len(LATER):
                stem, dot, suffix = scene.name.rpartition(".")
                style = (scene.styles[0] + 3 * take) % len(self._styles)
                scene = replace(scene, name=f"{stem}, take {take + 1}{dot}{suffix}", styles=(style,))
            self._add(store, scene)
            for job in [job for job in store.jobs(tuple(FINISHED)) if job.state is JobState.DONE][:-MOST_KEPT]:
                commands.remove(store, job.id)

    def _add(self, store: Store, scene: Scene) -> None:
        path = self._clips / scene.name
        frames = round(scene.seconds * scene.rate)
        from stylizer.demo_media import write_clip  # noqa: PLC0415  # PyAV

        rate = Fraction(scene.rate)
        clip = Clip(
            path, MediaKind.VIDEO, *FRAME, frames, rate, scene.seconds, "h264", "yuv420p", 0, scene.sound, "", scene.notes
        )
        clip = write_clip(clip)
        weight = 1 / len(scene.styles)
        look = Look(
            tuple(StyleImage(self._styles[n][0], weight, self._styles[n][1]) for n in scene.styles),
            strength=scene.strength,
            keep_color=scene.keep_color,
            quality=scene.quality,
        )
        name = f"{path.stem}.{self._styles[scene.styles[0]][0].stem}{path.suffix}"
        job = commands.add(
            store,
            clip,
            look,
            Encoding(),
            self._folder / "painted" / name,
            backend=scene.backend,
            priority=scene.priority,
            max_cost=scene.max_cost,
        )
        for note in scene.notes:
            store.note(job.id, None, "note", note)
        if scene.paused:
            commands.pause(store, job.id)

    def _shape(self, store: Store) -> None:
        """How the looks that are being fitted take shape."""
        from stylizer.demo_media import write_shape  # noqa: PLC0415  # PyAV

        for job in store.jobs((JobState.FITTING,)):
            if job.checkpoint and job.fit_total:
                write_shape(job.clip, job.look, job.fit_done / job.fit_total, glimpse_of(job.checkpoint))

    def _write(self, spec: Spec, part: Path) -> None:
        """What a spec leaves behind; chunks of long ago are not looked at any more."""
        if isinstance(spec, FitSpec) or self._clock() < self._clock.start - RECENT:
            write_tiny(spec, part)
            return
        from stylizer.demo_media import write_painted  # noqa: PLC0415  # PyAV

        write_painted(spec.clip, spec.frames.start, spec.look, part, "nut")

    def _assemble(self, job: Job, chunks: Sequence[Path], frames: int) -> Sequence[str]:  # noqa: ARG002  # as the real one
        from stylizer.demo_media import write_painted  # noqa: PLC0415  # PyAV

        if self._clock.is_now:
            time.sleep(JOINING)
        job.output.parent.mkdir(parents=True, exist_ok=True)
        container = "matroska" if job.output.suffix == ".mkv" else "mp4"
        write_painted(job.clip, job.clip.frames // 2, job.look, job.output, container)
        return ("Two sound tracks are carried over.",) if job.clip.audio_tracks == 2 else ()

    def _chance(self, spec: Spec) -> random.Random:
        return random.Random(f"{self._seed} {spec.id}")  # noqa: S311  # a script, not a secret

    def _fate_here(self, spec: Spec) -> Fate:
        chance = self._chance(spec)
        if isinstance(spec, ChunkSpec) and spec.clip.path.name.startswith("half a transfer") and spec.frames.start > 900:
            return POISON
        if isinstance(spec, FitSpec) or chance.random() > 0.04:
            return Fate()
        return Fate(Phase.FAILED, chance.uniform(0.2, 0.9), chance.choice(TROUBLES))

    def _fate_there(self, spec: Spec) -> Fate:
        chance = self._chance(spec)
        if chance.random() > 0.05:
            return self._fate_here(spec)
        where = spec.id if isinstance(spec, FitSpec) else f"Chunk {int(spec.id.split('-')[1])}"
        text = f"{where} was lost: its Spot machine was needed by somebody else. It starts anew."
        return Fate(Phase.LOST, chance.uniform(0.2, 0.9), text)


def _size(job: Job) -> tuple[int, int]:
    if not job.look.size:
        return job.clip.width, job.clip.height
    scale = job.look.size / max(job.clip.width, job.clip.height)
    return round(job.clip.width * scale), round(job.clip.height * scale)


@contextmanager
def demo(seed: int = 7) -> Iterator[Places]:
    """A studio at work in a temporary folder; STYLIZER_HOME names that folder while inside. Afterwards nothing is left."""
    before = os.environ.get("STYLIZER_HOME")
    folder = Path(tempfile.mkdtemp(prefix="stylizer-demo-"))
    os.environ["STYLIZER_HOME"] = str(folder)
    command = [sys.executable, "-P", "-m", "stylizer.demo", str(folder), str(seed)]
    runner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        _wait_until_ready(runner)
        yield places()
    finally:
        _end(runner)
        shutil.rmtree(folder, ignore_errors=True)
        if before is None:
            del os.environ["STYLIZER_HOME"]
        else:
            os.environ["STYLIZER_HOME"] = before


def _wait_until_ready(runner: subprocess.Popen[bytes]) -> None:
    too_long = threading.Timer(PATIENCE, runner.kill)
    too_long.start()
    try:
        assert runner.stdout and runner.stderr
        if runner.stdout.readline().strip() != READY.encode():
            said = runner.stderr.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise StylizerError(
                f"The demo could not begin: {said or 'it took too long'}.", hint="stylizer doctor says more."
            )
    finally:
        too_long.cancel()


def _end(runner: subprocess.Popen[bytes]) -> None:
    assert runner.stdin and runner.stdout and runner.stderr
    with suppress(OSError):
        runner.stdin.close()
    try:
        runner.wait(5)
    except subprocess.TimeoutExpired:
        runner.kill()
        runner.wait()
    runner.stdout.close()
    runner.stderr.close()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 7))
