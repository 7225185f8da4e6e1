"""The operations of JointVAE as functions; each call picks its backend.

A sampling function takes its noise in one of three ways: explicitly (``normal=``, ``uniform=``),
from a ``seed`` (a Philox key; the same numbers on every device and backend), or from ``generator``,
by default the device's own generator.

Shapes: N images, Z continuous units, categorical variables of sizes K_1..K_D
(:class:`fastjvae.LatentSpec`).
"""

from fastjvae.functional.affine import random_affine
from fastjvae.functional.backends.choice import backend
from fastjvae.functional.backends.reference import (
    JointLatent,
    category_imbalance,
    information,
)
from fastjvae.functional.batch_parts import (
    Part,
    batch_mean,
    batch_places,
    batch_rows,
    batch_share,
    joined_rows,
    part_of_batch,
)
from fastjvae.functional.capacity import Capacity
from fastjvae.functional.gaussian import Gaussian, unit_interval
from fastjvae.functional.images import gather_images
from fastjvae.functional.joint import (
    JointLoss,
    LatentBlock,
    divergence_sums,
    joint_latent,
    joint_loss,
    kl_capacity_loss,
    latent_block,
    latent_sample,
)
from fastjvae.functional.latents import LatentSpec
from fastjvae.functional.losses import (
    bernoulli_reconstruction,
    capacity_loss,
    gaussian_reconstruction,
    kl_categorical,
    kl_gaussian,
    reconstruction,
)
from fastjvae.functional.noise import Noise, draw_seed
from fastjvae.functional.recording import record_row
from fastjvae.functional.sampling import gaussian_rsample, gumbel_softmax
from fastjvae.functional.shared import (
    SharedInformation,
    SharedLoss,
    shared_information,
    shared_loss,
)

__all__ = [
    "Capacity",
    "Gaussian",
    "JointLatent",
    "JointLoss",
    "LatentBlock",
    "LatentSpec",
    "Noise",
    "Part",
    "SharedInformation",
    "SharedLoss",
    "backend",
    "batch_mean",
    "batch_places",
    "batch_rows",
    "batch_share",
    "bernoulli_reconstruction",
    "capacity_loss",
    "category_imbalance",
    "divergence_sums",
    "draw_seed",
    "gather_images",
    "gaussian_reconstruction",
    "gaussian_rsample",
    "gumbel_softmax",
    "information",
    "joined_rows",
    "joint_latent",
    "joint_loss",
    "kl_capacity_loss",
    "kl_categorical",
    "kl_gaussian",
    "latent_block",
    "latent_sample",
    "part_of_batch",
    "random_affine",
    "reconstruction",
    "record_row",
    "shared_information",
    "shared_loss",
    "unit_interval",
]
