"""FactorVAE (Kim & Mnih 2018, arXiv:1802.05983), also with categorical variables.

The loss is that of the VAE plus gamma times the total correlation of the aggregate posterior,

    TC = KL(q(z) || prod_d q(z_d)) = E_q(z)[log q(z) - log prod_d q(z_d)],

whose logarithm is the log odds of a discriminator that tells sample rows from rows in which each
variable comes from another image of the batch (their algorithms 1 and 2). The discriminator learns
in the same step, on the same rows, from a cross-entropy of its own.

A variable is one continuous unit, or one whole categorical variable: its K columns change places
together. Its sample is the relaxed one, as the decoder gets it; because the category is a function
of it, the TC that is penalised is at least that of the categories.

The paper permutes rows of a second batch. Here they are the same batch's, as in Locatello et al.'s
disentanglement_lib, which saves encoding a second one; the permuted rows have the same marginals.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastjvae import functional
from fastjvae._numbers import is_finite, is_integer, shown
from fastjvae.errors import ArgumentError
from fastjvae.functional import Noise
from fastjvae.functional.checks import (
    ChannelReduction,
    check_channel_reduction,
    check_seed,
    check_step,
    check_weight,
)
from fastjvae.functional.latents import LatentSpec
from fastjvae.functional.weights import Seeded, he_normal_
from fastjvae.objectives.base import LatentModel, LossOutput, bound_terms, check_model, loss_output

_SLOPE = 0.2  # of the leaky ReLU, as in disentanglement_lib; the paper names none
_BETAS = (0.5, 0.9)  # of the discriminator's Adam (paper, appendix A)


class FactorObjective(nn.Module):
    """reconstruction + KL_z + KL_c + gamma TC, and the discriminator that estimates TC.

    ``LossOutput.loss`` has the value of the model's loss alone. Its gradient by the model is that
    of this loss with the discriminator held fixed, and its gradient by the discriminator that of
    the cross-entropy with the rows held fixed: one backward pass and one optimizer serve both.

    ``extra`` has ``tc`` in nats, ``discriminator_loss`` in nats per row (log 2 where it knows
    nothing) and ``discriminator_accuracy``.

    In a loop of one's own, the optimizer gets ``objective.parameter_groups()`` as well.

    >>> from fastjvae import JointVAE
    >>> model = JointVAE((1, 32, 32), {"cont": 4, "disc": [3]})
    >>> objective = FactorObjective(model.spec, gamma=10.0, layers=2, width=64)
    >>> out = model.loss(torch.rand(8, 1, 32, 32), 1, objective)
    >>> out.loss.backward()
    >>> sorted(out.extra)
    ['discriminator_accuracy', 'discriminator_loss', 'tc']

    Args:
        spec: latent variables of the model.
        gamma: weight of the total correlation; Locatello et al. (2019) try 10 to 100.
        layers, width: hidden layers of the discriminator, and units of each.
        lr: learning rate of the discriminator's Adam, per step.
        channel_reduction: see :func:`fastjvae.functional.bernoulli_reconstruction`.
        seed: of the discriminator's initialisation and of the permutations, from 0 to 2^31 - 1.

    Raises:
        ArgumentError: a setting is out of range.
    """

    def __init__(
        self,
        spec: LatentSpec | Mapping[str, Any],
        gamma: float = 10.0,
        *,
        layers: int = 6,
        width: int = 1000,
        lr: float = 1e-4,
        channel_reduction: ChannelReduction = "mean",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.spec = LatentSpec.from_dict(spec)
        check_channel_reduction(channel_reduction)
        check_weight("gamma", gamma)
        if not (is_finite(lr) and lr > 0):
            raise ArgumentError(
                f"the discriminator's lr must be a finite number above 0, got {shown(lr)}"
            )
        check_seed(seed)
        self.gamma, self.lr, self.channel_reduction, self.seed = gamma, lr, channel_reduction, seed
        with Seeded(seed):
            self.discriminator = Discriminator(self.spec.sample_dim, layers, width)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The discriminator's parameters with their settings, for Adam."""
        return [{"params": list(self.parameters()), "lr": self.lr, "betas": _BETAS}]

    def loss(self, model: LatentModel, x: Tensor, step: int | Tensor, noise: Noise) -> LossOutput:
        check_model(model, self.spec)
        terms = bound_terms(model, x, noise, self.channel_reduction)
        _, sample = functional.batch_rows(terms.params, terms.latent.sample)
        tc = self.discriminator(sample, frozen=True).mean()
        total = terms.reconstruction + terms.kl + self.gamma * tc

        rows = sample.detach()
        permuted = permute(rows, self._orders(rows, step), self.spec)
        odds, permuted_odds = self.discriminator(torch.cat([rows, permuted])).chunk(2)
        own = -(F.logsigmoid(odds) + F.logsigmoid(-permuted_odds)).mean() / 2
        right = torch.cat([odds > 0, permuted_odds < 0]).to(odds.dtype).mean()

        extra = {"tc": tc, "discriminator_loss": own, "discriminator_accuracy": right}
        return loss_output(model, total, terms, extra, own * functional.batch_share(len(x)))

    def _orders(self, rows: Tensor, step: int | Tensor) -> Tensor:
        """A permutation of the batch for each variable of each step: (M, Z + D) int64.

        They depend on the seed and the step alone, so they are the same on every process and
        after a resume.
        """
        check_step(step, rows)
        key = torch.full((1,), self.seed << 32, dtype=torch.int64, device=rows.device) + step
        zeros = torch.zeros(len(rows), self.spec.cont + len(self.spec.disc), device=rows.device)
        # Normals rank as well as any numbers, and a GPU draws them in one launch.
        return functional.gaussian_rsample(zeros, zeros, seed=key).argsort(dim=0, stable=True)


