"""The kernels of a captured training step, counted without a GPU.

    python -m benchmarks.launches --json launches.json

The step runs on meta tensors (:mod:`benchmarks.training.on_paper`). Its operators and Triton
launches are counted as the kernels that PyTorch starts for them on a GPU:

- a convolution is one, and one that adds its bias; its backward pass one for each gradient;
- what only looks at a tensor otherwise, or allocates one, is none; every other operator is one.

The steps are those of the paper's settings at both sizes, of the fast recipe's phases, and of every
other objective with the paper's settings for MNIST.

The JSON has, for each step, how many kernels there are in all and of each kind:
``{"paper_32": {"kernels": n, "kinds": {...}}, ...}``.
"""

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.training.on_paper import Call, step_on_paper
from fastjvae.files import write_json
from fastjvae.training.settings.recipes import recipe
from fastjvae.training.settings.train import TrainConfig

_PAPER, _FAST = recipe("mnist"), recipe("mnist", "fast")
_SMALL = (1, 32, 32)
STEPS: dict[str, tuple[TrainConfig, tuple[int, int, int]]] = {
    "paper_32": (_PAPER, _SMALL),
    "paper_64": (recipe("celeba"), (3, 64, 64)),
    "paper_32_triton": (replace(_PAPER, networks="triton"), _SMALL),
    "paper_64_triton": (replace(recipe("celeba"), networks="triton"), (3, 64, 64)),
    **{
        f"fast_{phase.name}": (phase.config, _SMALL)  # types, then style
        for phase in _FAST.phase_configs
    },
    **{
        name: (replace(_PAPER, **changes), _SMALL)
        for name, changes in {
            "information": {"disc_measure": "information"},
            "shared": {
                "disc_measure": "shared", "group": 4, "neighbours": 3, "overclusters": 30,
            },
            "drawn": {"drawn_gamma": 10.0},
            "beta": {"objective": "beta"},
            "cc-beta": {"objective": "cc-beta"},
            "beta-tc": {"objective": "beta-tc"},
            "factor": {"objective": "factor"},
        }.items()
    },
}  # fmt: skip

_NO_KERNEL = {
    # views
    "_reshape_alias", "_unsafe_view", "alias", "as_strided", "detach", "expand", "permute",
    "select", "slice", "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind",
    "unsqueeze", "view",
    # allocations
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided",
}  # fmt: skip
_KINDS = {
    "addmm": "matrix products",
    "mm": "matrix products",
    "relu": "ReLUs",
    "threshold_backward": "ReLUs",
    "index_select": "gather, conversion",
    "_to_copy": "gather, conversion",
    "_fused_adam_": "Adam",
    "_foreach_add_": "Adam",
    "clone": "layout copies",
    "copy_": "layout copies",
}


def kinds_of(call: Call) -> Counter[str]:
    """The kernels that a call starts, by kind."""
    library, name, *_ = call.name.split(".")
    if library == "triton":
        return Counter({"Triton": 1})
    if library == "torch":
        return Counter({"copies from the host": 1})
    if name == "convolution":
        has_bias = len(call.inputs) > 2
        return Counter({"convolutions": 1, "biases": int(has_bias)})
    if name == "convolution_backward":
        images = sum(len(out.shape) == 4 for out in call.outputs)
        return Counter({"convolutions": images, "biases": len(call.outputs) - images})
    if name in _NO_KERNEL:
        return Counter()
    if name == "sum" and call.outputs[0].shape[:1] == (1,):
        return Counter({"biases": 1})  # the gradient of a linear layer's
    return Counter({_KINDS.get(name, "other"): 1})


def count(config: TrainConfig, img_size: tuple[int, int, int]) -> dict[str, Any]:
    """The kernels of one step of a run on images of ``img_size``."""
    kinds: Counter[str] = Counter()
    for call in step_on_paper(config, img_size):
        kinds += kinds_of(call)
    return {"kernels": kinds.total(), "kinds": dict(kinds.most_common())}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args(arguments)
    found = {name: count(*step) for name, step in STEPS.items()}
    for name, counted in found.items():
        kinds = ", ".join(f"{kind} {number}" for kind, number in counted["kinds"].items())
        print(f"{name:<15}  {counted['kernels']:4d} kernels: {kinds}")
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
