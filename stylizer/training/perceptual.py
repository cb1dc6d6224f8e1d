"""Distil the teacher into `PerceptualEncoder`, on pictures that contain what an optimiser would exploit.

Twice: on grids and noise drawn on purpose (`adversarial`), and, once there is a base, on what fits against the first
encoder have painted (`exploits`), which is where it errs and a fit goes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from stylizer.losses import gram
from stylizer.network import PerceptualEncoder
from stylizer.training.loop import Losses, train
from stylizer.training.pictures import Pictures, adversarial, jitter
from stylizer.training.teacher import LAYOUT, TEACHER, Teacher


def _mixed(contents: Pictures, styles: Pictures, random: np.random.Generator, count: int, size: int) -> Tensor:
    """Half photographs, half styles, colours jittered; half of all damaged by `adversarial`."""
    pictures = torch.cat([contents.batch(count // 2, size, 0.3), styles.batch(count - count // 2, size, 0.3)])
    pictures = jitter(pictures, random)
    damaged = torch.from_numpy(random.random(count) < 0.5)
    pictures[damaged] = adversarial(pictures[damaged], random)
    return pictures


@torch.no_grad()
def principal_components(teacher: Teacher, batches: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Per tap the bases (C_student, C_teacher), scaled to mean energy 1, and each component's share of the energy.

    The components are the eigenvectors of the mean Gram matrix (not centred: Gram distances are what must survive).
    """
    grams: list[Tensor] = []
    for batch in batches:
        with torch.autocast(batch.device.type, torch.bfloat16):
            features = teacher(batch)
        means = [gram(f).mean(0) for f in features]
        grams = [a + b for a, b in zip(grams, means, strict=True)] if grams else means
    bases, shares = [], []
    for mean, width in zip(grams, PerceptualEncoder.TAPS, strict=True):
        values, vectors = torch.linalg.eigh(mean / len(batches))
        values, vectors = values.flip(0), vectors.flip(1)
        bases.append(vectors[:, :width].T / values.sum().sqrt())
        shares.append(values[:width] / values.sum())
        print(f"tap of {len(values)}: {width} components keep {shares[-1].sum():.4f} of the energy", flush=True)
    return bases, shares


