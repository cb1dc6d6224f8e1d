"""Runs on an emulated account: what real workers paint there, what is found again, what it costs."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backends.azure import overview
from backends.azure.account import open_account
from backends.azure.pieces import cut
from backends.local import LocalBackend
from stylizer import commands
from stylizer.backend import Phase
from stylizer.checkpoint import Checkpoint, save_checkpoint
from stylizer.config import Config
from stylizer.devices import Device
from stylizer.files import digest_of
from stylizer.jobs import Encoding, FrameRange, JobState
from stylizer.network import Dims, TransformNetwork
from stylizer.runner import Runner
from stylizer.store import Store
from stylizer.video import Reader, fingerprint, probe
from stylizer.wire import dumps
from tests.azure_for_tests import ROOT, Cloud, cloud, ended
from tests.azurite import Azurite, azurite, missing
from tests.jobs_for_tests import chunk_spec, clip, look, media, places, until
from tests.media import make_clip, scene

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")


@pytest.fixture(scope="module")
def storage() -> Iterator[Azurite]:
    with azurite() as running:
        yield running


@pytest.fixture
def account(storage: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    (tmp_path / "art.jpg").write_bytes(b"a style, as far as these tests go")
    (tmp_path / "look.safetensors").write_bytes(b"a checkpoint, as far as these tests go")
    with cloud(storage, tmp_path, monkeypatch) as made:
        yield made
        assert made.batch.violations == []


def test_real_workers_paint_pieces_as_they_paint_the_whole_here(
    account: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, clip = tmp_path / "real.safetensors", probe(make_clip(tmp_path / "a clip.mp4"))
    save_checkpoint(Checkpoint(TransformNetwork(Dims()), {}), checkpoint)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for n in range(3):
        Image.fromarray(scene(64, 48, n)).save(pictures / f"p{n}.png")
    plain = replace(chunk_spec(tmp_path), checkpoint=checkpoint, device="cpu", precision="fp32")
    specs = [
        replace(plain, clip=clip, frames=FrameRange(3, 9)),
        replace(
            plain, id="2-00000-1", clip=probe(pictures), frames=FrameRange(1, 3), output=tmp_path / "work" / "2-00000-1"
        ),
    ]
    texts = []
    for spec in specs:
        texts.append(str(tmp_path / f"{spec.id}.json"))
        here = replace(spec, output=tmp_path / f"here-{spec.output.name}")
        Path(texts[-1]).write_text(dumps(here))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "stylizer.worker", *texts], check=True, env=environment, capture_output=True)
    monkeypatch.setattr("backends.azure.staging.WHOLE_BYTES", 0)
    backend = account.backend(python=sys.executable)
    backend.submit(specs)
    reports = ended(backend, [spec.id for spec in specs], 60.0)
    for spec in specs:
        here, report = tmp_path / f"here-{spec.output.name}", reports[spec.id]
        assert report.phase is Phase.DONE and report.done == len(spec.frames), report
        assert report.digest == digest_of(here) == digest_of(backend.fetch(spec))
    assert sorted(path.name for path in specs[1].output.iterdir()) == ["p1.png", "p2.png"]


PATIENCE = 90.0
"""Seconds until a process of its own must have come so far; on a busy machine Python alone takes many."""
WORKER = Path(__file__).with_name("fake_worker.py")
CLIPS: dict[str, dict[str, Any]] = {
    "plain.mp4": {"times": range(60), "options": {"g": "12"}},
    "uneven.mkv": {"times": sorted({n * 2 + n % 3 for n in range(60)}), "time_base": Fraction(1, 60)},
    "turned.mov": {"times": range(60), "rotation": 90},
    "stream.ts": {"times": range(60), "container": "mpegts", "options": {"g": "12"}},
    "web.webm": {"times": range(60), "codec": "libvpx-vp9", "options": {"g": "12"}},
    "studio.mov": {"times": range(40), "codec": "prores_ks", "pixel_format": "yuv422p10le"},
}


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("frames", [FrameRange(0, 9), FrameRange(26, 40)], ids=str)
def test_a_piece_is_the_source_to_the_last_bit_and_tick(name: str, frames: FrameRange, tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / name, **CLIPS[name]))
    piece = cut(clip, frames, tmp_path)
    # What would lose its aspect ratio, or how long a frame is shown, is sent whole.
    assert piece is not None or name in ("web.webm", "uneven.mkv")
    if piece is None:
        return
    there = replace(piece.clip, path=piece.file, fingerprint=fingerprint(piece.file))
    for one, other in zip(Reader(clip, frames), Reader(there, piece.frames), strict=True):
        assert (one.time, one.duration) == (other.time, other.duration)
        assert all(map(np.array_equal, one.planes, other.planes))
    again = cut(clip, frames, Path(tempfile.mkdtemp(dir=tmp_path)))
    assert again is not None and digest_of(again.file) == digest_of(piece.file)


def test_what_an_earlier_process_submitted_is_found_again(account: Cloud, tmp_path: Path) -> None:
    account.tell_workers(pace=1.5)
    specs = [chunk_spec(tmp_path, n) for n in range(3)]
    program = f"""
