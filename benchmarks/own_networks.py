"""Held-out reconstruction of the residual networks of docs/examples beside the standard ones.

    python -m benchmarks.own_networks --json benchmarks/results/own-networks.json

Both train for the same steps, on the same batches of the same images, with the same settings: white
shapes on black, every eighth orientation and every sixth place of the sprites, a tenth held out.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.environment import environment
from fastjvae import fit
from fastjvae.data import DataSource, load
from fastjvae.files import write_json
from fastjvae.training import TrainConfig
from fastjvae.training.settings.objective import CapacityConfig

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
GRID = ("orientation=0..39/8", "x=0..31/6", "y=0..31/6")


class Case(NamedTuple):
    """Images of side x side, and how long both train on them."""

    side: int
    steps: int
    width: int  # of the residual networks


CASES = (Case(64, 240, 16), Case(128, 60, 8))


def compared(case: Case, grid: tuple[str, ...] = GRID, seed: int = 0) -> list[dict[str, Any]]:
    """A row for the standard and one for the residual networks."""
    images = load(DataSource("sprites", grid=grid, image_size=(case.side, case.side))).images
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    held_out, train = images[order[: len(images) // 10]], images[order[len(images) // 10 :]]
    pixels = case.side**2 / 32**2  # weights of the paper are for 32x32
    config = TrainConfig(
        "arrays",
        cont=10,
        disc=(3,),
        cont_capacity=CapacityConfig(0.0, 40.0, case.steps // 2, 30.0 * pixels),
        disc_capacity=CapacityConfig(0.0, 1.1, case.steps // 2, 30.0 * pixels),
        batch_size=32,
        lr=1e-3,
        warmup=case.steps // 10,
    )
    residual: dict[str, Any] = {
        "encoder": "resnet:ResNetEncoder",
        "decoder": "resnet:ResNetDecoder",
        "encoder_args": {"width": case.width},
        "decoder_args": {"width": case.width},
    }
    rows = []
    for name, networks in {"standard": {}, "residual": residual}.items():
        fitted = fit(
            train, validation=held_out, recipe=config, steps=case.steps, seed=seed, **networks
        )
        rows.append(
            {
                "size": f"{case.side}x{case.side}",
                "networks": name,
                "width": case.width if networks else None,
                "weights": sum(p.numel() for p in fitted.model.parameters()),
                "steps": case.steps,
                "images": len(train),
                "held_out": len(held_out),
                "reconstruction": fitted.evaluation["reconstruction"],
                "mean_image": mean_image_error(train, held_out),
                "kl_cont": sum(fitted.evaluation["kl_cont"]),
            }
        )
    return rows


def mean_image_error(train: torch.Tensor, held_out: torch.Tensor) -> float:
    """Cross-entropy of held-out images against the mean training image, nats per image."""
    mean = (train.float().mean(dim=0) / 255).clamp(1e-6, 1 - 1e-6)
    errors = torch.nn.functional.binary_cross_entropy(
        mean.expand(held_out.shape), held_out.float() / 255, reduction="sum"
    )
    return float(errors) / len(held_out)


def table(found: Mapping[str, Any]) -> str:
    """The rows as a table of docs/own-networks.md, with the machine and the versions."""
    about = found["environment"]
    threads = f"{about['threads']} thread{'s' if about['threads'] > 1 else ''}"
    lines = [
        "| images | networks | weights | steps | held-out images, nats | their mean image, nats |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for row in found["rows"]:
        width = "" if row["width"] is None else f", width {row['width']}"
        lines.append(
            f"| {row['size']} | {row['networks']}{width} | {row['weights']:,} | {row['steps']:,} |"
            f" {row['reconstruction']:.1f} | {row['mean_image']:.1f} |"
        )
    lines += [
        "",
        f"{about['processor']}, {threads}, PyTorch {about['torch']}, Python {about['python']}.",
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args(arguments)
    sys.path.append(str(EXAMPLES))
    about = environment()
    print(f"{about['processor']}, threads: {about['threads']}; torch {about['torch']}")
    rows = []
    for case in CASES:
        for row in compared(case):
            rows.append(row)
            print(
                f"{row['size']}, {row['networks']}, {row['weights']:,} weights, {row['steps']:,}"
                f" steps: {row['reconstruction']:.1f} nats (mean image {row['mean_image']:.1f})",
                flush=True,
            )
    if options.json:
        write_json(options.json, {"environment": about, "rows": rows})


if __name__ == "__main__":
    main()
