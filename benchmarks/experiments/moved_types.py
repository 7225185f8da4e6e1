"""Do categories become types where moved, turned and scaled images count as the same?

    python -m benchmarks.experiments.moved_types --data-root DATA

trains with the information that the copies of an image share, each transformed in its own way, and
nothing else that tells of types: no neighbours and no capacity for the continuous units, as in the
first half of a fast recipe. It writes ``benchmarks/results/moved-types.json``, one row a case and
seed; what is there already is not trained again.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.environment import environment
from benchmarks.experiments.drawn_pictures import SETS, draw
from benchmarks.experiments.driver import runs_folder
from fastjvae import Capacity, JointVAE, SharedObjective
from fastjvae.data import DataSource, load
from fastjvae.data.batches.augment import LARGEST, NUMBERS, RandomAffine
from fastjvae.files import write_json
from fastjvae.functional import unit_interval
from fastjvae.functional.latents import largest_kl
from fastjvae.metrics.evaluation import evaluate
from fastjvae.model.networks import initialise_he

PATH = Path(__file__).parents[1] / "results" / "moved-types.json"
SEEDS = (0,)
_GROUP, _BATCH = 4, 128
_LR, _WARMUP = 1e-3, 50
_LAST = 50  # steps that the information at the end is the mean of
_GRID = ("orientation=0..39/2", "x=0..31/4", "y=0..31/4")


class Case(NamedTuple):
    """What counts as the same, on one data set."""

    name: str  # of a data set, or of drawn pictures
    categories: int
    overclusters: int
    turn: float  # degrees
    scale: float  # by which width and height grow or shrink
    steps: int = 800


CASES = (
    Case("sprites", 3, 30, turn=180.0, scale=0.3),
    Case("sprites", 3, 30, turn=20.0, scale=0.2),
    Case("fashion-mnist", 10, 50, turn=20.0, scale=0.2),
    Case("chairs", 3, 30, turn=20.0, scale=0.2),
)


def _source(case: Case, data_root: str | None) -> DataSource:
    if case.name in SETS and case.name != "sprites":
        root = str(draw(case.name, runs_folder() / "pictures"))
        return DataSource("images", root=root, image_size=(32, 32))
    own: dict[str, Any] = {"grid": _GRID} if case.name == "sprites" else {"root": data_root}
    return DataSource(case.name, image_size=(32, 32), **own)  # type: ignore[arg-type]


def train(case: Case, seed: int, data_root: str | None) -> dict[str, Any]:
    """Train one case; what is shared at the end, and how well the categories tell the types."""
    data = load(_source(case, data_root))
    torch.manual_seed(seed)
    model = JointVAE(data.img_size, {"cont": 6, "disc": [case.categories]})
    initialise_he(model.encoder, model.spec)  # type: ignore[arg-type]
    most = largest_kl(model.spec.disc)
    objective = SharedObjective(
        model.spec,
        cont=Capacity(0.0, 0.0, 1, 30.0),
        disc=Capacity(most, most, 1, 300.0),
        group=_GROUP,
        overclusters=case.overclusters,
        seed=seed,
    )
    largest = (math.radians(case.turn), LARGEST[1], case.scale, case.scale, *LARGEST[4:])
    transform = RandomAffine(1.0, model.device, model.dtype, largest)
    parameters = [{"params": list(model.parameters())}, *objective.parameter_groups()]
    optimizer = torch.optim.Adam(parameters, lr=_LR)
    generator = torch.Generator().manual_seed(seed)
    shared, overclustered = [], []
    since = time.perf_counter()
    for step in range(1, case.steps + 1):
        chosen = torch.randint(len(data), (_BATCH // _GROUP,), generator=generator)
        images = unit_interval(data.images[chosen], model.dtype).repeat_interleave(_GROUP, dim=0)
        images = transform(images, torch.rand(_BATCH, NUMBERS, generator=generator)).clamp(0, 1)
        for group in optimizer.param_groups:
            group["lr"] = _LR * min(1.0, step / _WARMUP)
        optimizer.zero_grad()
        out = model.loss(images, step, objective, generator=generator)
        out.loss.backward()
        optimizer.step()
        shared.append(float(out.extra["shared_information"]))
        overclustered.append(float(out.extra["overclustered_information"]))
    seconds = time.perf_counter() - since
    (variable,) = evaluate(model.eval(), data, scores="none").variables
    return {
        **case._asdict(),
        "seed": seed,
        "seconds": seconds,
        "shared": sum(shared[-_LAST:]) / _LAST,
        "overclustered": sum(overclustered[-_LAST:]) / _LAST,
        "information": variable.information,
        "accuracy_majority": variable.accuracy_majority,
        "accuracy_one_to_one": variable.accuracy_one_to_one,
        "about": environment(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", help="folder of FashionMNIST")
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = json.loads(PATH.read_text())["rows"] if PATH.exists() else []
    for case in CASES:
        for seed in SEEDS:
            described = {**case._asdict(), "seed": seed}
            if any(described.items() <= row.items() for row in rows):
                continue
            rows.append(train(case, seed, options.data_root))
            write_json(PATH, {"rows": rows})
            print({name: rows[-1][name] for name in rows[-1] if name != "about"}, flush=True)


if __name__ == "__main__":
    main()
