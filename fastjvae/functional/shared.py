"""The information that the categories of an image share with those of its group, in a loss."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from fastjvae._numbers import is_integer
from fastjvae.errors import ArgumentError
from fastjvae.functional.backends import shared as reference
from fastjvae.functional.backends.choice import use_triton
from fastjvae.functional.backends.shared import SharedInformation, joint_of, shared_by
from fastjvae.functional.capacity import Capacity
from fastjvae.functional.checks import (
    check_device,
    check_gamma,
    check_matrix,
    check_params,
    check_step,
)
from fastjvae.functional.latents import LatentSpec

__all__ = [
    "SharedInformation",
    "SharedLoss",
    "joint_of",
    "shared_by",
    "shared_information",
    "shared_loss",
]
# The largest head that the kernels take: one program adds up the joint distributions, K x K numbers
# each, and matrix products of the library take less time for larger ones.
_LARGEST_HEAD = 256


class SharedLoss(NamedTuple):
    """The result of :func:`shared_loss`, nats; ``loss`` alone carries gradients."""

    loss: Tensor  # (), divided by the pixels
    capacity: Tensor  # (), C_c(t)
    information: Tensor  # (), I of all variables
    imbalance: Tensor  # (), B of all variables
    overclustered_information: Tensor  # (), I' of the further head; 0 without one


def shared_loss(
    loss: Tensor,
    params: Tensor,
    spec: LatentSpec | Mapping[str, Any],
    step: int | Tensor,
    *,
    disc: Capacity,
    group: int,
    pixels: int,
    balance: float,
    further: Tensor | None = None,
) -> SharedLoss:
    """loss + gamma (|I - C_c(t)| + balance B) / pixels, and a further head's terms.

    I and B are those of :func:`fastjvae.objectives.shared_information`. A further head of K'
    categories adds gamma (log K' - I' + balance B') / pixels.

    Args:
        loss: () that the penalties are added to, divided by the pixels.
        params: (N, P) parameter rows of the whole batch; images of a group follow one another.
        spec: sizes of the latent variables.
        step: training step t, counted from 1; an int or an integer tensor of one element on the
            device. While a CUDA graph is being captured it must be a tensor.
        disc: capacity of I, at most sum log K, and the weight gamma.
        group: images of a group, at least 2.
        pixels: H W of the images.
        balance: weight of the imbalance beside the information.
        further: (N, K') logits of the further head, in the dtype of ``params``.

    Raises:
        ArgumentError: the rows are not a number of whole groups; shapes or devices do not fit.
    """
    spec = LatentSpec.from_dict(spec)
    check_params(params, spec)
    _check_groups(params, group)
    check_step(step, params)
    check_gamma(disc.gamma, params)
    check_device("the loss", loss, params)
    if further is not None:
        check_matrix("the further head's logits", further)
        check_device("the further head's logits", further, params)
        if len(further) != len(params) or further.dtype != params.dtype:
            raise ArgumentError(
                f"the further head's logits must have the rows and the dtype of the parameters,"
                f" {len(params)} of {params.dtype}, got {len(further)} of {further.dtype}"
            )
    largest = max([*spec.disc, 0 if further is None else further.shape[1]])
    terms = reference.SharedTerms(step, disc, group, balance, pixels)
    found: tuple[Tensor, ...]
    if use_triton(params, largest, _LARGEST_HEAD, gamma=disc.gamma):
        from fastjvae.functional.backends.triton import shared as kernels

        total, report = kernels.shared_loss(loss, params, spec, further, terms)
        found = (total, *report)
    else:
        found = reference.shared_loss(loss, params, spec, further, terms)
    return SharedLoss(found[0], *[number.detach() for number in found[1:]])


def shared_information(
    params: Tensor, spec: LatentSpec | Mapping[str, Any], group: int
) -> SharedInformation:
    """The two terms alone, see :func:`fastjvae.objectives.shared_information`.

    Plain PyTorch on every device; :func:`shared_loss` is the fused form.
    """
    spec = LatentSpec.from_dict(spec)
    check_params(params, spec)
    _check_groups(params, group)
    return reference.shared_information(params, spec, group)


def _check_groups(params: Tensor, group: int) -> None:
    if not is_integer(group) or group < 2 or len(params) % group:
        raise ArgumentError(
            f"the images of a batch must be groups of {group}, at least 2 each, one after the"
            f" other, got {len(params)} images"
        )
