"""What the rest of the program takes for granted of the network: locality, no state, exact folding."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from stylizer.network import (
    HALO,
    Calibration,
    Conv,
    Down,
    Fine,
    InstanceNorm,
    Modulation,
    PerceptualEncoder,
    StyleEncoder,
    TransformNetwork,
    Up,
    fold,
)


@pytest.fixture
def network() -> TransformNetwork:
    torch.manual_seed(0)
    network = TransformNetwork().eval().requires_grad_(False)
    for layer in network.modules():
        if isinstance(layer, Conv) and layer.bias is not None:
            layer.bias.normal_(0, 0.1)
    network.detail.weight.normal_(0, 0.1)
    return network


def test_up_is_bilinear_interpolation_and_a_convolution() -> None:
    torch.manual_seed(1)
    up, x = Up(5, 4), torch.rand(2, 5, 12, 14)
    plain = F.conv2d(F.interpolate(x, scale_factor=2, mode="bilinear"), up.weight, up.bias, padding=1)
    assert torch.allclose(up(x)[..., 4:-4, 4:-4], plain[..., 4:-4, 4:-4], atol=1e-5)


@pytest.mark.parametrize("size", [3, 5])
def test_fine_is_a_convolution_of_the_full_picture(size: int) -> None:
    torch.manual_seed(1)
    fine, x = Fine(3, 4, size), torch.rand(2, 3, 24, 20)
    ringed = F.pad(x, (2, 2, 2, 2))
    blocks = F.pixel_unshuffle(ringed, 2).unflatten(1, (3, 4)).transpose(1, 2).flatten(1, 2)
    seen = F.pixel_shuffle(fine(blocks).unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2), 2)
    assert torch.allclose(seen, F.conv2d(x, fine.weight, padding=size // 2), atol=1e-5)


def test_a_painter_draws_edges_of_one_pixel_and_no_grid(network: TransformNetwork) -> None:
    """Noise is painted up to the finest frequencies, a plain colour without any."""
    torch.manual_seed(6)
    network.detail.weight.zero_()

    def fine_share(painted: torch.Tensor) -> float:
        inside = painted[0, :, 32:96, 32:96]
        power = torch.fft.rfft2(inside - inside.mean((1, 2), keepdim=True)).abs().square().sum(0)
        high = power[20:44].sum() + power[:20, 20:].sum() + power[44:, 20:].sum()
        return (high / power.sum().clamp_min(1e-9)).item()

    assert fine_share(network(torch.rand(1, 3, 128, 128))) > 0.05
    plain = network(torch.tensor([0.2, 0.5, 0.7])[:, None, None].expand(1, 3, 128, 128).contiguous())
    assert plain.std((2, 3)).max() < 1e-5


def test_down_is_a_convolution_and_a_low_pass() -> None:
    torch.manual_seed(1)
    down, x = Down(3, 4), torch.rand(1, 3, 16, 16)
    blurred = F.conv2d(F.conv2d(x, down.weight), down.blur.expand(4, 1, 4, 4), groups=4)
    assert torch.allclose(down(x)[..., 1:-1, 1:-1], blurred[..., 0:11:2, 0:11:2], atol=1e-5)


def test_down_is_blind_to_the_finest_grid() -> None:
    grid = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(16, 16).expand(1, 3, 32, 32)
    down = Down(3, 4)
    assert down(grid)[..., 2:-2, 2:-2].abs().max() < 1e-5


def test_a_pixel_sees_no_further_than_the_halo(network: TransformNetwork) -> None:
    torch.manual_seed(2)
    left = torch.rand(1, 3, 64, 512)
    other = torch.cat([left[..., :256], torch.rand(1, 3, 64, 256)], dim=3)
    changed = (network(left) - network(other)).abs().amax((0, 1, 2)) > 0
    reach = 256 - int(changed.nonzero().min())
    assert 64 < reach <= HALO, "the halo must cover the network's reach, and the probe must have reached the trunk"


def test_a_frame_is_painted_the_same_whatever_came_before(network: TransformNetwork) -> None:
    torch.manual_seed(3)
    frame, other = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    first = network(frame)
    network(other)
    assert torch.equal(network(frame), first)


def test_folding_is_exact_for_given_statistics(network: TransformNetwork) -> None:
    torch.manual_seed(4)
    layers = network.dims.layers()
    calibration = Calibration(Modulation(0.3 * torch.randn(1, 2 * sum(layers)), layers))
    frames = torch.rand(4, 3, 64, 72)
    live = network(frames, calibration)
    plain = fold(network, calibration)(frames)
    assert live.std() > 0.05
    assert torch.allclose(live, plain, atol=1e-4)


def test_a_code_modulates_and_zero_is_neutral(network: TransformNetwork) -> None:
    torch.manual_seed(5)
    layers = network.dims.layers()
    frames, zero = torch.rand(1, 3, 64, 64), torch.zeros(1, 2 * sum(layers))
    neutral = network(frames, InstanceNorm(Modulation(zero, layers)))
    plain = network(frames, lambda _, y: F.instance_norm(y))
    assert torch.allclose(neutral, plain, atol=1e-4)
    moved = network(frames, InstanceNorm(Modulation(zero + 0.5, layers)))
    assert (moved - neutral).abs().mean() > 0.01


def test_style_encoder_speaks_for_every_layer() -> None:
    encoder, perceptual = StyleEncoder(), PerceptualEncoder()
    features = perceptual(torch.rand(2, 3, 64, 96))
    assert [f.shape[1] for f in features] == list(PerceptualEncoder.TAPS)
    assert [f.shape[2:] for f in features] == [(64, 96), (32, 48), (16, 24), (8, 12)]
    assert encoder(StyleEncoder.describe(features)).shape == (2, 2 * sum(TransformNetwork().dims.layers()))


def test_the_network_stays_within_its_cost() -> None:
    """At most 30 thousand multiply-adds a pixel, counted from the kernels that run."""
    network, macs = TransformNetwork(), 0.0
    for name, layer in network.named_modules():
        if isinstance(layer, Conv):
            scale = {"down1": 2, "down2": 4, "down3": 8, "up1": 8, "up2": 4, "skip1": 4, "skip2": 2}
            stride = 8 if name.startswith("trunk") else scale.get(name, 2)
            macs += layer.kernel().numel() / stride**2
    assert 15_000 < macs < 30_000


def test_the_pictures_of_one_style_share_their_statistics(network: TransformNetwork) -> None:
    torch.manual_seed(6)
    layers = network.dims.layers()
    codes = torch.randn(2, 2 * sum(layers)) * 0.3
    frames = torch.rand(4, 3, 64, 64) * torch.tensor([0.2, 1.0, 0.5, 0.9])[:, None, None, None]
    both = network(frames, InstanceNorm(Modulation(codes, layers)))
    for n in range(2):
        pair = frames[2 * n : 2 * n + 2]
        calibrated = network(pair, Calibration(Modulation(codes[n : n + 1], layers)))
        assert torch.allclose(both[2 * n : 2 * n + 2], calibrated, atol=1e-4)
