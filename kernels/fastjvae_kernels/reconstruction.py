"""Negative log likelihood of images on logits l: one kernel forward, one backward.

    Bernoulli  loss = sum of max(l, 0) - l t + log(1 + exp(-|l|)),   dl = (sigmoid(l) - t) upstream
    Gaussian   loss = sum of r^2 / 2 + log s + log(2 pi) / 2,   r = (w / s) (1/2 + l/4 - t)
               dl = r (w / s) / 4 upstream,   d log s = (elements - sum of r^2) upstream

Targets are uint8 (t / 255) or floats; a Gaussian's floats lie between its ends low and
high = low + w, of which t is the place between 0 and 1. Its scale s is in their unit, and log s is
a number of the host or of the device. The gradient by it needs no sum of its own: sum of
r^2 = 2 (loss - elements (log s + log(2 pi) / 2)), and the loss is there.

Each program sums a range of elements into one partial; the backward kernel reads logits, target and
the upstream scalar on the device and writes the gradient in the logits' layout: 14 bytes an element
for float32 logits and uint8 targets, forward and backward together. Writing the gradient in the
forward pass would move 4 + 1 + 4 bytes there and then 4 + 4 more to multiply it with an upstream
scalar other than 1, which is not fewer.

Where the reconstruction belongs to the joint loss, the first program of the backward kernel
also turns the report of `joint_loss.py` and the upstream scalar into the gradient of the latent
kernel's partials, which would be a launch of its own otherwise.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastjvae_kernels.arguments import number
from fastjvae_kernels.blocks import MANY_PROGRAMS, warps
from fastjvae_kernels.joint_loss import REPORT_HEAD, REPORT_SCALARS
from fastjvae_kernels.math import device_number

TINY = tl.constexpr(1.1754943508222875e-38)  # the smallest normal float32
_HALF_LOG_2PI = tl.constexpr(0.9189385332046727)


@triton.jit
def _target(target_ptr, at, mask, low, width, GAUSSIAN: tl.constexpr):
    t = tl.load(target_ptr + at, mask=mask, other=0)
    if target_ptr.dtype.element_ty == tl.uint8:
        return t.to(tl.float32) / 255.0
    if GAUSSIAN:
        return (t.to(tl.float32) - low) / width
    return t.to(tl.float32)


@triton.jit
def _range(first, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    """Indices of BLOCK elements: int32, or int64 where they or offsets may reach 2^31."""
    span = tl.arange(0, BLOCK)
    return first + (span.to(tl.int64) if WIDE else span)


@triton.jit
def _offset(index, S1, S2, S3, s0, s1, s2, s3):
    """Offset of element `index` of a (S0, S1, S2, S3) array with strides s0..s3."""
    i3 = index % S3
    index = index // S3
    i2 = index % S2
    index = index // S2
    return (index // S1) * s0 + (index % S1) * s1 + i2 * s2 + i3 * s3


# Sizes and strides of the four dimensions stand in the order of the logits' memory, from slow to
# fast, so that reads of the logits and writes of their gradient run along it. FLAT: all arrays are
# dense in that order and an element's index is its offset.


@triton.jit
def reconstruction_forward_kernel(
    logits_ptr, l0, l1, l2, l3,  # strides
    target_ptr, t0, t1, t2, t3,
    partials_ptr,  # (programs,) float32 out
    log_scale_ptr,  # () float, or unused
    log_scale, low, width,  # of a Gaussian
    elements, per_program, S1, S2, S3,
    FLAT: tl.constexpr, WIDE: tl.constexpr,
    GAUSSIAN: tl.constexpr, SCALE_ON_DEVICE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    if GAUSSIAN:
        log_scale = device_number(log_scale_ptr, log_scale, SCALE_ON_DEVICE)
        sharpness = width * tl.exp(-log_scale)
    begin = (program.to(tl.int64) if WIDE else program) * per_program
    end = tl.minimum(begin + per_program, elements)
    total = tl.zeros((BLOCK,), tl.float32)
    for first in range(begin, end, BLOCK):
        index = _range(first, BLOCK, WIDE)
        mask = index < end
        logits_at = index if FLAT else _offset(index, S1, S2, S3, l0, l1, l2, l3)
        target_at = index if FLAT else _offset(index, S1, S2, S3, t0, t1, t2, t3)
        l = tl.load(logits_ptr + logits_at, mask=mask, other=0.0).to(tl.float32)  # noqa: E741
        t = _target(target_ptr, target_at, mask, low, width, GAUSSIAN)
        if GAUSSIAN:
            r = sharpness * (0.5 + 0.25 * l - t)
            loss = 0.5 * r * r + (log_scale + _HALF_LOG_2PI)
        else:
            loss = tl.where(l > 0, l, 0.0 * l) - l * t + tl.log(1.0 + tl.exp(-tl.abs(l)))
        total += tl.where(mask, loss, 0.0)
    tl.store(partials_ptr + program, tl.sum(total, axis=0))


@triton.jit
def reconstruction_backward_kernel(
    logits_ptr, l0, l1, l2, l3,
    target_ptr, t0, t1, t2, t3,
    grad_ptr, g0, g1, g2, g3,  # out
    upstream_ptr,  # () float, the loss's
    scale,  # the derivative of the loss by the sum of the partials
    log_scale_ptr,  # () float, or unused
    log_scale, low, width,  # of a Gaussian
    grad_log_scale_ptr,  # () out, or unused
    count,  # elements, as a float
    reconstruction_ptr,  # () of the forward pass, or unused
    reconstruction_scale,  # the derivative of the loss by it
    report_ptr,  # (5 + Z + D + C,) of the joint loss, or unused
    grad_sums_ptr,  # (Z + D + C,) float32 out: of the sums over rows of divergences
    sums_scale,  # the derivative of a batch mean by its sum over rows
    elements, S1, S2, S3, Z, D, C,
    FLAT: tl.constexpr, WIDE: tl.constexpr, DIVERGE: tl.constexpr, INFORMATION: tl.constexpr,
    GAUSSIAN: tl.constexpr, SCALE_ON_DEVICE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    upstream = tl.load(upstream_ptr).to(tl.float32)
    index = _range((program.to(tl.int64) if WIDE else program) * BLOCK, BLOCK, WIDE)
    mask = index < elements
    logits_at = index if FLAT else _offset(index, S1, S2, S3, l0, l1, l2, l3)
    target_at = index if FLAT else _offset(index, S1, S2, S3, t0, t1, t2, t3)
    grad_at = index if FLAT else _offset(index, S1, S2, S3, g0, g1, g2, g3)
    l = tl.load(logits_ptr + logits_at, mask=mask, other=0.0).to(tl.float32)  # noqa: E741
    t = _target(target_ptr, target_at, mask, low, width, GAUSSIAN)
    if GAUSSIAN:
        log_scale = device_number(log_scale_ptr, log_scale, SCALE_ON_DEVICE)
        sharpness = width * tl.exp(-log_scale)
        grad = (sharpness * (0.5 + 0.25 * l - t)) * (0.25 * sharpness) * (upstream * scale)
        if SCALE_ON_DEVICE and program == 0:
            # scale (count - sum of r^2), the sum of r^2 by the reconstruction that it gave
            constant = scale * count * (log_scale + _HALF_LOG_2PI)
            squares = 2.0 * (reconstruction_scale * tl.load(reconstruction_ptr) - constant)
            by_log_scale = (scale * count - squares) * upstream
            tl.store(grad_log_scale_ptr, by_log_scale.to(grad_log_scale_ptr.dtype.element_ty))
    else:
        e = tl.exp(-tl.abs(l))  # at most 1: no overflow on either side
        sigmoid = tl.where(l >= 0, 1.0, e) / (1.0 + e)
        grad = (sigmoid - t) * (upstream * scale)
    tl.store(grad_ptr + grad_at, grad.to(grad_ptr.dtype.element_ty), mask=mask)
    if DIVERGE and program == 0:
        _divergence_slopes(report_ptr, grad_sums_ptr, upstream * sums_scale, Z, D, C, INFORMATION)


@triton.jit
def _divergence_slopes(
    report_ptr, out_ptr, factor, Z, D, C, INFORMATION: tl.constexpr, BLOCK: tl.constexpr = 128
):
    """Derivative of the loss by the sums of divergences and probabilities, see `joint_loss.py`."""
    cont, disc = factor * tl.load(report_ptr + 3), factor * tl.load(report_ptr + 4)
    for first in range(0, Z + D + C, BLOCK):
        columns = first + tl.arange(0, BLOCK)
        inside = columns < Z + D + C
        slope = tl.where(columns < Z, cont, tl.where(columns < Z + D, disc, 0.0))
        if INFORMATION:
            m = tl.load(report_ptr + REPORT_HEAD + columns, mask=inside, other=1.0)
            slope = tl.where(columns < Z + D, slope, -disc * (tl.log(tl.maximum(m, TINY)) + 1.0))
        tl.store(out_ptr + columns, slope, mask=inside)


# 8 elements a thread: two 128-bit loads of float32, one of half precision.
_BLOCK, _THREADS = 1024, 128


class Gaussian(NamedTuple):
    """Pixels as independent Gaussians around the place 1/2 + l/4 between two ends."""

    log_scale: float | Tensor  # log of the standard deviation, in the ends' unit; a tensor is ()
    low: float
    width: float  # from the lower end to the higher one

    def arguments(self, unused: Tensor) -> tuple[Tensor | float, ...]:
        """The kernels' arguments in their order."""
        return *number(self.log_scale, unused), float(self.low), float(self.width)


