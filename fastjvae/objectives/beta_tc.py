"""beta-TCVAE (Chen et al. 2018, arXiv:1802.04942), also with categorical variables.

The KL of the bound is the sum of three parts (their eq. 2): the mutual information of image and
code, the total correlation (TC) of the code, and the KL of each variable to its prior,

    KL = I(z; n) + TC + sum_d KL(q(z_d) || p(z_d)),   TC = KL(q(z) || prod_d q(z_d)),

where d runs over continuous units and categorical variables. With their alpha = gamma = 1 the
three, TC weighed by beta, are KL + (beta - 1) TC, and this KL is known in closed form.

q(z) = mean_n q(z | n) is estimated by their minibatch-weighted sampling, in a batch of M images

    E[log q(z)] ~ mean_i log( 1/M sum_j q(z_i | n_j) ),   z_i ~ q(z | n_i).

Their weights 1/(N M) for N images in all lower each such logarithm by log N, which no gradient
sees; without them the three parts are of the batch's own mixture.

A categorical variable c counts with its probability q(c | n) = softmax(logits)[c]: the KL is the
categorical one, not that of the relaxed sample's density. Its category is summed over instead of
drawn, which needs no relaxation and has the exact gradient:

    E[log q(c)] = sum_k p_k log p_k,   p the batch's category means
    E[log q(z, c)] = mean_i sum_k q(k | n_i) log( 1/M sum_j q(z_i | n_j) q(k | n_j) ).

With several variables the sum over all combinations would be too large: each is summed over in
turn while the others have the category that the Gumbel noise draws, the argmax of their relaxed
sample. The value is the mean over the turns, and the gradient by each variable's probabilities is
that of its own turn, as for a function of independent discrete variables (Titsias &
Lazaro-Gredilla 2015, local expectation gradients). Both are unbiased for the batch's mixture.

It takes M^2 (Z + sum K) numbers of memory.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fastjvae import functional
from fastjvae.functional import Noise
from fastjvae.functional.checks import ChannelReduction, check_channel_reduction, check_weight
from fastjvae.functional.latents import LatentSpec, largest_kl
from fastjvae.objectives.base import LatentModel, LossOutput, bound_terms, loss_output

_LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class BetaTCObjective:
    """reconstruction + KL + (beta - 1) TC; with ``beta=1`` the plain VAE.

    ``extra`` has the three parts of the KL, in nats: ``mutual_information``, ``tc`` and
    ``dimension_kl``. They are of the batch's own mixture, so the first is at most log M.

    The terms compare every image of a batch with every other: where a batch is in parts see
    :func:`fastjvae.functional.batch_rows`.

    Args:
        beta: weight of the total correlation.
        channel_reduction: see :func:`fastjvae.functional.bernoulli_reconstruction`.
    """

    beta: float = 4.0
    channel_reduction: ChannelReduction = "mean"

    def __post_init__(self) -> None:
        check_channel_reduction(self.channel_reduction)
        check_weight("beta", self.beta)

    def loss(self, model: LatentModel, x: Tensor, step: int | Tensor, noise: Noise) -> LossOutput:
        terms = bound_terms(model, x, noise, self.channel_reduction)
        params, sample = functional.batch_rows(terms.params, terms.latent.sample)
        tc, dimension_kl = decompose(params, sample, model.spec)
        total = terms.reconstruction + terms.kl + (self.beta - 1) * tc
        extra = {
            "mutual_information": terms.kl - tc - dimension_kl,
            "tc": tc,
            "dimension_kl": dimension_kl,
        }
        return loss_output(model, total, terms, extra)


class Decomposition(NamedTuple):
    """The parts of the KL that are not mutual information, nats."""

    tc: Tensor  # ()
    dimension_kl: Tensor  # (), sum over the variables


def decompose(params: Tensor, sample: Tensor, spec: LatentSpec) -> Decomposition:
    """Total correlation and dimension-wise KL of the mixture of a batch's posteriors.

    Args:
        params: parameter rows (M, P).
        sample: sample rows (M, L) of the same images.
        spec: sizes of the latent variables.
    """
    log_m = math.log(max(len(params), 1))
    density = _log_densities(params, sample, spec)  # (M, M, Z)
    log_p = [params[:, logits].log_softmax(dim=1) for logits in spec.logits]  # (M, K) each
    drawn = [sample[:, columns].argmax(dim=1) for columns in spec.categories]  # (M,) each
    joint = _expected_log_joint(density.sum(dim=2), log_p, drawn) - log_m
    units = (density.logsumexp(dim=1) - log_m).mean(dim=0).sum()
    means = torch.cat([params.new_zeros(0), *(p.exp().mean(dim=0) for p in log_p)])
    # KL(category mean || uniform) = log K + E[log q(c)]
    imbalance = functional.category_imbalance(means, spec).sum()
    tc = joint - units - (imbalance - largest_kl(spec.disc))
    square = params[:, spec.mean].square() + params[:, spec.logvar].exp()
    prior = -0.5 * (square + _LOG_2PI).sum(dim=1).mean()  # sum_d E[log p(z_d)]
    return Decomposition(tc, units - prior + imbalance)


def _log_densities(params: Tensor, sample: Tensor, spec: LatentSpec) -> Tensor:
    """log q(z_i | n_j) of every unit: (M, M, Z), i before j."""
    mean, logvar = params[:, spec.mean], params[:, spec.logvar]
    z = sample[:, : spec.cont]
    # Divided before it is squared: 1 / variance overflows where 1 / deviation does not.
    deviations = (z[:, None] - mean[None]) * (-0.5 * logvar).exp()[None]
    return -0.5 * (deviations.square() + logvar[None] + _LOG_2PI)


def _expected_log_joint(density: Tensor, log_p: list[Tensor], drawn: list[Tensor]) -> Tensor:
    """mean_i E[log sum_j q(z_i, c | n_j)] over the categories c, ().

    ``density`` (M, M) is that of all units, log q(z_i | n_j).
    """
    if not log_p:
        return density.logsumexp(dim=1).mean()
    given = [p.t()[c] for p, c in zip(log_p, drawn, strict=True)]  # log q(c_i | n_j), (M, M) each
    values = []
    for turn, variable in enumerate(log_p):
        others = sum((g for v, g in enumerate(given) if v != turn), start=density)
        log_q = (others[:, :, None] + variable[None]).logsumexp(dim=1)  # (M, K)
        p = variable.exp()
        values.append((p.detach() * log_q).sum(dim=1) / len(log_p))
        values.append(((p - p.detach()) * log_q.detach()).sum(dim=1))
    total: Tensor = sum(values[1:], start=values[0])
    return total.mean()
