"""The training loop stops and goes on; the pictures it sees are pictures."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
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
