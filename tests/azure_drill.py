"""Drills that take minutes, on Azurite and the emulator of Batch; each says what it found, and ends with 1 if it is too bad.

python -m tests.azure_drill kills --kills 50                    the client is killed, again and again
python -m tests.azure_drill scale --chunks 1000 --nodes 100     one run under throttling and preemption
python -m tests.azure_drill meter --runs 12                     what is counted here beside the emulator's bill
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.core.pipeline.transport import RequestsTransport

from backends.azure import AzureBackend
from backends.azure.account import open_account
from stylizer import blobs, commands
from stylizer.backend import Backend, Phase
from stylizer.config import AzureDefaults, Config
from stylizer.errors import BackendUnavailable
from stylizer.jobs import FINISHED, ChunkState, Encoding, JobState
from stylizer.runner import Runner
from stylizer.store import Store
from tests.azure_for_tests import ROOT, Cloud, cloud, ended, unchanged_if_fake
from tests.azurite import azurite
from tests.emulator.faults import Fault
from tests.emulator.script import Script, Simulated
from tests.jobs_for_tests import chunk_spec, clip, look, media, places, until

FRAMES = 24
"""In a chunk."""
BUSY = 0.05
"""Share of calls of Batch that meet 429, and as many that meet 503."""
TAKEN = 0.2
"""Share of tasks whose node is taken away under them."""


def main() -> int:
    options = argparse.ArgumentParser(description="Drills on an emulated Azure.")
    drills = options.add_subparsers(dest="drill", required=True)
    for name, numbers in {
        "kills": {"kills": 50, "chunks": 120, "seed": 1},
        "scale": {"chunks": 1000, "nodes": 100, "seed": 1},
        "meter": {"runs": 12, "seed": 1},
    }.items():
        drill = drills.add_parser(name)
        for key, value in numbers.items():
            drill.add_argument(f"--{key}", type=int, default=value)
    drills.add_parser("client").add_argument("folder", type=Path)
    chosen = vars(options.parse_args())
    drill = chosen.pop("drill")
    if drill == "client":
        return client(chosen["folder"])
    with tempfile.TemporaryDirectory() as folder:
        bars = {"kills": kills, "scale": scale, "meter": meter}[drill](Path(folder), **chosen)
    for words, held in bars.items():
        print(f"{'ok    ' if held else 'MISSED'} {words}")
    return 0 if all(bars.values()) else 1


@contextlib.contextmanager
def account(folder: Path, speed: float) -> Iterator[Cloud]:
    (folder / "art.jpg").write_bytes(b"a style, as far as this goes")
    (folder / "look.safetensors").write_bytes(b"a checkpoint, as far as this goes")
    with azurite() as storage, pytest.MonkeyPatch.context() as patch, cloud(storage, folder, patch, speed) as made:
        yield made


# ---- killed ----


def kills(folder: Path, kills: int, chunks: int, seed: int) -> dict[str, bool]:
    """A runner is killed at random instants and started again; the last one ends the run."""
    dice, begun = random.Random(seed), time.monotonic()
    with account(folder, 60.0) as made:
        made.tell_workers(pace=2.5)
        (folder / "azure.json").write_text(json.dumps(asdict(made.settings(nodes=3, chunk_seconds=1.0))))
        with Store(folder / "jobs.db") as store:
            source = clip(folder, frames=chunks * FRAMES)
            job = commands.add(
                store,
                source,
                look(folder),
                Encoding(),
                folder / "out.mp4",
                backend="azure",
                device="cpu",  # so that its fit is bound to Azure too
                precision="fp32",
                again=False,
            )
        done = 0
        for _ in range(kills + 3):
            with subprocess.Popen(
                [sys.executable, "-m", "tests.azure_drill", "client", str(folder)], cwd=ROOT, stderr=subprocess.DEVNULL
            ) as running:
                if done < kills:
                    # Some before it has begun to talk with Azure, most in the midst of it.
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        running.wait(dice.uniform(0.8, 5.0))
                    running.kill()
                    done += 1
                else:
                    running.wait(600)
            with Store(folder / "jobs.db") as store:
                found, count = store.job(job.id), len(store.chunks(job.id, (ChunkState.DONE,)))
            print(f"kill {done}: {found.state}, {count} of {chunks} chunks", end="\r", flush=True)
            if found.state in FINISHED:
                break
        starts = [line.split()[0] for line in (folder / "notes").read_text().splitlines()]
        painted = (folder / "out.mp4").read_text() if (folder / "out.mp4").exists() else ""
        made.batch.wait(lambda: not any(pool.nodes for pool in made.batch.account.pools.values()), 120)
        with Store(folder / "jobs.db") as store:
            spent = sum(float(one.meter.spent) for one in store.money())
        bill, violations = float(made.batch.cost()), made.batch.violations
    print(f"\n{done} kills in {time.monotonic() - begun:.0f} s; {len(starts)} starts of {len(set(starts))} specs")
    print(f"meter {spent:.4f}, bill {bill:.4f}: {100 * (spent / bill - 1):+.1f} %; {len(violations)} violations")
    return {
        f"the client was killed {kills} times": done == kills,
        "the run is done": found.state is JobState.DONE,
        f"every chunk is in the output once, of {chunks}": painted.count('"start"') == chunks,
        "each was started once": len(starts) == len(set(starts)) == chunks + 1,
        "nothing was against the contract": not violations,
    }


def client(folder: Path) -> int:
    """What a person's computer runs, until it is killed."""
    config = Config(azure=AzureDefaults(**json.loads((folder / "azure.json").read_text())))

    def backends(name: str) -> Backend:
        assert name == "azure"
        return AzureBackend(config, check=unchanged_if_fake, pace=0.2, home=folder / "azure")

    with Store(folder / "jobs.db") as store:
        Runner(store, config, places(folder), media=media(folder), backends=backends, cloud="azure").run()
    return 0