import time
from pathlib import Path
from backends.azure import AzureBackend
from stylizer.config import AzureDefaults, Config
from tests.azure_for_tests import unchanged_if_fake
from tests.jobs_for_tests import chunk_spec
folder = Path({str(tmp_path)!r})
backend = AzureBackend(Config(azure={account.settings()!r}), check=unchanged_if_fake, pace=0.05, home=folder / "here")
backend.submit([chunk_spec(folder, n) for n in range(3)])
time.sleep(300)
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) as first:
        try:
            until((tmp_path / "notes").exists, PATIENCE)
        finally:
            first.kill()
    backend = account.backend()
    reports = ended(backend, [spec.id for spec in specs])
    assert {report.phase for report in reports.values()} == {Phase.DONE}
    for spec in specs:
        assert digest_of(backend.fetch(spec)) == reports[spec.id].digest
    started = [line.split()[0] for line in (tmp_path / "notes").read_text().splitlines()]
    assert sorted(started) == sorted(spec.id for spec in specs)
    until(lambda: backend.meters() and backend.meters()[0].final)


def test_a_named_pool_is_made_used_and_kept(account: Cloud, tmp_path: Path) -> None:
    backend, specs = account.backend(pool="warm"), [chunk_spec(tmp_path, n) for n in range(3)]
    backend.submit(specs)
    assert {one.phase for one in ended(backend, [spec.id for spec in specs]).values()} == {Phase.DONE}
    until(lambda: backend.meters()[0].final)
    assert list(account.batch.account.pools) == ["warm"]
    opened = open_account(Config(azure=account.settings(pool="warm")), tmp_path / "here")
    (seen,) = [one for one in overview.look(opened, account.settings(pool="warm")) if one.kind == "pool"]
    assert seen.name == "warm" and seen.nodes == len(account.batch.account.pools["warm"].nodes)
    assert 0 < float(backend.meters()[0].spent) <= float(account.batch.cost()) * 1.05 + 1e-4


def test_what_is_on_a_mount_is_not_uploaded(account: Cloud, tmp_path: Path) -> None:
    spec = chunk_spec(tmp_path)
    settings = account.settings(mounts=(f"{tmp_path} = nfs nas.example.org:/studio",))
    mounts = tmp_path / "mounts of a node"
    mounts.mkdir()
    (mounts / "mount-0").symlink_to(tmp_path)
    environment = {**account.batch.script.node_environment, "AZ_BATCH_NODE_MOUNTS_DIR": str(mounts)}
    account.batch.script.node_environment = environment
    backend = account.backend(mounts=settings.mounts)
    backend.submit([spec])
    assert ended(backend, [spec.id])[spec.id].phase is Phase.DONE
    media = open_account(Config(azure=settings), tmp_path / "here").media
    assert [blob.name for blob in media.list("content/")] == [f"content/{digest_of(spec.checkpoint)}"]
    (job,) = account.batch.account.jobs.values()
    (found,) = job.spec["poolInfo"]["autoPoolSpecification"]["pool"]["mountConfiguration"]
    assert found["nfsMountConfiguration"]["source"] == "nas.example.org:/studio"
    # Another file under that name there is not painted.
    (mounts / "mount-0").unlink()
    (mounts / "mount-0").mkdir()
    (mounts / "mount-0" / spec.clip.path.name).write_bytes(b"another clip")
    other = chunk_spec(tmp_path, 1)
    again = account.backend(home="there", mounts=settings.mounts)
    again.submit([other])
    report = ended(again, [other.id])[other.id]
    assert report.phase is Phase.FAILED and "another file on this node" in report.error


