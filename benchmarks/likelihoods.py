"""The tutorial's coloured discs learned under each likelihood, at otherwise the same settings.

    python -m benchmarks.likelihoods --steps 600 --json benchmarks/results/likelihoods.json

The settings are those that ``fit`` makes for the images. What is compared is of held-out discs and
of no likelihood: the squared error of a pixel, the colours found, the places found.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.environment import environment
from fastjvae import fit
from fastjvae.data import ImageData
from fastjvae.files import read_json, write_json
from fastjvae.model.encoding import evenly_spread
from fastjvae.model.latent_moves import decode, encode_row

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.md"
HELD_OUT = 300
LIKELIHOODS: dict[str, dict[str, Any]] = {
    "bernoulli": {},
    "gaussian, squared error": {"likelihood": "gaussian", "scale": 0.5**0.5},
    "gaussian, learned scale": {"likelihood": "gaussian", "scale": "learned"},
}


def discs() -> ImageData:
    """The pictures that the tutorial makes, with their colour as label and factor."""
    (code,) = re.findall(
        r"^```python\n(# make_pictures.*?)^```$", TUTORIAL.read_text(), re.M | re.S
    )
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
        with np.load(Path(folder, "pictures.npz")) as file:
            images, factors = file["images"], file["factors"]
            names = tuple(map(str, file["factor_names"]))
    found = torch.from_numpy(factors).long()
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return ImageData("discs", pixels, found[:, 0].clone(), found, factor_names=names)


def measure(data: ImageData, seed: int, steps: int | None, **likelihood: Any) -> dict[str, Any]:
    """A row of one training."""
    held = torch.zeros(len(data), dtype=torch.bool)
    held[evenly_spread(len(data), min(HELD_OUT, len(data) // 2))] = True
    train, test = (data.with_rows(rows, images=data.images[rows]) for rows in (~held, held))
    since = time.perf_counter()
    fitted = fit(train, cont=5, disc=[3], steps=steps, validation=test, seed=seed, **likelihood)
    seconds = time.perf_counter() - since
    decoded = decode(fitted.model, encode_row(fitted.model, test.images))
    error = decoded - test.images.numpy() / 255
    found = fitted.evaluation
    return {
        "seed": seed,
        "steps": fitted.history[-1]["step"],
        "seconds": seconds,
        "reconstruction": found["reconstruction"],
        "scale": found["scale"],
        "squared_error": float(np.square(error).mean()),
        "accuracy": found["variables"][0]["accuracy_majority"],
        "kl_cont": sum(found["kl_cont"]),
        "used_units": len(found["used_units"]),
        "scores": found["scores"],
    }


def table_rows(rows: list[dict[str, Any]]) -> list[str]:
    """The page's table: a line for each likelihood, with a number for each seed."""

    def each(name: str, form: str) -> str:
        return ", ".join(format(row[name], form) for row in of_one if row[name] is not None) or "-"

    lines = []
    for likelihood in LIKELIHOODS:
        of_one = [row for row in rows if row["likelihood"] == likelihood]
        columns = (
            each("squared_error", ".5f"),
            each("accuracy", ".3f"),
            each("kl_cont", ".1f"),
            each("scale", ".3f"),
            each("reconstruction", ".0f"),
        )
        lines.append(f"| {likelihood} | {' | '.join(columns)} |")
    return lines


def _with_others(path: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows beside those of other seeds that the file has, in the order of the seeds."""
    before = read_json(path)["rows"] if path.is_file() else []
    seeds = {row["seed"] for row in rows}
    kept = [row for row in before if row["seed"] not in seeds]
    return sorted([*kept, *rows], key=lambda row: int(row["seed"]))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, help="by default those that fit makes")
    options = parser.parse_args(arguments)
    data = discs()
    rows = []
    for seed in options.seeds:
        for name, likelihood in LIKELIHOODS.items():
            row = {"likelihood": name, **measure(data, seed, options.steps, **likelihood)}
            rows.append(row)
            print(
                f"{name}, seed {seed}: squared error {row['squared_error']:.5f} a pixel, colours"
                f" {row['accuracy']:.3f}, scale {row['scale'] or '-'}, {row['seconds']:.0f} s",
                flush=True,
            )
    if options.json:
        write_json(options.json, {"about": environment(), "rows": _with_others(options.json, rows)})


if __name__ == "__main__":
    main()
