"""``fastjvae figures kl-growth``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastjvae.cli.figures.command import Drawn, ModelFigure
from fastjvae.errors import ArgumentError, DataError
from fastjvae.figures.kl_growth import kl_growth
from fastjvae.training.run_folder import RunFolder, read_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class KLGrowth(ModelFigure):
    """KL of each latent variable during training; needs a run's metrics."""

    def draw(self) -> Drawn:
        run = self.run_folder
        records = read_metrics(run)
        if not records or "kl_cont" not in records[0]:
            raise ArgumentError(
                f"the growth of the KL is drawn from the metrics of a training run, and"
                f" {run.metrics_file} has no KL"
            )
        return self.name, growth_in(run, records)


def growth_in(run: RunFolder, records: Sequence[Mapping[str, Any]]) -> Figure:
    """The growth of the KL in the records of a run.

    Raises:
        DataError: they are not a training's; names their file.
    """
    try:
        return kl_growth(records)
    except ArgumentError as error:
        raise DataError(f"{run.metrics_file} cannot be drawn: {error}") from error
