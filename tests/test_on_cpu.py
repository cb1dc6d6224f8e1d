"""What a CPU or a GPU runs is what was trained: inside, at the edges, in both precisions, whatever the bands."""

from __future__ import annotations

import pytest
import torch

from stylizer import on_cpu
from stylizer.network import Conv, TransformNetwork, from_blocks, to_blocks
from stylizer.on_cpu import CpuNetwork
from stylizer.on_gpu import GpuNetwork


@pytest.fixture(scope="module")
def network() -> TransformNetwork:
    """One in which every layer has a say."""
    torch.manual_seed(0)
    network = TransformNetwork().eval().requires_grad_(False)
    for layer in network.modules():
        if isinstance(layer, Conv) and layer.bias is not None:
            layer.bias.normal_(0, 0.1)
    for layer in network.trunk:
        assert isinstance(layer, Conv)
        layer.weight.mul_(0.5)
    network.detail.weight.normal_(0, 0.1)
    return network


def painted(ready: CpuNetwork | GpuNetwork, network: TransformNetwork, picture: torch.Tensor) -> torch.Tensor:
    return from_blocks(ready(to_blocks(picture - 0.5))).float() + network.ground[:, None, None]


@pytest.mark.parametrize("size", [(64, 64), (128, 96), (200, 312)])
def test_it_paints_what_the_trained_network_paints(network: TransformNetwork, size: tuple[int, int]) -> None:
    picture = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    wanted = network(picture)
    assert wanted.std() > 0.1
    assert (painted(CpuNetwork(network, torch.float32), network, picture) - wanted).abs().max() < 1e-5
    assert (painted(CpuNetwork(network, torch.bfloat16), network, picture) - wanted).abs().mean() < 0.5 / 255
    composed = GpuNetwork(network, torch.device("cpu"), torch.float32)
    assert (painted(composed, network, picture) - wanted).abs().max() < 1e-5


def test_several_frames_at_once_are_each_their_own(network: TransformNetwork) -> None:
    pictures = torch.rand(2, 12, 32, 40, generator=torch.Generator().manual_seed(2))
    ready = CpuNetwork(network, torch.float32)
    assert torch.allclose(ready(pictures)[1:], ready(pictures[1:]), atol=1e-6)


def test_bands_do_not_show(network: TransformNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = torch.rand(1, 12, 128, 32, generator=torch.Generator().manual_seed(3))
    ready = CpuNetwork(network, torch.bfloat16)
    whole = ready(picture)
    monkeypatch.setattr(on_cpu, "BAND_BYTES", 1)
    assert torch.equal(ready(picture), whole)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_a_graph_on_the_card_paints_frame_after_frame(network: TransformNetwork) -> None:
    card = torch.device("cuda")
    ready, network = GpuNetwork(network, card, torch.float16), network.to(card)
    for seed in range(3):
        picture = torch.rand(1, 3, 128, 192, generator=torch.Generator().manual_seed(seed)).to(card)
        assert (painted(ready, network, picture) - network(picture)).abs().mean() < 0.5 / 255
    ready.forget()
    network.cpu()