# ---- a thousand ----


def scale(folder: Path, chunks: int, nodes: int, seed: int) -> dict[str, bool]:
    """Tasks are simulated: nodes have no processes, but all that they write is written."""
    dice, lock = random.Random(seed), threading.Lock()
    calls: Counter[str] = Counter()
    painted: Counter[str] = Counter()
    send = RequestsTransport.send

    def counting(self: Any, request: Any, **more: Any) -> Any:
        calls["storage" if request.url.startswith(made.storage.endpoint) else "batch"] += 1
        return send(self, request, **more)

    with account(folder, 30.0) as made, pytest.MonkeyPatch.context() as patch:
        script = made.batch.script
        script.boot_seconds, script.restore_seconds = 90.0, 120.0
        made.batch.quota.spot_cores = 100_000
        opened = open_account(Config(azure=made.settings()), folder / "here")
        soon = datetime.now(UTC) + timedelta(hours=1)

        def paint(work: Path) -> None:
            name, run = work.parent.name, work.parent.parent.name.rpartition("-")[0]
            with lock:
                painted[name] += 1
            content = name.encode() * 10
            facts = {"frames": "24", "digest": hashlib.sha256(content).hexdigest(), "size": str(len(content))}
            blobs.put(opened.media.write_link(f"{run}/results/{name}", soon), content)
            facts |= {"seconds": "60", "notes": "0", "node": "n"}
            blobs.put(opened.logs.write_link(f"{run}/state/{name}.done", soon), b"[]", facts)

        script.task = lambda task, node: Simulated(60.0, effect=paint)
        script.preemption = lambda task, node: 30.0 if dice.random() < TAKEN else None
        made.batch.faults.add(Fault(status=429, rate=BUSY))
        made.batch.faults.add(Fault(status=503, rate=BUSY))
        patch.setattr(RequestsTransport, "send", counting)
        backend = made.backend(nodes=nodes, pace=1.0)
        specs = {spec.id: spec for spec in (chunk_spec(folder, n) for n in range(chunks))}
        begun, left, ends = time.monotonic(), set(specs), Counter[Phase]()
        backend.submit(list(specs.values()))
        while left and time.monotonic() - begun < 540:
            with contextlib.suppress(BackendUnavailable):
                for report in backend.poll(sorted(left)):
                    if report.phase not in (Phase.WAITING, Phase.RUNNING):
                        ends[report.phase] += 1
                        left.discard(report.id)
            time.sleep(0.1)
        seconds, asked = time.monotonic() - begun, calls.total()
        landed = sum(spec.output.read_bytes() == name.encode() * 10 for name, spec in specs.items() if spec.output.exists())
        contents = [blob.name for blob in opened.media.list("content/")]
        until(lambda: all(one.final for one in backend.meters()), 120)
        made.batch.wait(lambda: not any(pool.nodes for pool in made.batch.account.pools.values()), 120)
        spent, bill = float(sum(one.spent for one in backend.meters())), float(made.batch.cost())
        violations = made.batch.violations
        tasks = [task for job in made.batch.account.jobs.values() for task in job.tasks.values()]
        again = sum(task.execution["requeueCount"] for task in tasks)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{chunks} chunks on {nodes} nodes in {seconds:.0f} s; {dict(ends)}; {again} begun anew")
    print(f"{asked} calls ({dict(calls)}), {asked / chunks:.2f} a chunk; meter {spent:.4f}, bill {bill:.4f}: ", end="")
    print(f"{100 * (spent / bill - 1):+.2f} %; {memory:.0f} MB with emulator and nodes; {len(violations)} violations")
    return {
        "all are done and here": ends[Phase.DONE] == landed == chunks,
        "each was carried out to its end once": painted.total() == len(painted) == chunks,
        "each content was uploaded once": len(contents) == 2,
        "three calls a chunk at most": asked <= 3 * chunks,
        "the meter is within 2 %": abs(spent / bill - 1) < 0.02,
        "nothing was against the contract": not violations,
    }


