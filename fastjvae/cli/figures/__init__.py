"""The commands ``fastjvae figures``: a module for each figure, named as the figure."""

from fastjvae.cli.figures.animation import Animation
from fastjvae.cli.figures.azimuth import Azimuth
from fastjvae.cli.figures.command import FigureCommand
from fastjvae.cli.figures.grid import Grid
from fastjvae.cli.figures.kl_growth import KLGrowth
from fastjvae.cli.figures.metrics import Metrics
from fastjvae.cli.figures.overview import Overview
from fastjvae.cli.figures.ranked import Ranked
from fastjvae.cli.figures.reconstructions import Reconstructions
from fastjvae.cli.figures.samples import Samples
from fastjvae.cli.figures.side_by_side import SideBySide
from fastjvae.cli.figures.traversal import Traversal
from fastjvae.cli.figures.traversals import Traversals

FIGURES: tuple[type[FigureCommand], ...] = (
    Overview,
    Reconstructions,
    Traversals,
    Traversal,
    Grid,
    SideBySide,
    Samples,
    Metrics,
    KLGrowth,
    Ranked,
    Azimuth,
    Animation,
)
