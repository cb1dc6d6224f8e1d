"""Make the shipped weights: python -m stylizer.training --data DIR --runs DIR

Each stage is resumable (run the same command again): distil the perceptual encoder, regress the base, distil the encoder
on what fits against it paint, then train the base on the styles themselves, first as the encoder sees them, then as the
teacher does. The last writes stylizer/weights/stylizer.safetensors.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from stylizer.checkpoint import SHIPPED, Shipped, save_shipped
from stylizer.training.base import paint, regress
from stylizer.training.exploits import exploits
from stylizer.training.perceptual import distil
from stylizer.training.teacher import TEACHER, Teacher


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stylizer.training", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with teacher/, peers/ and train/")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where checkpoints of the training go")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--perceptual-steps", type=int, default=2600)
    parser.add_argument("--regress-steps", type=int, default=4600)
    parser.add_argument("--second-steps", type=int, default=1500, help="of the perceptual encoder's second round")
    parser.add_argument("--paint-steps", type=int, default=2400, help="of the base, by the encoder's eye")
    parser.add_argument("--finish-steps", type=int, default=1200, help="of the base, by the teacher's")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    torch.set_num_threads(os.cpu_count() or 1)
    arguments.runs.mkdir(parents=True, exist_ok=True)

    data, runs = arguments.data, arguments.runs
    first = distil(data, runs / "perceptual.pt", steps=arguments.perceptual_steps, device=device)
    base = regress(data, first, runs / "regress.pt", steps=arguments.regress_steps, device=device)
    painted = exploits(data, base, first, runs / "exploits.pt", device=device)
    perceptual = distil(
        data,
        runs / "perceptual2.pt",
        steps=arguments.second_steps,
        device=device,
        rate=0.01,
        start=first.requires_grad_(True),
        painted=painted,
    )
    perceptual = perceptual.to(memory_format=torch.channels_last)
    teacher = Teacher(data / TEACHER).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    for name, eye, count, rate in (
        ("paint", perceptual, arguments.paint_steps, 0.012),
        ("finish", teacher, arguments.finish_steps, 0.006),
    ):
        base = paint(data, perceptual, base, runs / f"{name}.pt", eye=eye, steps=count, rate=rate, device=device)
    steps = {
        "perceptual": arguments.perceptual_steps + arguments.second_steps,
        "regress": arguments.regress_steps,
        "paint": arguments.paint_steps,
        "finish": arguments.finish_steps,
    }
    facts = {f"{name}_steps": str(count) for name, count in steps.items()}
    save_shipped(Shipped(base.transform, base.style, perceptual), arguments.out, facts)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
