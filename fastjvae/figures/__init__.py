"""Figures of the paper, as ``matplotlib.figure.Figure`` objects that touch no global state.

>>> from fastjvae import JointVAE, figures
>>> model = JointVAE(img_size=(1, 32, 32), latent_spec={"cont": 2, "disc": [10]})
>>> figure = figures.traversals(model, kl_cont=[1.5, 0.2], kl_disc=[2.1])
>>> figures.save(figure, "traversals.png")  # doctest: +SKIP
"""

from fastjvae.figures.latents import reconstructions, samples_by_category, traversals
from fastjvae.figures.page import save
from fastjvae.figures.training import kl_growth

__all__ = ["kl_growth", "reconstructions", "samples_by_category", "save", "traversals"]
