"""Checkpoints describe themselves; damaged, foreign, newer and unfinite ones are refused with a sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stylizer.checkpoint import MAX_BYTES, SHIPPED, Checkpoint, load_checkpoint, save_checkpoint, shipped
from stylizer.errors import StyleError
from stylizer.network import Dims, TransformNetwork


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    save_checkpoint(Checkpoint(TransformNetwork(Dims(8, 16, 24, 2)), {"styles": "art.jpg"}), path)
    return path


def rewritten(path: Path, facts: dict[str, str] | None = None, **tensors: torch.Tensor) -> Path:
    checkpoint = load_checkpoint(path)
    state = {k: v.contiguous() for k, v in checkpoint.network.state_dict().items()} | tensors
    save_file(state, path, metadata={**checkpoint.facts, **(facts or {})})
    return path


def test_a_checkpoint_carries_its_network_and_its_facts(saved: Path) -> None:
    loaded = load_checkpoint(saved)
    assert loaded.network.dims == Dims(8, 16, 24, 2)
    assert loaded.facts["styles"] == "art.jpg"
    assert [p.name for p in saved.parent.iterdir()] == [saved.name], "no part file is left"


def test_numbers_that_are_not_finite_are_refused(saved: Path) -> None:
    rewritten(saved, **{"ground": torch.tensor([0.0, float("nan"), 0.0])})
    with pytest.raises(StyleError, match="not finite"):
        load_checkpoint(saved)


def test_a_newer_version_is_refused(saved: Path) -> None:
    rewritten(saved, {"version": "3"})
    with pytest.raises(StyleError, match="version '3'") as error:
        load_checkpoint(saved)
    assert "Update" in error.value.hint


@pytest.mark.parametrize("dims", [{"half": 4096}, {"half": 8, "depth": 3}, {"half": "8"}])
def test_widths_that_do_not_fit_are_refused(saved: Path, dims: dict[str, object]) -> None:
    rewritten(saved, {"dims": json.dumps(dims)})
    with pytest.raises(StyleError, match="does not describe"):
        load_checkpoint(saved)


def test_other_files_are_refused(tmp_path: Path, saved: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "cut").write_bytes(saved.read_bytes()[:2000])
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign")
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    for name, sentence in [("text", "damaged"), ("cut", "damaged"), ("foreign", "not a stylizer"), ("huge", "at most")]:
        with pytest.raises(StyleError, match=sentence):
            load_checkpoint(tmp_path / name)
    with pytest.raises(StyleError, match="cannot be read"):
        load_checkpoint(tmp_path / "missing")


def test_the_shipped_weights_load_and_are_small() -> None:
    parts = shipped()
    assert SHIPPED.stat().st_size < 12_000_000
    assert parts.style.spread.min() > 0


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are a thing of Unix")
def test_a_full_disk_is_an_error_of_the_disk_and_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys, pathlib\n"
        "from stylizer.checkpoint import Checkpoint, save_checkpoint\n"
        "from stylizer.network import Dims, TransformNetwork\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try:\n"
        "    save_checkpoint(Checkpoint(TransformNetwork(Dims())), pathlib.Path(sys.argv[1]))\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    target = tmp_path / "look.safetensors"
    done = subprocess.run([sys.executable, "-c", program, str(target)], capture_output=True, text=True, check=True)
    assert "look.safetensors cannot be written" in done.stdout
    assert not list(tmp_path.iterdir())