def test_a_look_is_fitted_here_where_that_is_sooner_and_painted_there(account: Cloud, tmp_path: Path) -> None:
    (tmp_path / "art.jpg").write_bytes(b"a style, as far as these tests go")
    config = Config(azure=account.settings(chunk_seconds=1.0))
    device = Device("cpu", "a small processor", 1 << 30, 2)
    here = LocalBackend(config, command=[sys.executable, str(WORKER)], devices=lambda: (device,), logs=tmp_path / "logs")
    with Store(tmp_path / "jobs.db") as store:
        job = commands.add(
            store,
            clip(tmp_path),
            look(tmp_path),
            Encoding(),
            tmp_path / "out.mp4",
            backend="azure",
            device="auto",
            precision="fp32",
            again=False,
        )
        backends = {"local": here, "azure": account.backend(chunk_seconds=1.0)}
        Runner(store, config, places(tmp_path), media=media(tmp_path), backends=backends.__getitem__, cloud="azure").run()
        assert store.job(job.id).state is JobState.DONE
        fit, chunks = store.fit(job.id), store.chunks(job.id)
        assert fit and fit.backend == "local" and {chunk.backend for chunk in chunks} == {"azure"}
        told = [event.text for event in store.events(job=job.id)]
        assert any("fitted here, which is sooner" in text and "until a machine has started" in text for text in told)
        assert any("on azure, without the fit, in 10 chunks of 24 frames" in text for text in told)
        # Their pace is what the next estimate rests on.
        assert "azure (D2s_v3)" in {one.device for one in store.measurements()}
        assert "as measured" in account.backend().estimate(clip(tmp_path), look(tmp_path), store.measurements()).basis


def test_the_meter_counts_what_the_nodes_cost(account: Cloud, tmp_path: Path) -> None:
    account.tell_workers(pace=0.5)
    backend, specs = account.backend(), [chunk_spec(tmp_path, n) for n in range(6)]
    backend.submit(specs)
    ended(backend, [spec.id for spec in specs])
    account.batch.wait(lambda: not any(pool.nodes for pool in account.batch.account.pools.values()))
    until(lambda: backend.meters()[0].final)
    (meter,) = backend.meters()
    assert meter.job == 1 and meter.per_hour == 0 and meter.currency and meter.basis
    assert float(meter.spent) == pytest.approx(float(account.batch.cost()), rel=0.05)


def test_stopping_to_spend_ends_the_nodes(account: Cloud, tmp_path: Path) -> None:
    account.tell_workers(pace=60.0)
    backend, spec = account.backend(), chunk_spec(tmp_path)
    backend.submit([spec])
    until(lambda: backend.poll([spec.id])[0].phase is Phase.RUNNING)
    backend.stop_spending(1)
    account.batch.wait(lambda: not any(pool.nodes for pool in account.batch.account.pools.values()))
    until(lambda: backend.meters()[0].final)
    assert backend.poll([spec.id])[0].phase is Phase.LOST


def test_what_was_uploaded_is_not_uploaded_again(account: Cloud, tmp_path: Path) -> None:
    first = account.backend()
    first.submit([chunk_spec(tmp_path, n) for n in range(3)])
    ended(first, [chunk_spec(tmp_path, n).id for n in range(3)])
    media = open_account(Config(azure=account.settings()), tmp_path / "here").media
    before = {blob.name: blob.modified for blob in media.list("content/")}
    assert len(before) == 2  # the clip and the checkpoint
    again = account.backend(home="there")
    again.submit([chunk_spec(tmp_path, 7)])
    ended(again, [chunk_spec(tmp_path, 7).id])
    assert {blob.name: blob.modified for blob in media.list("content/")} == before
