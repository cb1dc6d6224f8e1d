"""Quality `reference`: every frame is optimised pixel by pixel until the teacher sees the style in it (Gatys et al. 2016).

It begins at what the fitted network paints and descends on the Gram matrices of VGG-16. Nothing comes nearer to a style,
and nothing is slower: a minute a frame and more, on a processor. The teacher does not ship: it is read from a safetensors
file in our home, which `stylizer styles teacher` makes from torchvision's weights.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import pickle
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stylizer.colour import LUMA, alpha_plane, blocks_to_planes, planes_to_rgb
from stylizer.errors import StyleError
from stylizer.fit import recoloured
from stylizer.frames import Layout, Plane
from stylizer.losses import gram, outside, relative
from stylizer.network import TransformNetwork, to_blocks
from stylizer.stylize import Stylizer, scaled

URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
DIGEST = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"
"""SHA-256 of what lies there: torchvision's VGG-16, IMAGENET1K_V1, 528 MB."""
LAYOUT = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21))
"""torchvision's numbers of the convolutions in `features`, one tuple a resolution; a tap follows each tuple's last."""
WIDTHS = (64, 128, 256, 512)
MOST_BYTES = 128 << 20
"""Of a teacher's file; in float32 it has 30 MB."""

CONTENT, OUTSIDE = 0.1, 5.0
"""Weights beside the style distance, which counts one for each of the four depths."""
COARSE, FINE = 512 * 768, 1024 * 1536
"""Pixels at which strokes are laid out, and at which they are refined: about 1.2 and 4 GB of memory on a processor."""
COARSE_STEPS, FINE_STEPS = 100, 30
TRIAL = 192
"""Side of the picture with which steps are timed."""

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all) of one frame."""


class Teacher(nn.Module):
    """VGG-16 to relu4_3 (Simonyan and Zisserman 2015), frozen, from torchvision's weights.

    Pictures (N, 3, H, W) RGB 0..1 -> activations at relu1_2, relu2_2, relu3_3, relu4_3 (64, 128, 256, 512 channels).
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.kernels = nn.ParameterDict()
        for n in (n for stage in LAYOUT for n in stage):
            for part in ("weight", "bias"):
                tensor = state[f"features.{n}.{part}" if f"features.{n}.{part}" in state else f"{n}.{part}"]
                self.kernels[f"{n}_{part}"] = nn.Parameter(tensor.float(), requires_grad=False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None])
        self.mean: Tensor
        self.std: Tensor

    def forward(self, x: Tensor, depths: int = 4) -> list[Tensor]:
        """Activations at the first `depths` depths."""
        x = (x - self.mean) / self.std
        features = []
        for depth, stage in enumerate(LAYOUT[:depths]):
            if depth:
                x = F.max_pool2d(x, 2)
            for n in stage:
                x = F.relu(F.conv2d(x, self.kernels[f"{n}_weight"], self.kernels[f"{n}_bias"], padding=1))
            features.append(x)
        return features


def load_teacher(path: Path) -> Teacher:
    """The teacher in a safetensors file; StyleError if there is none or it is not VGG-16."""
    hint = "Get it with: stylizer styles teacher --fetch"
    if not path.is_file():
        raise StyleError(f"The quality reference needs VGG-16, and {path} is not there.", hint=hint)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError("it is too large")
        return Teacher(_checked(load_file(path)))
    except (OSError, SafetensorError, ValueError) as error:
        raise StyleError(f"The teacher {path} is not a safetensors file with VGG-16: {error}.", hint=hint) from None


