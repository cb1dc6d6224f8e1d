"""The worker as its own process: it paints, it speaks, it refuses, it ends with its parent."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from stylizer.checkpoint import load_checkpoint
from stylizer.files import digest_of
from stylizer.jobs import Clip, Encoding, FrameRange, Look, Quality, StyleImage
from stylizer.stylize import Stylizer
from stylizer.video import Reader, output_size, probe
from stylizer.wire import ChunkSpec, FitSpec, Line, Spec, dumps, hear


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    rows, columns = np.mgrid[0:80, 0:112]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(12), options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt = 112, 80, "yuv420p"
        for n in range(14):
            wave = 127 + 120 * np.sin((rows + columns + 6 * n) / 9)
            picture = np.stack([wave, 255 - wave, (rows * 3) % 256], axis=2).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return probe(path)


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Look:
    path = tmp_path_factory.mktemp("style") / "art.png"
    stripes = (np.arange(128) // 6 % 2 * 200).astype(np.uint8)
    Image.fromarray(
        np.stack([np.tile(stripes, (96, 1)), np.tile(stripes, (96, 1)) // 2, np.full((96, 128), 90, np.uint8)], 2)
    ).save(path)
    return Look((StyleImage(path, 1.0, digest_of(path)),), quality=Quality.DRAFT)


def run(specs: list[Spec], folder: Path, *, stdin: int | None = subprocess.DEVNULL) -> tuple[int, list[Line], str]:
    paths = []
    for spec in specs:
        paths.append(folder / f"{spec.id}.json")
        paths[-1].write_text(dumps(spec), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "stylizer.worker", *map(str, paths)], stdin=stdin, capture_output=True, text=True, timeout=240
    )
    return done.returncode, [line for text in done.stdout.splitlines() if (line := hear(text))], done.stderr


def chunk(clip: Clip, look: Look, folder: Path, start: int, stop: int) -> ChunkSpec:
    return ChunkSpec(
        id=f"1-{start:05}-0",
        clip=clip,
        frames=FrameRange(start, stop),
        look=look,
        checkpoint=folder / "fit.safetensors",
        output=folder / f"{start}-{stop}.nut",
        target=folder / "out.mp4",
        size=output_size(clip, look.size),
        encoding=Encoding(),
        device="cpu",
        precision="fp32",
    )


@pytest.fixture(scope="module")
def painted(clip: Clip, look: Look, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where a fit, the whole clip as one chunk and a part of it were carried out."""
    folder = tmp_path_factory.mktemp("painted")
    fit = FitSpec("1-fit-0", clip, look, folder / "fit.safetensors", "cpu", "fp32")
    code, lines, errors = run([fit, chunk(clip, look, folder, 0, 14), chunk(clip, look, folder, 3, 9)], folder)
    assert code == 0, errors
    finished = {line.id: line for line in lines if line.kind == "finished"}
    assert finished["1-00000-0"].frames == 14 and finished["1-00003-0"].frames == 6
    assert finished["1-00003-0"].digest == digest_of(folder / "3-9.nut")
    assert not list(folder.glob("*.part"))
    return folder


def pictures(path: Path) -> list[tuple[int | None, np.ndarray]]:
    with av.open(str(path)) as container:
        return [(f.pts, f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]


def test_a_part_has_the_frames_of_the_whole(painted: Path) -> None:
    whole, part = pictures(painted / "0-14.nut"), pictures(painted / "3-9.nut")
    assert len(whole) == 14 and len(part) == 6
    for (at, a), (time, b) in zip(whole[3:9], part, strict=True):
        assert at == time
        # Encoded apart: near, not equal. Before encoding they are equal (next test).
        assert np.abs(a.astype(int) - b.astype(int)).mean() < 4


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_frames_are_the_same_bit_for_bit_however_the_clip_is_cut(painted: Path, clip: Clip, precision: str) -> None:
    network = load_checkpoint(painted / "fit.safetensors").network
    size = (clip.width, clip.height)

    def frames(*cuts: int, tile: int = 2048) -> list[np.ndarray]:
        out = []
        for start, stop in pairwise(cuts):
            painter, reader = Stylizer(network, precision=precision, tile=tile), Reader(clip, FrameRange(start, stop))
            for frame in reader:
                out.append(
                    np.concatenate([p.ravel() for p in painter.frame(frame.planes, reader.layout, reader.layout, size)])
                )
        return out

    whole = frames(0, 14)
    assert len(whole) == 14
    for other in (frames(0, 2, 4, 6, 8, 10, 12, 14), frames(0, 14, tile=64)):
        assert all(np.array_equal(a, b) for a, b in zip(whole, other, strict=True))


def test_the_painting_is_not_the_clip(painted: Path, clip: Clip) -> None:
    before, after = pictures(clip.path)[5][1].astype(int), pictures(painted / "0-14.nut")[5][1].astype(int)
    assert np.abs(before - after).mean() > 5


def test_what_cannot_be_done_is_said_and_leaves_nothing(painted: Path, clip: Clip, look: Look, tmp_path: Path) -> None:
    good = chunk(clip, look, painted, 0, 4)
    gone = replace(good, id="1-00001-0", clip=replace(clip, path=tmp_path / "gone.mp4"), output=tmp_path / "a.nut")
    foreign = replace(good, id="1-00002-0", checkpoint=clip.path, output=tmp_path / "b.nut")
    fine = replace(good, id="1-00003-0", output=tmp_path / "c.nut")
    code, lines, _ = run([gone, foreign, fine], tmp_path)
    assert code == 1
    failed = {line.id: line for line in lines if line.kind == "failed"}
    assert set(failed) == {"1-00001-0", "1-00002-0"}
    assert "gone.mp4" in failed["1-00001-0"].message and not failed["1-00001-0"].retryable
    assert failed["1-00002-0"].code == "style"
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".json") == ["c.nut"]


def test_a_spec_of_another_version_is_refused(tmp_path: Path, clip: Clip, look: Look) -> None:
    path = tmp_path / "spec.json"
    path.write_text(dumps(chunk(clip, look, tmp_path, 0, 4)).replace('"version": 1', '"version": 9'))
    done = subprocess.run([sys.executable, "-m", "stylizer.worker", str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "version 9" in done.stderr and "Traceback" not in done.stderr


def test_an_orphan_ends_by_itself(tmp_path: Path, clip: Clip, look: Look, painted: Path) -> None:
    fit = FitSpec("1-fit-0", clip, replace(look, quality=Quality.HIGH), tmp_path / "f.safetensors", "cpu", "fp32")
    command = [sys.executable, "-m", "stylizer.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout and worker.stdin
        worker.stdin.write(f"{dumps(fit)}\n".encode())
        worker.stdin.flush()
        assert (line := hear(worker.stdout.readline().decode())) and line.kind == "progress"
        worker.stdin.close()
        assert worker.wait(timeout=20) == 3
    assert not (tmp_path / "f.safetensors").exists()
    assert torch.isfinite(load_checkpoint(painted / "fit.safetensors").network.paint.weight).all()
