"""``fastjvae figures side-by-side``."""

from typing import Annotated

from tyro.conf import Positional, arg

from fastjvae.cli.command import LoadsModel, ModelCommand
from fastjvae.cli.figures.command import Drawn, FigureCommand
from fastjvae.cli.figures.start import start_of
from fastjvae.data import DatasetName
from fastjvae.errors import ArgumentError
from fastjvae.figures.side_by_side import side_by_side
from fastjvae.files import printable
from fastjvae.training.run_folder import run_of


class SideBySide(LoadsModel, FigureCommand):
    """All latent variables of several models, a column for each; needs no data."""

    model_paths: Positional[Annotated[tuple[str, ...], arg(metavar="RUN")]]
    """run folders, or any models that fastjvae or the published code saved"""
    by_kl: bool = False
    """order the units by their KL on the data set, and write it beside them; by default by their
    effect on the picture, which needs no data"""
    steps: int = 8
    """images per row"""
    max_units: int | None = None
    """units, and discrete variables, of a model at most; by default all"""
    range: tuple[float, float] | None = None
    """first and last value of a unit's sweep, in standard deviations of its prior; by default its
    5 % to 95 % quantile, in equal steps of probability"""
    base: str | None = None
    """what the rows of each model start from: a picture FILE, image:N of the data set, or
    category:K; by default the category from which most is seen"""
    dataset: DatasetName | None = None
    """data set for --by-kl and image:N; by default each run's own"""
    data_root: str | None = None
    """folder or file of the data"""
    grid: tuple[str, ...] = ()
    """sprites: the part of the grid to draw; by default the run's own"""
    out: str | None = None
    """file, or folder for it; by default the current folder"""
    device: str = "auto"
    """cpu, cuda, ...; auto takes a GPU where there is one"""

    def draw(self) -> Drawn:
        paths = self.model_paths
        if repeated := next((path for path in paths if paths.count(path) > 1), None):
            raise ArgumentError(f"{repeated} is given twice")
        names = [printable(run_of(path).path.resolve().name) for path in paths]
        if len(set(names)) < len(names):  # such as the same seed of several methods
            names = [printable(path) for path in paths]
        data = (self.dataset, self.data_root, self.grid)
        own = vars(self.networks)
        opened = {
            n: ModelCommand(p, *data, self.device, **own) for n, p in zip(names, paths, strict=True)
        }
        models = {name: each.model for name, each in opened.items()}
        kl = {name: each.encoding.kl for name, each in opened.items()} if self.by_kl else None
        starts = {name: start_of(self.base, each) for name, each in opened.items()}
        bases = {name: each.row for name, each in starts.items() if each.row is not None}
        figure = side_by_side(
            models,
            kl=kl,
            steps=self.steps,
            max_units=self.max_units,
            bases=bases or None,
            span=self.range,
            title=next(iter(starts.values())).name if starts else None,
        )
        return self.name, figure
