"""How a painting takes shape: pictures of a fit while it goes on, seldom enough, in the way of nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stylizer import commands, console, views
from stylizer import fit as fitting
from stylizer import glimpse as glimpses
from stylizer.files import glimpse_of
from stylizer.fit import Recipe, fit
from stylizer.glimpse import LONGEST, Glimpse
from stylizer.jobs import Encoding, Look, Quality, StyleImage
from stylizer.network import TransformNetwork
from stylizer.store import Store
from stylizer.styles import Fitted, remove_fitted
from tests.jobs_for_tests import clip
from tests.jobs_for_tests import look as job_look
from tests.test_fit import soft


@pytest.fixture
def samples() -> Tensor:
    return torch.stack([(soft(n, 3, 96, 128) * 255).to(torch.uint8) for n in range(3)])


def look(**changes: float | bool) -> Look:
    return Look((StyleImage(Path("art.png"), 1.0, "ab"),), **changes)  # type: ignore[arg-type]


def fitted(samples: Tensor, watch: Callable[..., None] = lambda network: None) -> Tensor:
    found = fit([soft(9, 3, 120, 128)], [1.0], samples, quality=Quality.STANDARD, precision="fp32", watch=watch)
    return found.network.paint.weight


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fitting.RECIPES, Quality.STANDARD, Recipe(6, crops=1, side=64, rate=1e-3))


@pytest.mark.usefixtures("quick")
def test_a_fit_shows_how_it_gets_on_and_comes_to_the_same(
    samples: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glimpses, "COST", 1e9)
    path = tmp_path / "new" / "look.jpg"
    glimpse, seen = Glimpse(samples[1], 41, look(), path), []

    def watch(network: torch.nn.Module) -> None:
        glimpse(network)  # type: ignore[arg-type]
        with Image.open(path) as picture:
            assert picture.format == "JPEG" and picture.size == (128, 96) and picture.info["comment"] == b"41"
            seen.append(np.asarray(picture.convert("RGB"), np.int16))

    assert torch.equal(fitted(samples, watch), fitted(samples))
    assert len(seen) == 7 and glimpse.begun
    assert np.abs(seen[-1] - seen[0]).mean() > 0
    assert [path] == list(path.parent.iterdir())


def test_pictures_take_a_small_share_of_the_time(samples: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, painted = 100.0, []
    glimpse, network = Glimpse(samples[0], 0, look(), tmp_path / "look.jpg"), TransformNetwork()

    def paint(network: TransformNetwork) -> None:
        nonlocal now
        painted.append(now)
        now += 0.2

    monkeypatch.setattr(glimpse, "paint", paint)
    monkeypatch.setattr(glimpses, "time", SimpleNamespace(perf_counter=lambda: now))
    assert not glimpse.begun
    for _ in range(1000):
        glimpse(network)
        now += 0.1
    assert painted[0] == 100.0, "the guess is shown at once"
    assert len(painted) > 5
    assert 0.2 * len(painted[1:]) < 0.02 * (now - 100.0)


def test_it_is_small_and_shows_the_look(tmp_path: Path) -> None:
    frame = (soft(3, 3, 1080, 1920) * 255).to(torch.uint8)
    network = TransformNetwork()
    torch.nn.init.zeros_(network.paint.weight)  # all that it paints is grey
    pictures = {}
    for name, asked in {"none": look(strength=0.0), "own": look(keep_color=True), "all": look()}.items():
        Glimpse(frame, 0, asked, tmp_path / f"{name}.jpg").paint(network)
        with Image.open(tmp_path / f"{name}.jpg") as picture:
            assert max(picture.size) <= LONGEST
            pictures[name] = np.asarray(picture.convert("RGB"), np.float32)
    small = np.asarray(Image.fromarray(frame.permute(1, 2, 0).numpy()).resize(pictures["none"].shape[1::-1]), np.float32)
    assert np.abs(pictures["none"] - small).mean() < 3
    colour = {name: picture[..., 0] - picture[..., 2] for name, picture in pictures.items()}
    assert np.abs(colour["own"] - colour["none"]).mean() < 0.3 * np.abs(colour["all"] - colour["none"]).mean()
    assert np.abs(pictures["own"] - pictures["none"]).mean() > 10


def test_a_picture_that_cannot_be_written_is_let_go(samples: Tensor, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    Glimpse(samples[0], 0, look(), tmp_path / "file" / "look.jpg").paint(TransformNetwork())
    assert (tmp_path / "file").read_text(encoding="utf-8") == "in the way"


def test_it_goes_with_its_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / "look.safetensors"
    checkpoint.write_bytes(b"weights")
    glimpse_of(checkpoint).write_bytes(b"picture")
    remove_fitted(Fitted("look", checkpoint, 7, 0.0))
    assert not list(tmp_path.iterdir())


def test_status_names_it(tmp_path: Path) -> None:
    with Store(tmp_path / "jobs.db") as store:
        job = commands.add(store, clip(tmp_path), job_look(tmp_path), Encoding(), tmp_path / "out.mp4")
        store.change(job.id, checkpoint=tmp_path / "look.safetensors")
        assert console.job_values(views.status(store).of(job.id))["picture"] is None
        picture = tmp_path / "look.jpg"
        picture.write_bytes(b"picture")
        assert console.job_values(views.status(store).of(job.id))["picture"] == str(picture)
