"""Several seeds of one run side by side: the best by label, and a choice without labels.

No label takes part in the choice by UDR: it is the model that is most like the others.
"""

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastjvae._numbers import is_finite, is_integer, is_real
from fastjvae.errors import RunError
from fastjvae.files import read_json
from fastjvae.metrics.udr_of_models import udr_of_runs
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.seeds import is_finished, seed_configs
from fastjvae.training.settings.own_networks import named_networks
from fastjvae.training.settings.run import RunConfig


@dataclass(frozen=True)
class SeedResult:
    """The numbers of one seed on the evaluation images; None where there is no such number."""

    seed: int
    reconstruction: float | None  # nats per image
    kl_cont: float | None  # nats, sum over the continuous units
    kl_disc: float | None  # nats, sum over the discrete variables
    # Both of the discrete variable that agrees best with the labels.
    accuracy_majority: float | None
    accuracy_one_to_one: float | None
    udr: float | None = None
    collapsed: bool = False  # no better than the mean image


_ACCURACIES = ("accuracy_majority", "accuracy_one_to_one")
_WIDTH = len("reconstruction")
# Name, heading, decimals and what is best; a KL is what its capacity asks for, so none is best.
_COLUMNS: tuple[tuple[str, str, int, Callable[[Sequence[float]], float] | None], ...] = (
    ("reconstruction", "reconstruction", 2, min),
    ("kl_cont", "KL of z", 3, None),
    ("kl_disc", "KL of c", 3, None),
    ("accuracy_majority", "majority", 4, max),
    ("accuracy_one_to_one", "one-to-one", 4, max),
    ("udr", "UDR", 4, max),
)


@dataclass(frozen=True)
class SeedsSummary:
    """Several seeds side by side."""

    data: str
    images: int
    results: tuple[SeedResult, ...]
    unfinished: tuple[int, ...] = ()
    no_udr: str | None = None  # why there is none

    @property
    def chosen_by_udr(self) -> SeedResult | None:
        """The model that is most like the others; no label took part.

        Two models share the score of their pair, and with it often the median: of equals it is the
        one that reconstructs better.
        """
        return max(
            (r for r in self.results if r.udr is not None),
            key=lambda r: (r.udr or 0.0, -_or_infinite(r.reconstruction)),
            default=None,
        )

    @property
    def best_by_label(self) -> SeedResult | None:
        """The highest accuracy by majority, then one-to-one."""
        return max(
            (r for r in self.results if r.accuracy_majority is not None),
            key=lambda r: (r.accuracy_majority or 0.0, r.accuracy_one_to_one or 0.0),
            default=None,
        )

    def statistics(self) -> dict[str, dict[str, float | None]]:
        """Mean, standard deviation (of a sample, ddof = 1) and best of each column."""
        columns: dict[str, dict[str, float | None]] = {}
        for name, _, _, best in _COLUMNS:
            if values := self._column(name):
                columns[name] = {
                    "mean": statistics.fmean(values),
                    "std": statistics.stdev(values) if len(values) > 1 else None,
                    "best": best(values) if best else None,
                }
        return columns

    def to_dict(self) -> dict[str, Any]:
        """JSON form; a number that does not exist is null."""
        chosen, best = self.chosen_by_udr, self.best_by_label
        return {
            "data": self.data,
            "images": self.images,
            "seeds": [{**dataclasses.asdict(r), "folder": f"seed{r.seed}"} for r in self.results],
            "unfinished": list(self.unfinished),
            "statistics": self.statistics(),
            "no_udr": self.no_udr,
            "chosen_by_udr": chosen and dataclasses.asdict(chosen),
            "best_by_label": best and dataclasses.asdict(best),
        }

    def table(self) -> str:
        """Return what :meth:`to_dict` holds as text for a terminal."""
        columns = [c for c in _COLUMNS if c[0] == "udr" or self._column(c[0])]
        rows: list[tuple[str, dict[str, float | None]]] = [
            (str(result.seed), vars(result)) for result in self.results
        ]
        rows += [
            (kind, {name: column[kind] for name, column in self.statistics().items()})
            for kind in ("mean", "std", "best")
        ]
        width = max(len(label) for label, _ in rows)
        lines = [
            f"{len(self.results)} seeds on {self.data}, {self.images:,} images;"
            " reconstruction and KL in nats per image",
            _line("seed".rjust(width), [heading for _, heading, _, _ in columns]),
            *(
                _line(
                    label.rjust(width),
                    [_number(values.get(name), digits) for name, _, digits, _ in columns],
                )
                for label, values in rows
            ),
        ]
        if self.no_udr:
            lines.append(f"UDR: n/a, {self.no_udr}")
        if chosen := self.chosen_by_udr:
            lines.append(f"chosen without labels, by UDR: {_verdict(chosen)}")
        if best := self.best_by_label:
            lines.append(f"best by label, majority: {_verdict(best)}")
        if collapsed := [str(r.seed) for r in self.results if r.collapsed]:
            lines.append(f"collapsed, no better than the mean image: {', '.join(collapsed)}")
        if self.unfinished:
            lines.append(f"not finished: {', '.join(map(str, self.unfinished))}")
        return "\n".join(lines)

    def _column(self, name: str) -> list[float]:
        return [v for r in self.results if (v := getattr(r, name)) is not None]


