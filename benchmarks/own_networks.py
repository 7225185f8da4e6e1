"""Held-out reconstruction of the residual networks of docs/examples beside the standard ones.

    python -m benchmarks.own_networks --json benchmarks/results/own-networks.json --write

Both train for the same steps, on the same batches of the same images, with the same settings:
handwritten digits, resized, whose test images are held out.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.environment import environment
from benchmarks.markdown import write_between_marks
from fastjvae import fit
from fastjvae.data import DataSource, load
from fastjvae.files import write_json
from fastjvae.training import TrainConfig
from fastjvae.training.settings.objective import CapacityConfig

DOCS = Path(__file__).parents[1] / "docs"
PAGE, EXAMPLES = DOCS / "own-networks.md", DOCS / "examples"
MARKS = ("<!-- comparison -->", "<!-- end of comparison -->")  # around the table in the page


class Case(NamedTuple):
    """Images of side x side, and how long both train on them."""

    side: int
    steps: int
    width: int  # of the residual networks


CASES = (Case(64, 1000, 16), Case(128, 400, 8))


def compared(case: Case, seed: int = 0) -> list[dict[str, Any]]:
    """A row for the standard and one for the residual networks."""
    size = (case.side, case.side)
    train = load(DataSource("digits", image_size=size)).images
    held_out = load(DataSource("digits", image_size=size, split="test")).images
    pixels = case.side**2 / 32**2  # weights of the paper are for 32x32
    config = TrainConfig(
        "arrays",
        cont=10,
        disc=(10,),
        cont_capacity=CapacityConfig(0.0, 20.0, case.steps // 2, 30.0 * pixels),
        disc_capacity=CapacityConfig(0.0, 2.3, case.steps // 2, 30.0 * pixels),
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
    # By torch's weights the standard networks show the mean image after so few steps.
    standard: dict[str, Any] = {"initialisation": "he"}
    rows = []
    for name, networks in {"standard": standard, "residual": residual}.items():
        fitted = fit(
            train, validation=held_out, recipe=config, steps=case.steps, seed=seed, **networks
        )
        rows.append(
            {
                "size": f"{case.side}x{case.side}",
                "networks": name,
                "width": case.width if networks is residual else None,
                "weights": sum(p.numel() for p in fitted.model.parameters()),
                "steps": fitted.history[-1]["step"],
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
    parser.add_argument("--write", action="store_true", help="and the table into the page")
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
    if options.write:
        write_between_marks(PAGE, table({"environment": about, "rows": rows}), *MARKS)


if __name__ == "__main__":
    main()
