"""Checks of arguments that several modules share: one sentence with what was passed."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import Parameter

from fastjvae._numbers import is_finite, is_integer, is_real, shown
from fastjvae.errors import ArgumentError
from fastjvae.functional.gaussian import Gaussian
from fastjvae.functional.latents import LatentSpec

ChannelReduction = Literal["mean", "sum"]
DiscreteMeasure = Literal["kl", "information"]
_ROUNDING = 1e-3  # a quarter of a step of an 8-bit image
_CHANNEL_REDUCTIONS, _DISCRETE_MEASURES = get_args(ChannelReduction), get_args(DiscreteMeasure)


def check_matrix(name: str, tensor: Tensor) -> None:
    """Raise ArgumentError unless the tensor is a floating-point matrix."""
    if tensor.dim() != 2 or not tensor.is_floating_point():
        raise ArgumentError(
            f"{name} must be a floating-point matrix (N, K),"
            f" got {tensor.dtype} of shape {tuple(tensor.shape)}"
        )


def check_categories(logits: Tensor) -> None:
    """Raise ArgumentError unless these can be the logits of a categorical variable."""
    check_matrix("logits", logits)
    if logits.shape[1] < 1:
        raise ArgumentError(
            f"logits (N, K) must be of at least 1 category, got shape {tuple(logits.shape)}"
        )


def check_gaussian(mean: Tensor, logvar: Tensor) -> None:
    """Raise ArgumentError unless both are floating-point matrices of one shape."""
    check_matrix("mean", mean)
    if mean.shape != logvar.shape:
        raise ArgumentError(
            "mean and logvar must have one shape (N, Z),"
            f" got {tuple(mean.shape)} and {tuple(logvar.shape)}"
        )
    check_device("logvar", logvar, mean)


def check_params(params: Tensor, spec: LatentSpec) -> None:
    """Raise ArgumentError unless ``params`` are parameter rows of ``spec``."""
    check_matrix("params", params)
    if params.shape[1] != spec.num_params:
        raise ArgumentError(
            f"params must have {spec.num_params} columns for {spec.to_dict()},"
            f" got shape {tuple(params.shape)}"
        )


def check_images(logits: Tensor, target: Tensor) -> None:
    """Raise ArgumentError unless these can be logits and target of a reconstruction."""
    if logits.shape != target.shape or logits.dim() != 4:
        raise ArgumentError(
            "logits and target must have one shape (N, C, H, W),"
            f" got {tuple(logits.shape)} and {tuple(target.shape)}"
        )
    if not (target.dtype == torch.uint8 or target.is_floating_point()):
        raise ArgumentError(
            f"target images must be uint8 (0..255) or floating point (0..1), got {target.dtype}"
        )
    check_device("target", target, logits)


def check_likelihood(gaussian: Gaussian | None, like: Tensor) -> None:
    """Raise ArgumentError unless a Gaussian's scale and ends can be those of images."""
    if gaussian is None:
        return
    check_value_range((gaussian.low, gaussian.high))
    if isinstance(gaussian.log_scale, Tensor):
        _check_scalar("log_scale", gaussian.log_scale, like)
    elif not is_finite(gaussian.log_scale):
        raise ArgumentError(
            f"log_scale must be a finite number or a tensor, got {shown(gaussian.log_scale)}"
        )


def check_value_range(value_range: Sequence[float]) -> None:
    """Raise ArgumentError unless these are two finite numbers in ascending order."""
    ends = tuple(value_range) if isinstance(value_range, Sequence) else ()
    if len(ends) != 2 or not all(map(is_finite, ends)) or not ends[0] < ends[1]:
        raise ArgumentError(
            f"value_range must be two finite numbers, the lower end first, such as (-1.0, 1.0),"
            f" got {shown(value_range)}"
        )


def check_unit_interval(images: Tensor, value_range: tuple[float, float] = (0.0, 1.0)) -> None:
    """Raise ArgumentError unless floating images lie in their interval; waits for their device.

    A thousandth is left for what resampling rounds. What is not finite passes: it shows in the
    loss. Where nothing can be read, such as inside a compiler or a transform, nothing is checked.
    """
    if (
        not images.is_floating_point()
        or not images.numel()
        or type(images) not in (Tensor, Parameter)
        or torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
    ):
        return
    low, high = (float(end) for end in images.detach().aminmax())
    least, most = value_range
    room = _ROUNDING * (most - least)
    if not (low < least - room or high > most + room):  # also where they are no numbers
        return
    hint = ": divide 0..255 by 255 or pass them as uint8, and do not normalise; a Gaussian"
    hint += " likelihood takes another range, value_range=(lowest, highest)"
    raise ArgumentError(
        f"floating images must lie between {least:.4g} and {most:.4g},"
        f" got values from {low:.4g} to {high:.4g}{hint if (least, most) == (0, 1) else ''}"
    )


