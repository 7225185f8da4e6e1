"""JointVAE (continuous and discrete factors of variation, learned without labels), made fast.

>>> import torch
>>> from fastjvae import JointVAE
>>> model = JointVAE(img_size=(1, 32, 32), latent_spec={"cont": 10, "disc": [10]})
>>> model.sample(4).shape
torch.Size([4, 1, 32, 32])
"""

from fastjvae import errors, functional, metrics, objectives
from fastjvae._version import __version__
from fastjvae.checkpoint import load, load_published
from fastjvae.errors import FastJVAEError
from fastjvae.functional import backend
from fastjvae.latents import LatentSpec
from fastjvae.model import Decoder, Encoder, JointVAE
from fastjvae.objectives import (
    BetaObjective,
    BetaTCObjective,
    CCBetaObjective,
    FactorObjective,
    JointObjective,
    LossOutput,
    SharedObjective,
)
from fastjvae.schedules import Capacity

__all__ = [
    "BetaObjective",
    "BetaTCObjective",
    "CCBetaObjective",
    "Capacity",
    "Decoder",
    "Encoder",
    "FactorObjective",
    "FastJVAEError",
    "JointObjective",
    "JointVAE",
    "LatentSpec",
    "LossOutput",
    "SharedObjective",
    "__version__",
    "backend",
    "errors",
    "functional",
    "load",
    "load_published",
    "metrics",
    "objectives",
]