def keep_teacher(source: Path, target: Path) -> None:
    """Put the convolutions of a VGG-16 in `source` (safetensors, or a .pth as torchvision publishes it, of which nothing
    but tensors is read) to `target` as safetensors. StyleError if it is something else.
    """
    try:
        state = load_file(source) if source.suffix == ".safetensors" else torch.load(source, weights_only=True)
        if not isinstance(state, dict):
            raise ValueError("it holds no weights by name")
        tensors = _checked(state)
    except (OSError, SafetensorError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        hint = "It has to be torchvision's VGG-16."
        raise StyleError(f"{source} cannot be used as the teacher: {reason}.", hint=hint) from None
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        save_file(tensors, part, metadata={"format": "vgg16-to-relu4_3"})
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def fetch_teacher(target: Path, progress: Progress, *, url: str = URL, digest: str = DIGEST) -> None:
    """Download torchvision's VGG-16, check it, keep what we need of it in `target`. StyleError if that is not possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"vgg16.{os.getpid()}.pth")
    try:
        whole, done = hashlib.sha256(), 0
        # S310: an address of ours, or of whoever calls this.
        with urllib.request.urlopen(url, timeout=60) as stream, part.open("wb") as file:  # noqa: S310
            total = int(stream.headers.get("Content-Length") or 0)
            while piece := stream.read(1 << 20):
                file.write(piece)
                whole.update(piece)
                done += len(piece)
                progress(done, total)
        if whole.hexdigest() != digest:
            raise StyleError(f"What {url} has sent is not what it should be: its SHA-256 differs.", hint="Try again later.")
        keep_teacher(part, target)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        hint = "Check the connection; or bring the file yourself: stylizer styles teacher vgg16-397923af.pth"
        raise StyleError(f"VGG-16 cannot be fetched from {url}: {reason}.", hint=hint) from None
    finally:
        part.unlink(missing_ok=True)


def _checked(state: Mapping[str, object]) -> dict[str, Tensor]:
    """The convolutions to relu4_3 by torchvision's names, contiguous; ValueError if one is missing, odd or not finite."""
    found, inputs = {}, 3
    for outputs, stage in zip(WIDTHS, LAYOUT, strict=True):
        for n in stage:
            for name, shape in ((f"features.{n}.weight", (outputs, inputs, 3, 3)), (f"features.{n}.bias", (outputs,))):
                tensor = state.get(name)
                if not isinstance(tensor, Tensor) or tensor.shape != shape or not torch.isfinite(tensor).all():
                    raise ValueError(f"{name} is missing or is not of VGG-16")
                found[name] = tensor.contiguous().clone()
            inputs = outputs
    return found


class ReferencePainter:
    """Optimises what a Stylizer has painted. Every frame is on its own: no state from frame to frame.

    `styles` are (3, H, W) RGB 0..1, their `weights` sum to 1; `samples` (n, 3, H, W) uint8 stand for the clip's colours.
    Pictures of more than FINE pixels are optimised at that size; what is finer comes from the network alone.
    """

    def __init__(
        self,
        network: TransformNetwork,
        teacher: Teacher,
        styles: Sequence[Tensor],
        weights: Sequence[float],
        samples: Tensor,
        *,
        brush: float = 1.0,
        keep_color: bool = False,
        strength: float = 1.0,
        device: str = "cpu",
        precision: str = "auto",
        progress: Progress = lambda done, total: None,
    ) -> None:
        self.network = Stylizer(network, device=device, precision=precision)
        self.device, self.exact = self.network.device, self.network.precision == "fp32"
        self.teacher = teacher.to(self.device)
        self.styles = [recoloured(style, samples) if keep_color else style for style in styles]
        self.weights, self.brush = weights, brush
        self.strength, self.keep_color = strength, keep_color
        self.progress = progress
        self._targets: dict[int, list[Tensor]] = {}

    @torch.no_grad()
    def frame(self, planes: Sequence[Plane], given: Layout, wanted: Layout, size: tuple[int, int]) -> tuple[Plane, ...]:
        """As Stylizer.frame: planes of layout `given` to planes of layout `wanted`, `size` = (width, height)."""
        painted = self.paint(scaled(planes_to_rgb(planes, given, self.device), size))
        even = F.pad(painted, (0, size[0] % 2, 0, size[1] % 2), mode="replicate")
        alpha = alpha_plane(planes[-1] if given.alpha else None, given, wanted, size) if wanted.alpha else None
        return blocks_to_planes(to_blocks(even), wanted, size, alpha)

    @torch.no_grad()
    def paint(self, frame: Tensor) -> Tensor:
        """As Stylizer.paint: (1, 3, H, W) float32 RGB 0..1 to a painting of that size."""
        # Cloned: what is made in inference mode cannot be optimised.
        painted = self.network.paint(frame).clone()
        levels = levels_of(frame.shape[2], frame.shape[3])
        total = sum(steps for _, _, steps in levels)
        done = 0
        for height, width, steps in levels:
            small = scaled(painted, (width, height))
            best = self._optimised(small, scaled(frame, (width, height)), steps, done, total)
            painted = (painted + F.interpolate(best - small, size=frame.shape[2:], mode="bicubic")).clamp(0, 1)
            done += steps
        return mixed(frame, painted, self.strength, self.keep_color).clamp(0, 1)

    def _optimised(self, begun: Tensor, frame: Tensor, steps: int, done: int, of: int) -> Tensor:
        wanted = self._wanted(min(frame.shape[2:]))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=not self.exact):
            kept = self.teacher(frame, 3)[2].float()
        painted = begun.clone(memory_format=torch.contiguous_format).requires_grad_(True)
        descent = torch.optim.LBFGS(
            [painted], max_iter=steps, max_eval=steps, history_size=20, line_search_fn="strong_wolfe", tolerance_change=0
        )

        def loss() -> Tensor:
            nonlocal done
            with torch.enable_grad():
                shown = mixed(frame, painted, 1.0, self.keep_color)
                with torch.autocast(self.device.type, torch.bfloat16, enabled=not self.exact):
                    seen = self.teacher(shown)
                style = torch.cat([relative(gram(f), w) for f, w in zip(seen, wanted, strict=True)]).sum()
                total = style + CONTENT * relative(seen[2].float(), kept).sum() + OUTSIDE * outside(painted)
                (painted.grad,) = torch.autograd.grad(total, painted)
            done += 1
            self.progress(done, of)
            return total.detach()

        descent.step(loss)  # type: ignore[no-untyped-call]
        return painted.detach().clamp(0, 1)

    def _wanted(self, short: int) -> list[Tensor]:
        """The Gram matrices of the blend for pictures whose short side has so many pixels: strokes scale with the frame."""
        if short not in self._targets:
            every = []
            for style in self.styles:
                height, width = style.shape[1:]
                scale = min(max(96, short * self.brush) / min(height, width), (FINE / (height * width)) ** 0.5)
                sides = round(width * scale), round(height * scale)
                every.append([gram(f) for f in self.teacher(scaled(style[None], sides).to(self.device))])
            shares = [[w * g for g in grams] for w, grams in zip(self.weights, every, strict=True)]
            self._targets[short] = [torch.stack(depth).sum(0) for depth in zip(*shares, strict=True)]
        return self._targets[short]


