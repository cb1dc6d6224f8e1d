"""Clips, a few of them under two names, are painted twice: once in peace, once while runners and workers are killed, the
disk fills up, the output folder goes away, the clock jumps, the cache is deleted, files arrive in halves and a second
runner comes. Then both are compared. What is painted before the time is over is painted anew, so that there is always
something to disturb.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import psutil

from stylizer import commands
from stylizer.errors import ConfigError, StoreError
from stylizer.files import digest_of
from stylizer.jobs import ChunkState, Job, JobState
from stylizer.store import MOST_EVENTS, Store
from stylizer.video import probe
from tests.media import make_clip, scene
from tests.torture.program import places

PROJECT = Path(__file__).parents[2]
ROOM = 48 << 20
"""Bytes of the disk that fills up."""
PACE = 0.02
"""Seconds that a worker rests after each frame while it is disturbed: so that there is somebody to kill."""
WORKER_SECONDS = 20.0
"""That who wants to kill a worker waits for one."""
SIZE = (192, 144)
"""Of the clips. x264 writes frames below some 100 pixels a little differently each time: nothing that anybody paints."""
KILLED = ("runners killed", "workers killed")
WORKER, PROBER = "tests.torture.worker", "multiprocessing.spawn"
"""What tells who is who in a command line."""
KINDS = (
    {"times": range(130), "sounds": ("aac",)},
    {"times": range(60), "codec": "libx264", "options": {"g": "7"}},
    {"times": tuple(sorted({n * 2 + n % 3 for n in range(90)})), "time_base": Fraction(1, 60)},
    {"times": range(48), "rotation": 90, "sounds": ("aac", "aac")},
)


class Ordeal:
    """One ordeal under `root`, the same for the same `seed`."""

    def __init__(self, root: Path, *, seed: int, clips: int) -> None:
        self._root, self._chance = root, random.Random(seed)
        self.toll: Counter[str] = Counter()
        self._sources = root / "sources"
        self._sources.mkdir()
        for number in range(clips):
            path = self._sources / f"clip {number:03}.mp4"
            if number % 6 == 5:
                shutil.copy(self._sources / f"clip {number - 1:03}.mp4", path)
                continue
            kind = KINDS[number % len(KINDS)]
            make_clip(path, size=SIZE, metadata={"title": str(number)}, **kind)  # type: ignore[arg-type]
        self._style = root / "style.png"
        _picture(self._style)
        self._runners: list[subprocess.Popen[bytes]] = []
        self._mounted = False

    # ---- in peace ----

    def calm(self) -> None:
        """Paint every clip undisturbed."""
        root = self._root / "calm"
        self._furnish(root)
        for source in self._sources.iterdir():
            shutil.copy(source, root / "inbox" / source.name)
        assert self._start(root, "").wait(600) == 0

    def _furnish(self, root: Path) -> None:
        root.mkdir(exist_ok=True)
        for name in ("inbox", "out"):
            (root / name).mkdir()
        shutil.copy(self._style, root / "style.png")

    def _start(self, root: Path, stay: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.torture.program", str(root), stay]
        around = {**os.environ, "PYTHONPATH": str(PROJECT), "STYLIZER_TORTURE_PACE": str(PACE if stay else 0)}
        with (self._root / "said").open("ab") as said:
            runner = subprocess.Popen(command, cwd=PROJECT, env=around, stderr=said)
        self._runners.append(runner)
        return runner

    # ---- and not ----

    def mad(self, seconds: float, tell: Callable[[str], None] = lambda text: None) -> None:
        """Paint every clip while everything goes wrong, for so long at least, and until a runner and a worker were killed;
        then let the program finish.
        """
        root = self._root / "mad"
        root.mkdir()
        self._mount(root)
        self._furnish(root)
        waiting = sorted(self._sources.iterdir())
        troubles = [self._kill_runner, self._kill_worker, self._second_runner, self._fill, self._hide_output]
        troubles += [self._jump, self._delete_cache, self._kill_runner, self._kill_worker]
        began, told = time.monotonic(), 0.0
        while (now := time.monotonic() - began) < seconds or not all(self.toll[name] for name in KILLED):
            assert now < seconds + 120, "nobody comes to be killed"
            self._runners = [runner for runner in self._runners if runner.poll() is None]
            if not self._runners:
                self.toll["runners started"] += 1
                self._start(root, "stay")
            # All clips have come by half time.
            while waiting and self._chance.random() < 0.2 + now / seconds:
                if not self._come(root, waiting[0]):
                    break
                waiting.pop(0)
            time.sleep(self._chance.uniform(0.1, 1.2))
            self._chance.choice(troubles)(root)
            self._retry(root)
            self._redo(root)
            if now - told > 20:
                told = now
                tell(f"{now:5.0f} s  {dict(self.toll)}")
        self._end_runners()
        with suppress(OSError):
            (root / "clock").unlink()
        for source in waiting:
            assert self._come(root, source), self.toll
        deadline = time.monotonic() + 300
        assert self._start(root, "").wait(300) == 0
        while self._retry(root) or self._unfinished(root):
            assert time.monotonic() < deadline, "it does not come to an end"
            assert self._start(root, "").wait(300) == 0

    def _come(self, root: Path, source: Path) -> bool:
        """A clip is copied into the inbox: slowly, from elsewhere, or under another name first. On a full disk it is not."""
        inbox = root / "inbox"
        whole = source.read_bytes()
        way = self._chance.choice(["slow", "renamed", "temporary", "at once"])
        try:
            if way == "slow":
                half = len(whole) // 2
                (inbox / source.name).write_bytes(whole[:half])
                # Longer than a file needs to stand still, so that a half is looked at.
                time.sleep(self._chance.uniform(0.1, 2.0))
                with (inbox / source.name).open("ab") as file:
                    file.write(whole[half:])
            else:
                first = {"renamed": root / "elsewhere", "temporary": inbox / f".{source.name}.Xy12ab"}.get(way)
                (first or inbox / source.name).write_bytes(whole)
                if first:
                    first.rename(inbox / source.name)
        except OSError:
            (inbox / source.name).unlink(missing_ok=True)
            self.toll["copies that a full disk ended"] += 1
            return False
        self.toll[f"clips that came {way}"] += 1
        return True

    def _retry(self, root: Path) -> int:
        """What a person does about failed jobs once the disk has room again: stylizer retry."""
        retried = 0
        with suppress(StoreError), Store(places(root).store) as store:
            for job in store.jobs((JobState.FAILED,)):
                commands.retry(store, job.id)
                retried += 1
        self.toll["jobs retried"] += retried
        return retried

    def _redo(self, root: Path) -> None:
        """What a person does who does not like a painting; only while nothing else is to be done."""
        with suppress(StoreError, ConfigError), Store(places(root).store) as store:
            jobs = store.jobs()
            if jobs and all(job.state is JobState.DONE for job in jobs):
                commands.redo(store, self._chance.choice(jobs).id)
                self.toll["jobs painted anew"] += 1

    def _unfinished(self, root: Path) -> int:
        with Store(places(root).store) as store:
            return store.count(tuple(state for state in JobState if state is not JobState.DONE))

    def _kill_runner(self, _root: Path) -> None:
        for runner in self._runners:
            if runner.poll() is None:
                runner.kill()
                runner.wait()
                self.toll["runners killed"] += 1

    def _kill_worker(self, _root: Path) -> None:
        """Whatever works for a runner: who paints, and who looks at files. Not before somebody paints."""
        deadline = time.monotonic() + WORKER_SECONDS
        while not (painters := list(self._helpers(WORKER))):
            if time.monotonic() > deadline or all(runner.poll() is not None for runner in self._runners):
                return
            time.sleep(0.02)
        time.sleep(self._chance.uniform(0.0, 0.5))
        for name, processes in (("workers killed", painters), ("those who look at files killed", self._helpers(PROBER))):
            for process in processes:
                with suppress(psutil.Error):
                    process.kill()
                    self.toll[name] += 1

    def _helpers(self, word: str) -> Iterator[psutil.Process]:
        """The processes that runners have started and whose command line has that word."""
        for runner in self._runners:
            with suppress(psutil.Error):
                for process in psutil.Process(runner.pid).children(recursive=True):
                    if word in " ".join(process.cmdline()):
                        yield process

    def _second_runner(self, root: Path) -> None:
        if len(self._runners) < 2:
            self._start(root, "stay")
            self.toll["second runners"] += 1

    def _jump(self, root: Path) -> None:
        with suppress(OSError):
            (root / "clock").write_text(str(self._chance.choice([-86400, -3600, -5, 0, 5, 3600, 86400])))
            self.toll["clock jumps"] += 1

    def _delete_cache(self, root: Path) -> None:
        shutil.rmtree(places(root).cache, ignore_errors=True)
        self.toll["caches deleted"] += 1

    def _hide_output(self, root: Path) -> None:
        """The output folder is a file for a moment: nothing can be written into it."""
        out, away = root / "out", root / "out away"
        with suppress(OSError):
            out.rename(away)
            out.write_text("")
            time.sleep(self._chance.uniform(0.2, 1.0))
            self.toll["output folders taken away"] += 1
        if away.exists():
            out.unlink(missing_ok=True)
            away.rename(out)

    def _fill(self, root: Path) -> None:
        if not self._mounted:
            return
        ballast = root / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 16)):
                pass
        self.toll["disks filled"] += 1
        time.sleep(self._chance.uniform(0.3, 1.5))
        ballast.unlink(missing_ok=True)

    def _mount(self, root: Path) -> None:
        """A small disk of its own, where the system lets us; else none fills up."""
        if sys.platform == "linux" and os.geteuid() == 0:
            command = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(root)]
            self._mounted = subprocess.run(command, capture_output=True).returncode == 0

    def _end_runners(self) -> None:
        for runner in self._runners:
            with suppress(psutil.Error):
                for process in [*psutil.Process(runner.pid).children(recursive=True), psutil.Process(runner.pid)]:
                    process.kill()
            runner.wait()
        self._runners.clear()

    def close(self) -> None:
        """End what still runs; call it whatever happened, after `losses`."""
        self._end_runners()

    # ---- and compared ----

    def losses(self) -> list[str]:
        """What is not as it should be, in words; empty if nothing was lost, doubled or damaged."""
        found = []
        calm, mad = self._root / "calm", self._root / "mad"
        sources = [path.name for path in sorted(self._sources.iterdir())]
        with Store(places(mad).store) as store:
            found += [f"the store: {words}" for words in store.check()]
            jobs = store.jobs()
            self.toll["jobs"] = len(jobs)
            found += [f"job {job.id} is {job.state}: {job.error}" for job in jobs if job.state is not JobState.DONE]
            contents = {digest_of(path) for path in self._sources.iterdir()}
            painted: dict[str, list[Job]] = {content: [] for content in contents}
            for job in jobs:
                painted.setdefault(digest_of(job.clip.path), []).append(job)
            if painted.keys() != contents or not all(painted.values()):
                found.append("not every content has a job")
            for same in painted.values():
                # A second name is painted by itself only where the first one's job had failed when it came.
                if len(same) > 1 and not any(e.kind == "failed" for job in same for e in store.events(job=job.id)):
                    found.append(f"jobs {[job.id for job in same]} paint the same")
            for job in jobs:
                chunks = store.chunks(job.id)
                self.toll["chunks"] += len(chunks)
                self.toll["attempts"] += sum(chunk.attempt for chunk in chunks)
                again = [event for event in store.events(job=job.id, most=MOST_EVENTS) if "is tried again" in event.text]
                self.toll["attempts that failed and were made again"] += sum(e.kind.endswith(" ready") for e in again)
                found += [f"chunk {c.id} is {c.state}" for c in chunks if c.state is not ChunkState.DONE]
        outputs = {path.name for path in (mad / "out").iterdir()}
        wanted = {f"{Path(name).stem}.style.mp4": name for name in sources}
        if outputs != set(wanted):
            found.append(f"the output folder holds {sorted(outputs)}")
        for output, name in wanted.items():
            if digest_of(mad / "out" / output) != digest_of(calm / "out" / output):
                found.append(f"{output} differs from the undisturbed run's")
            self.toll["frames"] += _frames(mad / "out" / output)
            if _frames(mad / "out" / output) != probe(self._sources / name).frames:
                found.append(f"{output} has not every frame")
        if self._mounted:
            subprocess.run(["umount", str(mad)], capture_output=True)
        return found


def _frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def _picture(path: Path) -> None:
    from PIL import Image  # noqa: PLC0415

    Image.fromarray(scene(160, 160, 3)).save(path)


@contextmanager
def ordeal(root: Path, *, seed: int, clips: int) -> Iterator[Ordeal]:
    made = Ordeal(root, seed=seed, clips=clips)
    try:
        yield made
    finally:
        made.close()