def permute(rows: Tensor, orders: Tensor, spec: LatentSpec) -> Tensor:
    """Sample rows (M, L) with each variable in an order (M,) of its own, a column of ``orders``."""
    units = rows[:, : spec.cont].gather(0, orders[:, : spec.cont])
    variables = [
        rows[:, columns][orders[:, spec.cont + number]]
        for number, columns in enumerate(spec.categories)
    ]
    return torch.cat([units, *variables], dim=1)


class Discriminator(nn.Module):
    """Sample rows (N, L) -> log odds (N,) that they come from q(z) and not from prod_d q(z_d).

    Hidden layers with leaky ReLUs and two logits, whose difference the log odds are. They are 0
    before the first step, so that a discriminator that has learned nothing penalises nothing.
    """

    def __init__(self, inputs: int, layers: int, width: int) -> None:
        super().__init__()
        for name, value in (("layers", layers), ("width", width)):
            if not is_integer(value) or value < 1:
                raise ArgumentError(
                    f"the discriminator's {name} must be an integer of at least 1, got {value!r}"
                )
        sizes = [inputs, *[width] * layers]
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.head = nn.Linear(width, 2)
        for layer in self.hidden:
            # PyTorch's default would shrink the rows to a two-hundredth in six such layers.
            he_normal_(layer, _SLOPE)  # type: ignore[arg-type]
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, rows: Tensor, frozen: bool = False) -> Tensor:
        """``frozen`` gives the gradient by the rows alone."""
        compute = rows.dtype
        rows = rows.to(self.head.weight.dtype)
        for layer in self.hidden:
            rows = F.leaky_relu(_linear(layer, rows, frozen), _SLOPE)
        logits = _linear(self.head, rows, frozen).to(compute)
        return logits[:, 0] - logits[:, 1]


def _linear(layer: Any, x: Tensor, frozen: bool) -> Tensor:
    weight, bias = layer.weight, layer.bias
    return F.linear(x, weight.detach(), bias.detach()) if frozen else F.linear(x, weight, bias)