def check_temperature(tau: float | Tensor) -> None:
    """Raise ArgumentError unless ``tau`` is a number above 0; a tensor would have to be read."""
    if isinstance(tau, Tensor) or (is_finite(tau) and tau > 0):
        return
    right = "finite" if is_real(tau) and tau > 0 else "a number above 0"
    raise ArgumentError(f"the temperature must be {right}, got {shown(tau)}")


def check_tau(tau: float | Tensor, like: Tensor) -> None:
    """Raise ArgumentError unless ``tau`` is a temperature for tensors like ``like``."""
    check_temperature(tau)
    if isinstance(tau, Tensor):
        _check_scalar("the temperature", tau, like)


def check_gamma(gamma: float | Tensor, like: Tensor) -> None:
    """Raise ArgumentError unless a weight is a number, or a scalar tensor beside ``like``."""
    if isinstance(gamma, Tensor):
        _check_scalar("gamma", gamma, like)
    else:
        check_weight("gamma", gamma)


def check_device(name: str, tensor: Tensor, like: Tensor) -> None:
    """Raise ArgumentError unless the tensor is on the device of ``like``."""
    if tensor.device != like.device:
        raise ArgumentError(f"{name} must be on {like.device}, got it on {tensor.device}")


def _check_scalar(name: str, scalar: Tensor, like: Tensor) -> None:
    """A scalar of the host is welcome on the host only: elsewhere it would have to be copied."""
    if scalar.numel() != 1 or scalar.device != like.device:
        raise ArgumentError(
            f"{name} as a tensor must hold one number on {like.device},"
            f" got shape {tuple(scalar.shape)} on {scalar.device}"
        )


def check_step(step: int | Tensor, like: Tensor) -> None:
    """Raise ArgumentError unless ``step`` is a training step for tensors like ``like``."""
    if isinstance(step, Tensor):
        _check_scalar("step", step, like)
        if step.is_floating_point():
            raise ArgumentError(f"step must be an integer tensor, got {step.dtype}")
        return
    if not is_integer(step) or not 0 <= step < 2**63:
        raise ArgumentError(f"step must be a 64-bit integer of at least 0, got {shown(step)}")
    # torch.compile cannot trace the question, and captures its graphs itself.
    capturing = not torch.compiler.is_compiling() and like.device.type == "cuda"
    if capturing and torch.cuda.is_current_stream_capturing():
        raise ArgumentError(
            f"step must be a tensor on {like.device} while a CUDA graph is captured, got {step!r},"
            f" which every replay would repeat"
        )


def check_weight(name: str, value: float) -> None:
    """Raise ArgumentError unless ``value`` can weigh a term of a loss."""
    if not (is_finite(value) and value >= 0):
        raise ArgumentError(f"{name} must be a finite number of at least 0, got {shown(value)}")


def check_count(name: str, value: int) -> None:
    """Raise ArgumentError unless ``value`` can be a number of things to make."""
    if not is_integer(value) or not 0 <= value < 2**31:
        raise ArgumentError(f"{name} must be an integer from 0 to 2147483647, got {shown(value)}")


def check_channel_reduction(name: str) -> None:
    """Raise ArgumentError unless ``name`` is one of :data:`ChannelReduction`."""
    if name not in _CHANNEL_REDUCTIONS:
        raise ArgumentError(f"channel_reduction must be 'mean' or 'sum', got {name!r}")


def check_disc_measure(name: str) -> None:
    """Raise ArgumentError unless ``name`` is one of :data:`DiscreteMeasure`."""
    if name not in _DISCRETE_MEASURES:
        raise ArgumentError(f"disc_measure must be 'kl' or 'information', got {name!r}")


def check_seed(seed: int) -> None:
    """Raise ArgumentError unless ``seed`` is an integer from 0 to 2^31 - 1."""
    if not (is_integer(seed) and 0 <= seed < 2**31):
        raise ArgumentError(f"seed must be between 0 and 2147483647, got {shown(seed)}")
