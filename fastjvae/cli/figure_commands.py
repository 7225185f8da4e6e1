"""What ``fastjvae figures FIGURE`` and ``fastjvae edit`` are asked with: their flags, for tyro."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Union

from tyro.conf import Positional, arg, subcommand

from fastjvae.data import DatasetName


@dataclass(frozen=True)
class ModelAndData:
    """What every command is asked for with that takes a model and perhaps data."""

    run: Positional[Annotated[str, arg(metavar="RUN")]]
    """a run folder, or any model that fastjvae or the published code saved"""
    dataset: Positional[DatasetName | None] = None
    """data set, where one is needed; by default the run's own"""
    data_root: str | None = None
    """folder or file of the data"""
    grid: tuple[str, ...] = ()
    """sprites: the part of the grid to draw; by default the run's own"""
    device: str = "auto"
    """cpu, cuda, ...; auto takes a GPU where there is one"""


@dataclass(frozen=True)
class OfModel(ModelAndData):
    """What every figure of one model is asked for with."""

    out: str | None = None
    """file, or folder for it; by default figures/ in the run folder"""


@dataclass(frozen=True)
class Reconstructions(OfModel):
    """Images of the data set above their reconstructions."""

    max_images: int = 32
    """number of images, the first of the data set"""


@dataclass(frozen=True)
class Traversal(OfModel):
    """One latent variable changes along each row; needs no data."""

    unit: int | None = None
    """number of the continuous unit, or"""
    variable: int | None = None
    """number of the discrete variable"""
    steps: int = 10
    """images per row"""
    samples: int = 0
    """rows that start from so many draws of the prior; 0: one row from its mean"""
    seed: int = 0
    """seed of the draws"""


@dataclass(frozen=True)
class Grid(OfModel):
    """Two latent variables change, one down the rows and one along the columns.

    By default the first discrete variable and the most informative unit; this choice needs data.
    """

    rows: str | None = None
    """latent variable of the rows, such as z3 or c0"""
    columns: str | None = None
    """latent variable of the columns"""
    steps: int = 10
    """values of a continuous unit"""


@dataclass(frozen=True)
class Samples(OfModel):
    """Samples of the prior with one discrete variable held in each of its categories."""

    variable: int = 0
    """number of the discrete variable"""
    samples: int = 10
    """images per category"""
    seed: int = 0
    """seed of the draws"""
    shares: bool = False
    """write beside each category its share of the data set's images"""
    names: bool = False
    """name each category after the label that most of its images have; needs labels"""


@dataclass(frozen=True)
class Ranked(OfModel):
    """Traversals of all latent variables by decreasing KL on the data set, with bars for it."""

    least: bool = False
    """the least informative instead of the most informative"""
    steps: int = 10
    """images per row"""
    max_units: int = 10
    """rows at most"""


@dataclass(frozen=True)
class Azimuth(OfModel):
    """The unit that follows an angle best against the true angle; needs a factor of the data."""

    factor: str = "azimuth"
    """name of the factor, an angle"""
    radians: bool = False
    """the factor is in radians, as the orientation of dsprites and sprites, and not in degrees"""
    unit: int | None = None
    """show this continuous unit instead of the one that follows the angle best"""


@dataclass(frozen=True)
class KLGrowth(OfModel):
    """KL of each latent variable during training; needs a run's metrics."""


@dataclass(frozen=True)
class Animation(OfModel):
    """A GIF of the traversals during training; needs a run trained with --animate-every."""

    max_units: int = 8
    """number of units, those with the highest KL at the end, and of discrete variables"""


@dataclass(frozen=True)
class SideBySide:
    """All latent variables of several models, a column for each; needs no data."""

    runs: Positional[Annotated[tuple[str, ...], arg(metavar="RUN")]]
    """run folders, or any models that fastjvae or the published code saved"""
    by_kl: bool = False
    """order the units by their KL on the data set, and write it beside them"""
    steps: int = 8
    """images per row"""
    max_units: int = 10
    """units, and discrete variables, of a model at most"""
    dataset: DatasetName | None = None
    """data set for --by-kl; by default each run's own"""
    data_root: str | None = None
    """folder or file of the data"""
    grid: tuple[str, ...] = ()
    """sprites: the part of the grid to draw; by default the run's own"""
    out: str | None = None
    """file, or folder for it; by default the current folder"""
    device: str = "auto"
    """cpu, cuda, ...; auto takes a GPU where there is one"""


@dataclass(frozen=True)
class Metrics:
    """One metric of several methods with its spread over seeds, from their evaluations."""

    methods: Positional[Annotated[tuple[str, ...], arg(metavar="METHOD=PATH")]]
    """a name and the JSON of fastjvae evaluate --json, a run folder, or a folder of --seeds; a name
    may be given again with further paths"""
    metric: str
    """name of a number in the evaluations, such as reconstruction or accuracy_majority"""
    out: str | None = None
    """file, or folder for it; by default the current folder"""


FIGURES: dict[str, type] = {
    "reconstructions": Reconstructions,
    "traversal": Traversal,
    "grid": Grid,
    "side-by-side": SideBySide,
    "samples": Samples,
    "metrics": Metrics,
    "kl-growth": KLGrowth,
    "ranked": Ranked,
    "azimuth": Azimuth,
    "animation": Animation,
}
FigureCommand: Any = Union[  # noqa: UP007  made from a tuple, for tyro
    tuple(Annotated[command, subcommand(name)] for name, command in FIGURES.items())
]


@dataclass(frozen=True)
class Edit:
    """Encode a picture, move a unit or change a category, and decode."""

    run: Positional[Annotated[str, arg(metavar="RUN")]]
    """a run folder, or any model that fastjvae or the published code saved"""
    picture: Positional[Annotated[str, arg(metavar="PICTURE")]]
    """picture file; cropped around its centre and resized to the size that the model takes"""
    unit: int | None = None
    """number of the continuous unit to move"""
    to: tuple[float, ...] = ()
    """its new values, in standard deviations of its prior; by default ten from -1.64 to 1.64"""
    variable: int | None = None
    """number of the discrete variable to change"""
    category: tuple[int, ...] = ()
    """its new categories; by default all"""
    plain: bool = False
    """write the edited images alone, in the model's own pixels"""
    out: str | None = None
    """file, or folder for it; by default PICTURE-edited.png in the current folder"""
    device: str = "auto"
    """cpu, cuda, ...; auto takes a GPU where there is one"""