def _finite(value: float | None) -> float | None:
    """None for what is no number of a model that works, in old files a NaN."""
    return value if is_finite(value) else None


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value


def _line(label: str, cells: Sequence[str]) -> str:
    return f"  {label}" + "".join(f"  {cell:>{_WIDTH}}" for cell in cells)


def _number(value: float | None, digits: int) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"


def _verdict(result: SeedResult) -> str:
    if result.accuracy_majority is None:
        return f"seed {result.seed}"
    return (
        f"seed {result.seed}, accuracy {result.accuracy_majority:.4f} majority,"
        f" {result.accuracy_one_to_one:.4f} one-to-one"
    )


def summarise(
    config: RunConfig,
    seeds: Sequence[int],
    folder: Path,
    images: Tensor,
    device: torch.device | str = "cpu",
) -> SeedsSummary | None:
    """Compare the seeds that are finished; None if there are none.

    The numbers are those of each run's ``evaluation.json``. UDR compares the models' codes of the
    same images, see :func:`fastjvae.metrics.udr_of_models.comparable_units`.

    Args:
        config, seeds, folder: as in :func:`train_seeds`.
        images: (N, C, H, W) the evaluation images; up to 10,000, evenly spread, are compared.
        device: where to encode them.
    """
    done = [each for each in seed_configs(config, seeds, folder) if is_finished(each)]
    if not done:
        return None
    evaluations = [read_evaluation(RunFolder(each.run_folder).evaluation_file) for each in done]
    results = [
        seed_result(each.seed, values) for each, values in zip(done, evaluations, strict=True)
    ]
    folders = [each.run_folder for each in done]
    scores, no_udr = udr_of_runs(folders, images, device, **named_networks(config))
    if scores is not None:
        results = [
            dataclasses.replace(r, udr=float(s)) for r, s in zip(results, scores, strict=True)
        ]
    return SeedsSummary(
        data=evaluations[0]["data"],
        images=evaluations[0]["images"],
        results=tuple(results),
        unfinished=tuple(s for s in seeds if s not in {each.seed for each in done}),
        no_udr=no_udr,
    )


def seed_result(seed: int, evaluation: dict[str, Any]) -> SeedResult:
    """The result of a seed, read from the content of its ``evaluation.json``."""
    agreeing = agreeing_variable(evaluation)
    return SeedResult(
        seed=seed,
        reconstruction=_finite(evaluation["reconstruction"]),
        kl_cont=_finite(evaluation["kl_cont_sum"]),
        kl_disc=_finite(evaluation["kl_disc_sum"]),
        accuracy_majority=agreeing.get("accuracy_majority"),
        accuracy_one_to_one=agreeing.get("accuracy_one_to_one"),
        collapsed=evaluation.get("collapsed", False),
    )


def read_evaluation(path: Path) -> dict[str, Any]:
    """The content of an ``evaluation.json``, which somebody may have changed.

    Raises:
        RunError: it is missing, or no evaluation.
    """
    values = read_json(path, RunError)
    try:
        variables = values["variables"]
        right = isinstance(values["data"], str) and is_integer(values["images"])
        numbers = [values[name] for name in ("reconstruction", "kl_cont_sum", "kl_disc_sum")]
        numbers += [variable[name] for variable in variables for name in _ACCURACIES]
    except (KeyError, TypeError) as error:
        raise RunError(f"{path} is no evaluation of a run: it lacks {error}") from error
    if not right or not all(number is None or is_real(number) for number in numbers):
        raise RunError(f"{path} is no evaluation of a run: a value in it is of another type")
    return values  # type: ignore[no-any-return]


def agreeing_variable(evaluation: dict[str, Any]) -> dict[str, Any]:
    """The discrete variable that agrees best with the labels; empty where there is none."""
    return max(
        (v for v in evaluation["variables"] if None not in [v[name] for name in _ACCURACIES]),
        key=lambda v: (v["accuracy_majority"], v["accuracy_one_to_one"]),
        default={},
    )
