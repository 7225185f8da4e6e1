"""The result of every objective, and the terms of the bound that most of them share."""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from fastjvae import functional
from fastjvae.errors import ArgumentError
from fastjvae.functional import Gaussian, JointLatent, Noise
from fastjvae.functional.capacity import Capacity
from fastjvae.functional.checks import ChannelReduction
from fastjvae.functional.latents import LatentSpec


class LatentModel(Protocol):
    """The members of a model that an objective uses; :class:`fastjvae.JointVAE` has them."""

    training: bool
    temperature: float | Tensor  # of the Gumbel-softmax
    num_pixels: int  # H * W

    @property
    def spec(self) -> LatentSpec: ...

    @property
    def gaussian(self) -> Gaussian | None:
        """The likelihood of the pixels; None for Bernoulli."""
        ...

    def pictures(self, logits: Tensor) -> Tensor:
        """The decoder's logits as pictures in [0, 1]."""
        ...

    def in_value_range(self, unit: Tensor) -> Tensor:
        """Pictures in [0, 1] as images that the model encodes."""
        ...

    def encode_params(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> parameter rows (N, P)."""
        ...

    def decode_logits(self, latent_sample: Tensor) -> Tensor:
        """Sample rows (N, L) -> logits of the pixels (N, C, H, W)."""
        ...


class LossOutput(NamedTuple):
    """The loss of one batch and its terms.

    ``loss`` alone carries gradients. The other numbers are reported: detached, undivided, in nats
    per image. An objective of one's own is built from :mod:`fastjvae.functional`, whose results
    are differentiable.
    """

    loss: Tensor  # (), to call backward on: nats per image divided by the H * W pixels
    reconstruction: Tensor  # ()
    kl_cont: Tensor  # (Z,), batch mean per continuous unit
    kl_disc: Tensor  # (D,), batch mean per categorical variable
    category_mean: Tensor  # (sum K,), batch mean of the category probabilities
    capacity_cont: Tensor  # (), C_z(t); 0 where the objective has none
    capacity_disc: Tensor  # (), C_c(t); 0 where the objective has none
    extra: dict[str, Tensor]  # an objective's own scalars


class Objective(Protocol):
    """A training loss. The model and the trainer ask no more of it."""

    def loss(self, model: Any, x: Tensor, step: int | Tensor, noise: Noise) -> LossOutput:
        """Return the loss of images ``x`` at training step ``step``.

        ``model`` has what the objective asks for, :class:`LatentModel` or more.
        """
        ...


def call_if_offered(objective: Objective, method: str, *arguments: Any) -> Any:
    """Call what an objective may but need not offer; None where it does not."""
    function = getattr(objective, method, None)
    return None if function is None else function(*arguments)


def encode_rows(objective: Objective, model: LatentModel, x: Tensor) -> tuple[Tensor, ...]:
    """Parameter rows (N, P), and what else of each image the objective compares."""
    rows: tuple[Tensor, ...] | None = call_if_offered(objective, "encode_rows", model, x)
    return (model.encode_params(x),) if rows is None else rows


class BoundTerms(NamedTuple):
    """The terms of the evidence lower bound of a batch, differentiable, in nats per image."""

    params: Tensor  # (N, P)
    latent: JointLatent
    reconstruction: Tensor  # ()
    kl: Tensor  # (), KL_z + KL_c


def bound_terms(
    model: LatentModel, x: Tensor, noise: Noise, channel_reduction: ChannelReduction
) -> BoundTerms:
    """Encode, sample and decode ``x``."""
    params = model.encode_params(x)
    latent = functional.joint_latent(
        params,
        model.spec,
        model.temperature,
        seed=noise.seed,
        normal=noise.normal,
        uniform=noise.uniform,
        generator=noise.generator,
        training=model.training,
    )
    logits = model.decode_logits(latent.sample)
    reconstruction = functional.reconstruction(logits, x, model.gaussian, channel_reduction)
    kl = latent.kl_cont.sum() + latent.kl_disc.sum()
    return BoundTerms(params, latent, reconstruction, kl)


def with_addend(out: LossOutput, addend: Tensor, name: str, told: Tensor) -> LossOutput:
    """The loss of a batch with ``addend`` added to it, and ``told`` by its name in ``extra``."""
    extra = {**out.extra, name: told.detach()}
    return replaced(out, loss=out.loss + addend, extra=extra)


def replaced(out: LossOutput, **changes: Any) -> LossOutput:
    """What ``_replace`` does, which torch.compile of PyTorch 2.11 cannot trace."""
    fields = {name: getattr(out, name) for name in LossOutput._fields}
    return LossOutput(**{**fields, **changes})


def loss_output(
    model: LatentModel,
    total: Tensor,
    terms: BoundTerms,
    extra: dict[str, Tensor] | None = None,
    own: Tensor | None = None,
) -> LossOutput:
    """The output of an objective without capacities of its own for units and variables.

    ``total`` is the model's loss, undivided; ``own`` that of the objective's own parameters, of
    which only the gradient is in the output.
    """
    zero = torch.zeros_like(terms.reconstruction)
    loss = total / model.num_pixels
    if own is not None:
        loss = loss + (own - own.detach())
    return LossOutput(
        loss,
        terms.reconstruction.detach(),
        terms.latent.kl_cont.detach(),
        terms.latent.kl_disc.detach(),
        terms.latent.category_mean.detach(),
        capacity_cont=zero,
        capacity_disc=zero,
        extra={name: tensor.detach() for name, tensor in (extra or {}).items()},
    )


def check_model(model: LatentModel, spec: LatentSpec) -> None:
    """Raise ArgumentError unless the model has the latent variables that an objective is for."""
    if model.spec != spec:
        raise ArgumentError(
            f"the objective is for the latent variables {spec.to_dict()},"
            f" the model has {model.spec.to_dict()}"
        )


def needed(capacity: Capacity | None, size: int, name: str, latents: str) -> Capacity | None:
    """The capacity of some latent variables; None where the model has none of them.

    Raises:
        ArgumentError: it has them, but there is no capacity.
    """
    if size and capacity is None:
        raise ArgumentError(
            f"the model has {latents} but the objective has no"
            f" {name}=Capacity(lo, hi, iters, gamma); gamma=0.0 leaves them free"
        )
    return capacity if size else None