# ---- money ----


def meter(folder: Path, runs: int, seed: int) -> dict[str, bool]:
    """Runs of random shape on machines that take as long as real ones, looked at as often as real ones, 30 times as fast."""
    speed, dice, worst = 30.0, random.Random(seed), 0.0
    for number in range(runs):
        place = folder / str(number)
        place.mkdir()
        with account(place, speed) as made:
            for key, value in vars(Script()).items():
                if key.endswith("_seconds"):
                    setattr(made.batch.script, key, value)
            made.batch.script.boot_seconds = lambda node: dice.uniform(60, 240)
            taken = dice.choice([0.0, 0.0, 0.2, 0.4])
            made.batch.script.preemption = lambda task, node, taken=taken: (
                dice.uniform(5, 200) if dice.random() < taken else None
            )
            chunks, nodes, seconds = dice.choice([1, 1, 2, 3, 6, 10]), dice.choice([1, 2, 4]), dice.choice([0, 10, 60, 600])
            made.tell_workers(pace=seconds / speed)
            backend = made.backend(nodes=nodes, pace=5 / speed)
            specs = [chunk_spec(place, n) for n in range(chunks)]
            backend.submit(specs)
            ended(backend, [spec.id for spec in specs], 240)
            until(lambda backend=backend: all(one.final for one in backend.meters()), 120)
            made.batch.wait(lambda made=made: not any(pool.nodes for pool in made.batch.account.pools.values()), 120)
            spent, bill = float(sum(one.spent for one in backend.meters())), float(made.batch.cost())
            off = spent / bill - 1
            worst = max(worst, abs(off))
            shape = f"{chunks} chunks of {seconds} s on {nodes} nodes, {100 * taken:.0f} % taken away"
            print(f"{shape}: {made.batch.node_seconds():.0f} node-seconds, {spent:.6f} of {bill:.6f}, {100 * off:+.2f} %")
    return {f"the meter is within 2 % in each of {runs} runs, at worst {100 * worst:.2f} %": worst < 0.02}


if __name__ == "__main__":
    sys.exit(main())
