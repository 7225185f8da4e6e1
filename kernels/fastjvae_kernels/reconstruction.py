"""Bernoulli cross-entropy of images on logits: one kernel forward, one backward.

    loss = sum of max(l, 0) - l t + log(1 + exp(-|l|)),   dl = (sigmoid(l) - t) upstream

Targets are uint8 (t / 255) or floats. Each program sums a range of elements into one partial; the
backward kernel reads logits, target and the upstream scalar on the device and writes the gradient
in the logits' layout: 14 bytes an element for float32 logits and uint8 targets, forward and
backward together. Writing the gradient in the forward pass would move 4 + 1 + 4 bytes there and
then 4 + 4 more to multiply it with an upstream scalar other than 1, which is not fewer.
"""

import triton
import triton.language as tl


@triton.jit
def _target(target_ptr, at, mask):
    t = tl.load(target_ptr + at, mask=mask, other=0)
    if target_ptr.dtype.element_ty == tl.uint8:
        return t.to(tl.float32) / 255.0
    return t.to(tl.float32)


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
    elements, per_program, S1, S2, S3,
    FLAT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    begin = program.to(tl.int64) * per_program
    end = tl.minimum(begin + per_program, elements)
    total = tl.zeros((BLOCK,), tl.float32)
    for first in range(begin, end, BLOCK):
        index = first + tl.arange(0, BLOCK).to(tl.int64)
        mask = index < end
        logits_at = index if FLAT else _offset(index, S1, S2, S3, l0, l1, l2, l3)
        target_at = index if FLAT else _offset(index, S1, S2, S3, t0, t1, t2, t3)
        l = tl.load(logits_ptr + logits_at, mask=mask, other=0.0).to(tl.float32)  # noqa: E741
        t = _target(target_ptr, target_at, mask)
        loss = tl.where(l > 0, l, 0.0 * l) - l * t + tl.log(1.0 + tl.exp(-tl.abs(l)))
        total += tl.where(mask, loss, 0.0)
    tl.store(partials_ptr + program, tl.sum(total, axis=0))


@triton.jit
def reconstruction_backward_kernel(
    logits_ptr, l0, l1, l2, l3,
    target_ptr, t0, t1, t2, t3,
    grad_ptr, g0, g1, g2, g3,  # out
    upstream_ptr,  # () float32
    scale,  # what the sum of the partials is multiplied with
    elements, S1, S2, S3,
    FLAT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK).to(tl.int64)
    mask = index < elements
    upstream = tl.load(upstream_ptr).to(tl.float32) * scale
    logits_at = index if FLAT else _offset(index, S1, S2, S3, l0, l1, l2, l3)
    target_at = index if FLAT else _offset(index, S1, S2, S3, t0, t1, t2, t3)
    grad_at = index if FLAT else _offset(index, S1, S2, S3, g0, g1, g2, g3)
    l = tl.load(logits_ptr + logits_at, mask=mask, other=0.0).to(tl.float32)  # noqa: E741
    t = _target(target_ptr, target_at, mask)
    e = tl.exp(-tl.abs(l))  # at most 1: no overflow on either side
    sigmoid = tl.where(l >= 0, 1.0, e) / (1.0 + e)
    grad = (sigmoid - t) * upstream
    tl.store(grad_ptr + grad_at, grad.to(grad_ptr.dtype.element_ty), mask=mask)