@torch.no_grad()
def prune(teacher: Teacher, student: PerceptualEncoder, batch: Tensor, bases: list[Tensor]) -> None:
    """Start the student from the teacher's most active half, its taps from least squares: a far better start than noise."""
    x = (batch - teacher.mean) / teacher.std
    kept = torch.arange(3)
    for depth, (numbers, stage) in enumerate(zip(LAYOUT, student.stages, strict=True)):
        if depth:
            x = nn.functional.max_pool2d(x, 2)
        assert isinstance(stage, nn.ModuleList)
        for n, conv in zip(numbers, stage, strict=True):
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            weight, bias = teacher.kernels[f"{n}_weight"], teacher.kernels[f"{n}_bias"]
            x = torch.relu(nn.functional.conv2d(x, weight, bias, padding=1))
            energy = x.float().square().mean((0, 2, 3)).sqrt()
            order = energy.argsort(descending=True)[: len(conv.bias)]
            # Dropped channels carried signal too: scale what is left to keep the sum's energy.
            gain = (weight.square().sum() / weight[:, kept].square().sum()).sqrt() if len(kept) < weight.shape[1] else 1.0
            conv.weight.copy_(weight[order][:, kept] * gain)
            conv.bias.copy_(bias[order])
            kept = order
    y = (batch - student.mean) / student.std
    for depth, (stage, tap) in enumerate(zip(student.stages, student.taps, strict=True)):
        if depth:
            y = nn.functional.max_pool2d(y, 2)
        assert isinstance(stage, nn.ModuleList) and isinstance(tap, nn.Conv2d) and tap.bias is not None
        for conv in stage:
            y = torch.relu(conv(y))
        target = torch.einsum("nchw,kc->nhwk", teacher(batch)[depth], bases[depth]).flatten(0, 2)
        seen = y.permute(0, 2, 3, 1).flatten(0, 2)
        y, tap_scale = y / seen.std(), seen.std()
        last = stage[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        last.weight.div_(tap_scale)
        last.bias.div_(tap_scale)
        seen = torch.cat([seen / tap_scale, torch.ones(len(seen), 1, device=seen.device)], dim=1)
        ridge = 1e-3 * len(seen) * torch.eye(seen.shape[1], device=seen.device)
        solution = torch.linalg.solve(seen.T @ seen + ridge, seen.T @ target)
        tap.weight.copy_(solution[:-1].T[:, :, None, None])
        tap.bias.copy_(solution[-1])


def distil(
    data: Path,
    state: Path,
    *,
    steps: int,
    device: torch.device,
    size: int = 96,
    count: int = 16,
    rate: float = 0.02,
    start: PerceptualEncoder | None = None,
    painted: Tensor | None = None,
) -> PerceptualEncoder:
    """Train the perceptual encoder against VGG-16 (`data`/teacher) on `data`/train; resumable through `state`.

    A second round goes on from `start`, with a third of every batch from `painted` ((n, 3, H, W) uint8).
    """
    random = np.random.default_rng(len(state.name) + state.exists() * 7919)
    contents = Pictures(data / "train/content_train.tar", int(random.integers(2**31)))
    styles = Pictures(data / "train/style_train.tar", int(random.integers(2**31)))
    teacher = Teacher(data / TEACHER).to(device)
    student = start or PerceptualEncoder().to(device)
    basis_file = state.parent / "teacher.bases"
    if not basis_file.exists():
        batches = [_mixed(contents, styles, random, 16, 128).to(device) for _ in range(40)]
        bases, shares = principal_components(teacher, batches)
        torch.save({"bases": bases, "shares": shares}, basis_file)
        prune(teacher, student, batches[0], bases)
    saved = torch.load(basis_file, weights_only=True)
    bases, shares = [b.to(device) for b in saved["bases"]], [s.to(device) for s in saved["shares"]]
    # Unwhitened, a few components of large energy are all the loss sees; fully whitened, noise is. Half way.
    weights = [(1 / s).sqrt() / ((1 / s).sqrt() * s).sum() for s in shares]

    def batch() -> Tensor:
        if painted is None:
            return _mixed(contents, styles, random, count, size)
        third = torch.from_numpy(random.integers(len(painted), size=count // 3))
        y, x = (int(random.integers(side - size + 1)) for side in painted.shape[2:])
        # Cut, never scaled: what matters in them is as large as a pixel.
        cut = painted[third, :, y : y + size, x : x + size].float() / 255
        return torch.cat([_mixed(contents, styles, random, count - len(cut), size), cut])

    def step_losses(_: int) -> Losses:
        pictures = batch().to(device)
        with torch.autocast(device.type, torch.bfloat16):
            with torch.no_grad():
                targets = [
                    torch.einsum("nchw,kc->nkhw", f, b.to(f.dtype)) for f, b in zip(teacher(pictures), bases, strict=True)
                ]
            guesses = student(pictures)
        feature = moment = torch.zeros((), device=device)
        for guess, target, weight in zip(guesses, targets, weights, strict=True):
            guess, target = guess.float(), target.float()
            scale = weight[None, :, None, None].sqrt()
            error = (guess - target).square().mean((0, 2, 3)) * weight
            feature = feature + error.sum() / (target.square().mean((0, 2, 3)) * weight).sum()
            ours, theirs = gram(guess * scale), gram(target * scale)
            moment = moment + ((ours - theirs).square().sum((1, 2)) / theirs.square().sum((1, 2))).mean()
        return {"total": feature + 0.5 * moment, "feature": feature.detach() / 4, "gram": moment.detach() / 4}

    student = student.to(memory_format=torch.channels_last)
    averaged = train(student, step_losses, steps=steps, rate=rate, state=state)
    assert isinstance(averaged, PerceptualEncoder)
    return averaged
