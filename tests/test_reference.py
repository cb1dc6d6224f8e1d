"""Quality reference: the teacher is checked, painting comes nearer to the style, long clips are refused."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import pickle
import threading
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from stylizer import reference
from stylizer.commands import add
from stylizer.config import Config, Limits, Places
from stylizer.errors import ConfigError, StyleError
from stylizer.fit import fit
from stylizer.frames import Layout
from stylizer.jobs import Clip, Encoding, Look, MediaKind, Quality, StyleImage
from stylizer.losses import gram, relative
from stylizer.reference import LAYOUT, WIDTHS, ReferencePainter, Teacher, fetch_teacher, keep_teacher, load_teacher, mixed
from stylizer.store import Store
from stylizer.style_verbs import before_reference
from stylizer.styles import checkpoint_path

SHARED = Path(os.environ.get("STYLIZER_SHARED") or Path(__file__).parents[2] / "shared")
WEIGHTS = SHARED / "data/teacher/vgg16_to_relu4_3_fp16.pt"


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Weights of the right shapes, of no training."""
    generator, found, inputs = torch.Generator().manual_seed(0), {}, 3
    for outputs, stage in zip(WIDTHS, LAYOUT, strict=True):
        for n in stage:
            found[f"features.{n}.weight"] = (
                torch.randn((outputs, inputs, 3, 3), generator=generator) * (2 / inputs / 9) ** 0.5
            )
            found[f"features.{n}.bias"] = torch.zeros(outputs)
            inputs = outputs
    return found


@pytest.fixture
def here(tmp_path: Path) -> Places:
    return Places(tmp_path / "config.toml", tmp_path / "jobs.db", tmp_path / "work", tmp_path / "cache", tmp_path / "logs")


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    path = tmp_path / "clip.mp4"
    return Clip(path, MediaKind.VIDEO, 640, 360, 240, Fraction(24), 10.0, "h264", "yuv420p", 0, 0, "abc")


