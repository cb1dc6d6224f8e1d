"""The devices that are really here."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from stylizer.devices import choose, devices
from stylizer.errors import ConfigError
from stylizer.machine import cores


def test_there_is_always_a_processor_and_it_has_a_name() -> None:
    (cpu,) = [device for device in devices() if device.name == "cpu"]
    assert cpu is devices()[-1] and cpu.model and cpu.cores == cores() >= 1
    assert cpu.label == f"cpu ({cpu.model})"


def test_every_device_takes_a_tensor() -> None:
    for device in devices():
        assert torch.ones(2, device=device.name).sum().item() == 2


def test_auto_takes_the_first_kind_and_says_why() -> None:
    assert choose("auto").device is devices()[0] is choose("").device
    assert choose("auto").reason
    assert choose("cpu").device.name == "cpu"


@pytest.mark.parametrize("wanted", ["cuda:99", "tpu", "CPU", "cuda:-1"])
def test_a_device_that_is_not_here_is_refused_by_naming_those_that_are(wanted: str) -> None:
    with pytest.raises(ConfigError) as error:
        choose(wanted)
    assert repr(wanted) in error.value.message and devices()[-1].label in error.value.message


@pytest.mark.skipif(devices()[0].name != "cpu", reason="there is a GPU here")
def test_without_a_gpu_nobody_waits_for_torch() -> None:
    text = (
        "import sys; from stylizer.devices import devices; sys.exit(devices()[-1].name != 'cpu' or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", text], check=False).returncode == 0
