"""Training objectives behind one interface: ``loss(model, x, step, noise) -> LossOutput``.

JointVAE (paper eq. 8), beta-VAE (Higgins et al. 2017), CC-beta-VAE (Burgess et al. 2018), FactorVAE
(Kim & Mnih 2018) and beta-TCVAE (Chen et al. 2018).
"""

from fastjvae.functional import SharedInformation
from fastjvae.objectives.base import (
    LossOutput,
    Objective,
    bound_terms,
    call_if_offered,
    encode_rows,
    loss_output,
)
from fastjvae.objectives.beta import BetaObjective, CCBetaObjective
from fastjvae.objectives.beta_tc import BetaTCObjective
from fastjvae.objectives.drawn import drawn_information
from fastjvae.objectives.factor import FactorObjective
from fastjvae.objectives.joint import JointObjective, paper_mnist
from fastjvae.objectives.labels import label_cross_entropy, with_label_loss
from fastjvae.objectives.shared import SharedObjective, shared_information

__all__ = [
    "BetaObjective",
    "BetaTCObjective",
    "CCBetaObjective",
    "FactorObjective",
    "JointObjective",
    "LossOutput",
    "Objective",
    "SharedInformation",
    "SharedObjective",
    "bound_terms",
    "call_if_offered",
    "drawn_information",
    "encode_rows",
    "label_cross_entropy",
    "loss_output",
    "paper_mnist",
    "shared_information",
    "with_label_loss",
]