_NONE = Gaussian(0.0, 0.0, 1.0)


def reconstruction_forward(
    logits: Tensor, target: Tensor, gaussian: Gaussian | None = None
) -> Tensor:
    """(N, C, H, W) logits and target -> partial sums (programs,) float32; None for Bernoulli."""
    elements = logits.numel()
    blocks = triton.cdiv(elements, _BLOCK)
    per_program = triton.cdiv(max(blocks, 1), MANY_PROGRAMS) * _BLOCK
    programs = triton.cdiv(elements, per_program)
    partials = torch.empty(programs, dtype=torch.float32, device=logits.device)
    if not elements:
        return partials
    order = _memory_order(logits)
    with torch.cuda.device_of(logits):
        reconstruction_forward_kernel[(programs,)](
            logits, *_strides(logits, order), target, *_strides(target, order),
            partials, *(gaussian or _NONE).arguments(partials),
            elements, per_program, *[logits.shape[d] for d in order[1:]],
            FLAT=_flat(order, logits, target), WIDE=_far(logits, target),
            GAUSSIAN=gaussian is not None, SCALE_ON_DEVICE=_on_device(gaussian), BLOCK=_BLOCK,
            num_warps=warps(_THREADS, logits.device),
        )  # fmt: skip
    return partials


class DivergenceSlopes(NamedTuple):
    """Arguments of the backward launch for the gradient of the latent kernel's partials."""

    report: Tensor  # (5 + Z + D + C,)
    sizes: Sequence[int]
    scale: float  # the partials' in the forward pass
    information: bool


