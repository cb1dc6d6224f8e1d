"""The training loop stops and goes on; the pictures it sees are pictures; the measures see what they are named for."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from stylizer.training.loop import Losses, train
from stylizer.training.pictures import Pictures, adversarial, jitter


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    path = tmp_path / "pictures.tar"
    random = np.random.default_rng(0)
    with tarfile.open(path, "w") as archive:
        for n in range(3):
            stream = io.BytesIO()
            Image.fromarray(random.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(stream, "JPEG")
            entry = tarfile.TarInfo(f"{n}.jpg")
            entry.size = stream.tell()
            stream.seek(0)
            archive.addfile(entry, stream)
    return path


def test_crops_and_their_changes_stay_pictures(tar: Path) -> None:
    pictures, random = Pictures(tar, 0), np.random.default_rng(1)
    batch = pictures.batch(5, 32)
    assert len(pictures) == 3 and batch.shape == (5, 3, 32, 32)
    for changed in (jitter(batch, random), adversarial(batch, random)):
        assert changed.shape == batch.shape
        assert changed.min() >= -0.1 and changed.max() <= 1.1
        assert not torch.equal(changed, batch)
    assert torch.equal(Pictures(tar, 0).batch(2, 32), Pictures(tar, 0).batch(2, 32))


def test_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def model() -> nn.Linear:
        torch.manual_seed(0)
        return nn.Linear(4, 1)

    def run(state: Path, *, cuts: list[float]) -> Tensor:
        for minutes in cuts:
            linear = model()
            seen: list[int] = []

            def losses(step: int, linear: nn.Linear = linear, seen: list[int] = seen) -> Losses:
                seen.append(step)
                x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
                return {"total": (linear(x) - x.sum(1, keepdim=True)).square().mean()}

            averaged = train(linear, losses, steps=6, rate=0.05, state=state, warm=1, minutes=minutes)
        assert seen[-1] == 5
        assert isinstance(averaged, nn.Linear)
        return averaged.weight.detach()

    straight = run(tmp_path / "a.pt", cuts=[10])
    resumed = run(tmp_path / "b.pt", cuts=[0, 0, 10])
    assert torch.allclose(straight, resumed)


@pytest.fixture
def picture() -> Tensor:
    coarse = torch.rand((1, 3, 12, 12), generator=torch.Generator().manual_seed(3))
    return F.interpolate(coarse, size=(184, 184), mode="bicubic").clamp(0, 1)


def striped(x: Tensor) -> Tensor:
    """A painter whose stripes of period 4 stay where they are, whatever moves below them."""
    return x + 0.02 * (torch.arange(x.shape[3]) // 2 % 2).float()


def test_measures_of_steadiness_tell_a_stuck_painter_from_one_that_follows(picture: Tensor) -> None:
    measures = pytest.importorskip("stylizer.training.measures", reason="needs OpenCV")
    assert measures.shift_error(lambda x: 1 - x, picture) < 1e-6
    assert measures.shift_error(striped, picture) > 0.01
    assert measures.noise_gain(lambda x: 3 * x, picture) == pytest.approx(3, rel=0.05)
    assert measures.grid(lambda x: 1 - x) < 0.1
    assert measures.grid(striped) > 2


def test_warp_error_is_small_for_a_camera_that_moves_over_a_painting(picture: Tensor) -> None:
    measures = pytest.importorskip("stylizer.training.measures", reason="needs OpenCV")
    frames = [picture[..., n : n + 160, 2 * n : 2 * n + 144].contiguous() for n in range(4)]

    def error(paint: Callable[[Tensor], Tensor]) -> float:
        return float(measures.warp_errors(frames, [paint(frame) for frame in frames], 1, lambda a, b: 0.0)[0])

    assert error(lambda x: 1 - x) < 0.01
    assert error(striped) > 0.012
