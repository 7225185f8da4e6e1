"""``benchmarks/README.md`` and its plots, from the committed results of the training benchmarks.

    python -m benchmarks.report

reads ``quick.json``, ``epoch.json``, ``step.json``, ``layers.json``, ``parts.json`` and
``gpu.json`` in ``benchmarks/results``; of a file that is not there the page says "not measured".
"""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.gpu import report as gpu
from benchmarks.training import sections
from benchmarks.training.plots import plot_epoch, plot_steps

FOLDER = Path(__file__).parent
INTRODUCTION = """\
# What training costs

Written by `python -m benchmarks.report` from the JSON in `benchmarks/results`; `make quick`
measures a short version on your machine, `make bench-training` everything here.

Two baselines, both in `benchmarks/training/baselines.py`: **published**, the way of the paper's
authors (single pictures through torchvision's transforms in a DataLoader, noise drawn on the CPU,
cross-entropy on probabilities, Adam as it comes, every loss read in every step), and **tuned**, an
eager PyTorch model as an expert writes it (channels_last, fused Adam, uint8 images in memory by
index, cross-entropy on logits, no waiting); **compile** is `torch.compile` of the latter. fastjvae
keeps freed memory in its process (`fastjvae/training/allocator.py`); with `-same-allocator` the
baseline does so too.

Every provider runs in a process of its own. Blocks of some steps alternate, round after round.
Times are medians over the blocks, with quartiles in brackets; a ratio is taken within each round.
Not in any time: imports, preparing data, compilation, the first steps, checkpoints. A loss stands
beside each time: after the same number of steps from the same weights, on the same images and the
same noise (fastjvae's trainer: on its own, against itself on the reference). A disagreement with
`fastjvae.backend("reference")` beyond the tolerance of `benchmarks/training/agreement.py` ends the
measurement. Losses and KL are in nats per image; the KL of each unit is in the JSON.
"""


class ReportError(Exception):
    """A file that is no result of a benchmark; one sentence."""


def load(path: Path) -> Any:
    """The content of a JSON file, None where it is not there.

    Raises:
        ReportError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ReportError(f"cannot read {path}: {error}") from error


class Section(NamedTuple):
    """A part of the page, made of one file of results."""

    title: str
    file: str  # without .json
    script: str  # that measures it
    lines: Callable[[Any], Iterable[str]]


def markdown(results: Path) -> str:
    """The whole page.

    Raises:
        ReportError: a file there is no result.
    """
    about = load(results / "quick-about.json")
    lines = [INTRODUCTION]
    for section in (
        Section(
            "On one machine, briefly",
            "quick",
            "python -m benchmarks.quick",
            partial(sections.quick, about=about),
        ),
        Section("End to end, with loading and logging", "epoch", sections.EPOCH, sections.epoch),
        Section("A step alone", "step", sections.STEP, sections.step),
        Section(
            "Convolutions, one by one", "layers", "python -m benchmarks.layers", sections.by_layer
        ),
        Section("A step on a CPU, part by part", "parts", sections.PARTS, sections.parts),
        Section("On a GPU", "gpu", "make gpu", _on_a_gpu),
    ):
        lines += [f"## {section.title}", ""]
        content = load(results / f"{section.file}.json")
        try:
            if content is None:
                lines.append(f"`{section.script}`: {sections.NOT_MEASURED}.")
            else:
                lines += section.lines(content)
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            path = results / f"{section.file}.json"
            raise ReportError(f"{path} holds no results: {error!r}") from error
        lines.append("")
    lines.append(
        "`make bench` measures every operation (`benchmarks/operations/bench_kernels.py`);"
        " [kernels/README.md](../kernels/README.md) has what they compile to."
    )
    return "\n".join(lines) + "\n"


def _on_a_gpu(content: Any) -> Iterator[str]:
    yield from sections.machine(content["environment"], "make gpu")
    yield from gpu.section(content)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=Path, default=FOLDER / "results", help="their folder")
    parser.add_argument("--out", type=Path, default=FOLDER / "README.md", help="the page")
    options = parser.parse_args(arguments)
    try:
        options.out.write_text(markdown(options.results), encoding="utf-8")
        for name, plot in (("epoch", plot_epoch), ("step", plot_steps)):
            if (content := load(options.results / f"{name}.json")) is not None:
                plot(content).savefig(options.results / f"{name}.png", dpi=150)
    except ReportError as error:
        raise SystemExit(f"error: {error}") from error
    except OSError as error:
        reason = error.strerror or error
        raise SystemExit(f"error: cannot write {error.filename}: {reason}") from error
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