@pytest.fixture
def look(tmp_path: Path) -> Look:
    return Look((StyleImage(tmp_path / "art.jpg", 1.0, "d"),), quality=Quality.REFERENCE)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_teacher_is_kept_as_safetensors(state: dict[str, Tensor], tmp_path: Path, suffix: str) -> None:
    source, kept = tmp_path / f"vgg{suffix}", tmp_path / "home" / "vgg16.safetensors"
    everything = {**state, "classifier.0.weight": torch.zeros(4, 4)}
    if suffix == ".pth":
        torch.save(everything, source)
    else:
        save_file(everything, source)
    keep_teacher(source, kept)
    picture = torch.rand((1, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    seen = load_teacher(kept)(picture)
    assert [f.shape for f in seen] == [(1, 64, 32, 32), (1, 128, 16, 16), (1, 256, 8, 8), (1, 512, 4, 4)]
    assert all(torch.equal(a, b) for a, b in zip(seen, Teacher(state)(picture), strict=True))
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


class Trap:
    """What a pickle could do to whoever opens it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_what_is_not_the_teacher_is_refused_and_runs_nothing(state: dict[str, Tensor], tmp_path: Path) -> None:
    kept, mark = tmp_path / "vgg16.safetensors", tmp_path / "trapped"
    trap, short, sick = tmp_path / "trap.pth", tmp_path / "short.pth", tmp_path / "sick.safetensors"
    trap.write_bytes(pickle.dumps(Trap(mark), protocol=2))
    torch.save({name: tensor for name, tensor in state.items() if ".21." not in name}, short)
    save_file({**state, "features.0.bias": torch.full((64,), torch.nan)}, sick)
    for source in (trap, short, sick, tmp_path / "none.pth"):
        with pytest.raises(StyleError, match=source.name):
            keep_teacher(source, kept)
    assert not mark.exists() and not kept.exists()
    with pytest.raises(StyleError, match="is not there"):
        load_teacher(kept)
    kept.write_bytes(b"no safetensors")
    with pytest.raises(StyleError, match="is not a safetensors file with VGG-16"):
        load_teacher(kept)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "site"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_fetched_teacher_is_checked(site: tuple[Path, str], state: dict[str, Tensor], tmp_path: Path) -> None:
    folder, url = site
    torch.save(state, folder / "vgg.pth")
    digest = hashlib.sha256((folder / "vgg.pth").read_bytes()).hexdigest()
    kept, told = tmp_path / "home" / "vgg16.safetensors", []
    with pytest.raises(StyleError, match="SHA-256"):
        fetch_teacher(kept, lambda done, total: None, url=f"{url}/vgg.pth", digest="0" * 64)
    with pytest.raises(StyleError, match="cannot be fetched"):
        fetch_teacher(kept, lambda done, total: None, url=f"{url}/none.pth", digest=digest)
    assert not list(kept.parent.iterdir())
    fetch_teacher(kept, lambda done, total: told.append((done, total)), url=f"{url}/vgg.pth", digest=digest)
    assert told[-1] == ((folder / "vgg.pth").stat().st_size,) * 2
    assert load_teacher(kept) and [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_large_pictures_are_painted_coarse_to_fine_and_no_larger_than_memory_allows() -> None:
    assert [level[:2] for level in reference.levels_of(512, 640)] == [(512, 640)]
    coarse, fine = reference.levels_of(2160, 3840)
    for height, width, _ in (coarse, fine):
        assert height * width <= 1.01 * reference.FINE
        assert width / height == pytest.approx(3840 / 2160, rel=0.01)
    assert coarse[0] * coarse[1] < fine[0] * fine[1] and coarse[2] > fine[2]


def test_it_is_painted_here_alone_and_begins_with_the_standard_fit(here: Places, clip: Clip, look: Look) -> None:
    target = clip.path.with_name("out.mp4")
    with Store(here.store) as store:
        with pytest.raises(ConfigError, match="on this machine alone"):
            add(store, clip, look, Encoding(), target, backend="azure")
        assert add(store, clip, look, Encoding(), target).backend == "local"
        assert (
            add(store, clip, replace(look, quality=Quality.HIGH), Encoding(), target.with_suffix(".mkv")).backend == "auto"
        )
    ours, theirs = (
        checkpoint_path(clip, replace(look, quality=q), "w", here.cache) for q in (look.quality, Quality.STANDARD)
    )
    assert ours == theirs


def test_its_time_is_told_before_and_long_clips_are_refused(
    here: Places, clip: Clip, look: Look, state: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(config: Config, *, yes: bool, teacher: Path | None = None) -> None:
        before_reference([clip], look, config, here, teacher, device="cpu", precision="fp32", yes=yes, quiet=False)

    strict, patient = (replace(Config(), limits=Limits(reference_hours=hours)) for hours in (1e-6, 1e6))
    with pytest.raises(StyleError, match="is not there"):
        ask(patient, yes=False)
    with pytest.raises(ConfigError, match="not a safetensors file"):
        ask(patient, yes=False, teacher=here.store.with_name("vgg.pth"))
    given = here.store.with_name("given.safetensors")
    save_file(state, given)
    ask(patient, yes=False, teacher=given)
    assert here.teacher.is_file()
    assert "240 frames" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="In quality reference this takes about"):
        ask(strict, yes=False)
    ask(strict, yes=True)


def test_strength_and_kept_colours_are_as_in_the_network() -> None:
    frame, painted = torch.rand((2, 1, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    assert torch.equal(mixed(frame, painted, 0.0, False), frame)
    assert torch.allclose(mixed(frame, painted, 1.0, False), painted)
    moved = mixed(frame, painted, 1.0, True) - frame
    assert torch.allclose(moved, moved[:, :1].expand_as(moved))


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="needs VGG-16 from the training data")
def test_it_comes_much_nearer_to_the_style_than_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "COARSE_STEPS", 30)
    teacher = Teacher(torch.load(WEIGHTS, weights_only=True))
    coarse = torch.rand((1, 3, 6, 8), generator=torch.Generator().manual_seed(1))
    photograph = F.interpolate(coarse, size=(97, 129), mode="bicubic").clamp(0, 1)
    lines = (torch.arange(128) // 4 % 2).float().expand(3, 97, 128) * torch.tensor([1.0, 0.6, 0.1])[:, None, None]
    samples = (photograph * 255).to(torch.uint8)
    network = fit([lines], [1.0], samples, quality=Quality.DRAFT, precision="fp32").network
    told: list[tuple[int, int]] = []
    painter = ReferencePainter(
        network, teacher, [lines], [1.0], samples, precision="fp32", progress=lambda done, total: told.append((done, total))
    )

    def distance(picture: Tensor) -> float:
        pairs = zip(teacher(picture), teacher(lines[None]), strict=True)
        return sum(relative(gram(a), gram(b)).item() for a, b in pairs)

    painted = painter.paint(photograph)
    assert painted.shape == photograph.shape
    assert distance(painted) < 0.7 * distance(painter.network.paint(photograph).clone())
    assert told[-1][0] <= 30 and told[0] == (1, 30)

    layout = Layout("rgb", 8)
    planes = tuple((photograph[0] * 255 + 0.5).to(torch.uint8).numpy())
    monkeypatch.setattr(reference, "COARSE_STEPS", 2)
    assert [plane.shape for plane in painter.frame(planes, layout, layout, (129, 97))] == [(97, 129)] * 3
