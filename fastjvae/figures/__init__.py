"""Figures of the paper, as ``matplotlib.figure.Figure`` objects that touch no global state.

>>> from fastjvae import JointVAE, figures
>>> model = JointVAE(img_size=(1, 32, 32), latent_spec={"cont": 2, "disc": [10]})
>>> figure = figures.traversals(model, kl_cont=[1.5, 0.2], kl_disc=[2.1])
>>> figures.save(figure, "traversals.png")  # doctest: +SKIP
"""

from fastjvae.figures.animation import save_animation, training_animation
from fastjvae.figures.azimuth import follow_angle, inferred_angles
from fastjvae.figures.edit import edited_picture, edits
from fastjvae.figures.explorer.page import explorer_page
from fastjvae.figures.frames import Frame, read_frames
from fastjvae.figures.grid import traversal_grid
from fastjvae.figures.kl_growth import kl_growth
from fastjvae.figures.metric_names import metric_title
from fastjvae.figures.metrics import metric_comparison, read_scores
from fastjvae.figures.overview import overview
from fastjvae.figures.ranked import ranked_units
from fastjvae.figures.reconstructions import reconstructions
from fastjvae.figures.samples import samples_by_category
from fastjvae.figures.saving import FORMATS, save
from fastjvae.figures.side_by_side import side_by_side
from fastjvae.figures.traversal import traversal
from fastjvae.figures.traversals import traversals

__all__ = [
    "FORMATS",
    "Frame",
    "edited_picture",
    "edits",
    "explorer_page",
    "follow_angle",
    "inferred_angles",
    "kl_growth",
    "metric_comparison",
    "metric_title",
    "overview",
    "ranked_units",
    "read_frames",
    "read_scores",
    "reconstructions",
    "samples_by_category",
    "save",
    "save_animation",
    "side_by_side",
    "training_animation",
    "traversal",
    "traversal_grid",
    "traversals",
]
