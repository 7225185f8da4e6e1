"""``fastjvae figures kl-growth``."""

from __future__ import annotations

from fastjvae.cli.figures.command import Drawn, ModelFigure
from fastjvae.errors import ArgumentError, DataError
from fastjvae.figures.kl_growth import kl_growth
from fastjvae.figures.page import Figure
from fastjvae.training.run_folder import RunFolder, read_metrics


class KLGrowth(ModelFigure):
    """KL of each latent variable during training; needs a run's metrics."""

    def draw(self) -> Drawn:
        figure = growth_in(self.run_folder)
        if figure is None:
            raise ArgumentError(
                f"the growth of the KL is drawn from the metrics of a training run, and"
                f" {self.run_folder.metrics_file} has no KL"
            )
        return self.name, figure


def growth_in(run: RunFolder) -> Figure | None:
    """The growth of the KL in a run's metrics; None where they have none, as an InfoGAN's.

    Raises:
        DataError: they are not a training's; names their file.
    """
    records = read_metrics(run)
    if not records or "kl_cont" not in records[0]:
        return None
    try:
        return kl_growth(records)
    except ArgumentError as error:
        raise DataError(f"{run.metrics_file} cannot be drawn: {error}") from error