def mixed(frame: Tensor, painted: Tensor, strength: float, keep_color: bool) -> Tensor:
    """The frame moved by `strength` towards the painting, in lightness only if `keep_color`."""
    moved = strength * (painted - frame)
    if keep_color:
        red, blue = LUMA["bt709"]
        share = torch.tensor([red, 1 - red - blue, blue], device=frame.device)[:, None, None]
        moved = (moved * share).sum(1, keepdim=True)
    return frame + moved


def levels_of(height: int, width: int) -> list[tuple[int, int, int]]:
    """Sizes at which a picture is optimised, coarse to fine (Gatys et al. 2017), as (height, width, steps)."""
    found: list[tuple[int, int, int]] = []
    for most, steps in ((COARSE, COARSE_STEPS), (FINE, FINE_STEPS)):
        scale = min(1.0, (most / (height * width)) ** 0.5)
        size = max(16, round(height * scale)), max(16, round(width * scale))
        if not found or size[0] * size[1] > 1.2 * found[-1][0] * found[-1][1]:
            found.append((*size, steps))
    return found


def seconds_a_frame(teacher: Teacher, height: int, width: int, *, device: str, precision: str) -> float:
    """How long one frame of that size takes on this device, by a trial of a few steps now."""
    noise = torch.rand((1, 3, TRIAL, TRIAL), generator=torch.Generator().manual_seed(0))
    where = torch.device(device)
    eye = teacher.to(where)

    def step() -> float:
        started = time.perf_counter()
        painted = noise.to(where).requires_grad_(True)
        with torch.autocast(where.type, torch.bfloat16, enabled=precision != "fp32"):
            seen = eye(painted)
        style = torch.stack([gram(f).square().sum() for f in seen]).sum()
        torch.autograd.grad(style, painted)[0].sum().item()
        return time.perf_counter() - started

    step()
    each = min(step() for _ in range(3)) / TRIAL**2
    return sum(each * h * w * steps for h, w, steps in levels_of(height, width))