def reconstruction_backward(
    logits: Tensor,
    target: Tensor,
    upstream: Tensor,
    scale: float,
    slopes: DivergenceSlopes | None = None,
    gaussian: Gaussian | None = None,
    reconstruction: Tensor | None = None,
    reconstruction_scale: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``scale * sum of the partials`` times ``upstream`` (), in the logits' layout.

    The second one, (Z + D + C,), is that of a row of the latent kernel's partials; empty without
    ``slopes``. The third one, (), is that of a Gaussian's ``log_scale`` on the device, which needs
    the ``reconstruction`` of the forward pass, a tensor that begins with it, and the derivative of
    the loss by it; empty of others.
    """
    grad = torch.empty_like(logits)
    elements = logits.numel()
    on_device = _on_device(gaussian)
    assert reconstruction is not None or not on_device
    grad_log_scale = (
        torch.empty_like(gaussian.log_scale)  # type: ignore[union-attr, arg-type]
        if on_device
        else upstream.new_empty((0,), dtype=torch.float32)
    )
    sizes: Sequence[int] = slopes.sizes if slopes else ()
    columns = slopes.report.numel() - REPORT_SCALARS if slopes else 0
    grad_sums = upstream.new_empty(columns, dtype=torch.float32)
    if elements or columns or on_device:
        order = _memory_order(logits)
        with torch.cuda.device_of(logits):
            reconstruction_backward_kernel[(max(1, triton.cdiv(elements, _BLOCK)),)](
                logits, *_strides(logits, order), target, *_strides(target, order),
                grad, *_strides(grad, order),
                upstream, float(scale),
                *(gaussian or _NONE).arguments(upstream),
                grad_log_scale if on_device else upstream, float(elements),
                upstream if reconstruction is None else reconstruction, float(reconstruction_scale),
                slopes.report if slopes else upstream, grad_sums,
                float(slopes.scale) if slopes else 1.0,
                elements, *[logits.shape[d] for d in order[1:]],
                columns - len(sizes) - sum(sizes), len(sizes), sum(sizes),
                FLAT=_flat(order, logits, target, grad), WIDE=_far(logits, target, grad),
                DIVERGE=slopes is not None,
                INFORMATION=slopes.information if slopes else False,
                GAUSSIAN=gaussian is not None, SCALE_ON_DEVICE=on_device,
                BLOCK=_BLOCK, num_warps=warps(_THREADS, logits.device),
            )  # fmt: skip
    return grad, grad_sums, grad_log_scale


def _on_device(gaussian: Gaussian | None) -> bool:
    return gaussian is not None and isinstance(gaussian.log_scale, Tensor)


def _memory_order(images: Tensor) -> list[int]:
    """The four dimensions from the slowest to the fastest in memory."""
    strides = images.stride()
    return sorted(range(4), key=lambda d: (images.shape[d] > 1, -strides[d]))


def _strides(images: Tensor, order: Sequence[int]) -> list[int]:
    return [images.stride(d) for d in order]


def _flat(order: Sequence[int], *arrays: Tensor) -> bool:
    """Whether an element's place in this order is its offset in every array."""
    expected, strides = 1, {}
    for d in reversed(order):
        strides[d] = expected
        expected *= arrays[0].shape[d]
    return all(
        array.stride(d) == strides[d] for array in arrays for d in order if array.shape[d] > 1
    )


def _far(*arrays: Tensor) -> bool:
    """Whether an index or an offset may leave int32, the last block's masked elements included."""
    return any(
        sum(stride * (size - 1) for size, stride in zip(array.shape, array.stride(), strict=True))
        + array.numel()
        >= 2**31 - _BLOCK
        for array in arrays
    )
