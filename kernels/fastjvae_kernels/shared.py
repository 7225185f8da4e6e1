"""Shared information of all categorical variables and the loss with it: two kernels forward, one
backward (Ji et al. 2019, eq. 3).

The N images are groups of g, one after the other. With p_i = softmax of a head's logits and
q_i = sum of p over the other images of i's group, of each head

    J = max(sum_i p_i q_i^T / (N (g - 1)), 1e-8)    joint distribution of two images, (K, K)
    m = column sums of J,  I = sum J log J - 2 sum m log m,  B = log K + sum m log m

J is symmetric but for roundings, so that its row sums are m too. The heads are the model's D
variables, and perhaps one further head with logits of its own:

    loss = base + gamma (|sum I - C(t)| + balance sum B) / pixels
                + gamma (log K' - I' + balance B') / pixels    with a further head

Backward, with s_I and s_B the derivatives of the loss by I and B, and symmetric M:

    M = 2 s_I (log J - log m_c - log m_c' - 1) + s_B (log m_c + log m_c' + 2),  0 where J is 1e-8
    dp_i = M q_i / (N (g - 1)),  dl = p (dp - sum p dp)

q_i is a sum of other images' p and no difference of larger sums, so that small joint probabilities,
whose logarithms are the gradient, keep their digits. A program reads the logits of its images'
groups again from the cache: keeping p and q instead would move them twice.

The first kernel's programs write partial J, which the second adds up in their order.
"""

import triton
import triton.language as tl

from fastjvae_kernels.math import capacity_at, device_number, sign, softmax

FLOOR = tl.constexpr(1e-8)  # of a joint probability
# Scalars of the report before log m (sum K).
REPORT_HEAD = tl.constexpr(8)


@triton.jit
def _logits(
    logits_ptr, l0, l1, further_ptr, f0, f1, images, columns, start, inside, is_further,
    FURTHER: tl.constexpr,
):  # fmt: skip
    """A head's logits (R, C), which the model has or the further head, float32."""
    at = images[:, None] * l0 + (start + columns)[None, :] * l1
    if FURTHER:
        own = tl.load(logits_ptr + at, mask=inside & (is_further == 0), other=0.0).to(tl.float32)
        at = images[:, None] * f0 + columns[None, :] * f1
        other = tl.load(further_ptr + at, mask=inside & is_further, other=0.0).to(tl.float32)
        return tl.where(is_further, other, own)
    return tl.load(logits_ptr + at, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _probabilities(logits, inside_head, inside):
    """softmax, 0 outside; NaN where a logit is not finite, which exp would hide."""
    return tl.where(inside, softmax(logits, inside_head) + (logits - logits), 0.0)


@triton.jit
def _others(
    logits_ptr, l0, l1, further_ptr, f0, f1, images, valid, columns, start, size, is_further, group,
    FURTHER: tl.constexpr,
):  # fmt: skip
    """q (R, C): the probabilities of the other images of each one's group, added up."""
    inside_head = (columns < size)[None, :]
    inside = valid[:, None] & inside_head
    total = tl.zeros((images.shape[0], columns.shape[0]), tl.float32)
    first = images // group * group
    for place in range(0, group):
        other = first + place
        logits = _logits(
            logits_ptr, l0, l1, further_ptr, f0, f1, other, columns, start, inside, is_further,
            FURTHER,
        )  # fmt: skip
        p = _probabilities(logits, inside_head, inside)
        total += tl.where((other == images)[:, None], 0.0, p)
    return total


@triton.jit
def _head(table_ptr, head):
    """First column and size of a head, and where its J begins among all."""
    before = 0
    for earlier in range(0, head):
        size = tl.load(table_ptr + 2 * earlier + 1)
        before += size * size
    return tl.load(table_ptr + 2 * head), tl.load(table_ptr + 2 * head + 1), before


@triton.jit(do_not_specialize=["images", "group", "per_program"])
def shared_joint_kernel(
    logits_ptr, l0, l1,  # (N, sum of K over the model's variables)
    further_ptr, f0, f1,  # (N, K'), or unused
    table_ptr,  # (heads, 2) int32
    partials_ptr,  # (programs, sum K K) float32 out
    images, variables, group, per_program, elements,
    FURTHER: tl.constexpr, ROWS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    program, head = tl.program_id(0), tl.program_id(2)
    first_row = tl.program_id(1) * ROWS
    start, size, before = _head(table_ptr, head)
    is_further = head >= variables
    if first_row < size:
        columns, rows = tl.arange(0, BLOCK_K), tl.arange(0, ROWS)
        inside_head = (columns < size)[None, :]
        joint = tl.zeros((ROWS, BLOCK_K), tl.float32)
        begin = program.to(tl.int64) * per_program
        end = tl.minimum(begin + per_program, images)
        for first in range(begin, end, BLOCK_N):
            image = first + tl.arange(0, BLOCK_N)
            valid = image < end
            inside = valid[:, None] & inside_head
            logits = _logits(
                logits_ptr, l0, l1, further_ptr, f0, f1, image, columns, start, inside, is_further,
                FURTHER,
            )  # fmt: skip
            p = _probabilities(logits, inside_head, inside)
            q = _others(
                logits_ptr, l0, l1, further_ptr, f0, f1, image, valid, columns, start, size,
                is_further, group, FURTHER,
            )  # fmt: skip
            for row in range(0, tl.minimum(ROWS, size - first_row)):
                p_row = tl.sum(tl.where((columns == first_row + row)[None, :], p, 0.0), axis=1)
                found = tl.sum(p_row[:, None] * q, axis=0)
                joint += tl.where((rows == row)[:, None], found[None, :], 0.0)
        at = (first_row + rows)[:, None] * size + columns[None, :]
        out = partials_ptr + program.to(tl.int64) * elements + before
        tl.store(out + at, joint, mask=(first_row + rows < size)[:, None] & inside_head)


@triton.jit(do_not_specialize=["step", "start", "programs"])
def shared_loss_kernel(
    partials_ptr,  # (programs, sum K K)
    base_ptr,  # () float
    table_ptr,  # (heads, 2) int32
    step_ptr,  # () int64, or unused
    step,
    gamma_ptr,  # () float, or unused
    lo, hi, start, iters, maximum, gamma,
    loss_ptr,  # () float32 out
    report_ptr,  # (8 + sum K,) float32 out
    joint_ptr,  # (sum K K,) float32 out: J of the heads
    programs, heads, variables, elements,
    scale,  # 1 / (N (g - 1))
    balance, pixels,
    STEP_ON_DEVICE: tl.constexpr, GAMMA_ON_DEVICE: tl.constexpr,
    ROWS: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    columns, rows = tl.arange(0, BLOCK_K), tl.arange(0, ROWS)
    information, imbalance = 0.0, 0.0
    further_information, further_imbalance, further_log = 0.0, 0.0, 0.0
    for head in range(0, heads):
        first_column, size, before = _head(table_ptr, head)
        mean = tl.zeros((BLOCK_K,), tl.float32)
        j_log_j = tl.zeros((BLOCK_K,), tl.float32)
        for first in range(0, size, ROWS):
            inside = (first + rows < size)[:, None] & (columns < size)[None, :]
            at = before + (first + rows)[:, None] * size + columns[None, :]
            total = tl.zeros((ROWS, BLOCK_K), tl.float32)
            for program in range(0, programs):
                part = partials_ptr + tl.cast(program, tl.int64) * elements
                total += tl.load(part + at, mask=inside, other=0.0)
            joint = scale * total
            joint = tl.where(joint < FLOOR, FLOOR, joint)  # NaN stays NaN
            tl.store(joint_ptr + at, joint, mask=inside)
            mean += tl.sum(tl.where(inside, joint, 0.0), axis=0)
            j_log_j += tl.sum(tl.where(inside, joint * tl.log(joint), 0.0), axis=0)
        inside_head = columns < size
        log_mean = tl.log(tl.where(inside_head, mean, 1.0))
        tl.store(report_ptr + REPORT_HEAD + first_column + columns, log_mean, mask=inside_head)
        m_log_m = tl.sum(mean * log_mean, axis=0)
        log_size = tl.log(size.to(tl.float32))
        of_head = tl.sum(j_log_j, axis=0) - 2.0 * m_log_m
        if head < variables:
            information += of_head
            imbalance += log_size + m_log_m
        else:
            further_information += of_head
            further_imbalance += log_size + m_log_m
            further_log += log_size

    if STEP_ON_DEVICE:
        step = tl.load(step_ptr).to(tl.int64)
    gamma = device_number(gamma_ptr, gamma, GAMMA_ON_DEVICE)
    capacity = capacity_at(step, lo, hi, start, iters, maximum)
    excess = information - capacity
    missing = further_log - further_information
    penalty = tl.abs(excess) + balance * (imbalance + further_imbalance) + missing
    tl.store(loss_ptr, tl.load(base_ptr).to(tl.float32) + gamma * penalty / pixels)
    tl.store(report_ptr + 0, capacity)
    tl.store(report_ptr + 1, information)
    tl.store(report_ptr + 2, imbalance)
    tl.store(report_ptr + 3, further_information)
    tl.store(report_ptr + 4, gamma * sign(excess) / pixels)
    tl.store(report_ptr + 5, -gamma / pixels)  # by the further head's information
    tl.store(report_ptr + 6, gamma * balance / pixels)
    tl.store(report_ptr + 7, further_imbalance)


@triton.jit(do_not_specialize=["images", "group"])
def shared_backward_kernel(
    logits_ptr, l0, l1,
    further_ptr, f0, f1,
    table_ptr,
    report_ptr, joint_ptr,
    upstream_ptr,  # () float, the loss's
    grad_ptr, g0, g1,  # (N, 2 Z + sum K) out: of the parameter rows
    grad_further_ptr, h0, h1,  # (N, K') out, or unused
    images, Z2, variables, group, scale,
    FURTHER: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(1)
    start, size, before = _head(table_ptr, head)
    is_further = head >= variables
    image = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    valid = image < images
    columns = tl.arange(0, BLOCK_K)
    inside_head = columns < size
    inside = valid[:, None] & inside_head[None, :]
    logits = _logits(
        logits_ptr, l0, l1, further_ptr, f0, f1, image, columns, start, inside, is_further, FURTHER
    )
    p = _probabilities(logits, inside_head[None, :], inside)
    q = _others(
        logits_ptr, l0, l1, further_ptr, f0, f1, image, valid, columns, start, size, is_further,
        group, FURTHER,
    )  # fmt: skip
    by_information = tl.load(report_ptr + tl.where(is_further, 5, 4))
    by_imbalance = tl.load(report_ptr + 6)
    log_means = report_ptr + REPORT_HEAD + start
    log_mean = tl.load(log_means + columns, mask=inside_head, other=0.0)
    grad = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
    for row in range(0, size):
        joint = tl.load(joint_ptr + before + row * size + columns, mask=inside_head, other=1.0)
        log_means_here = tl.load(log_means + row) + log_mean
        slope = 2.0 * by_information * (tl.log(joint) - log_means_here - 1.0)
        slope = slope + by_imbalance * (log_means_here + 2.0)
        slope = tl.where(joint <= FLOOR, 0.0, slope)  # NaN stays NaN
        q_row = tl.sum(tl.where((columns == row)[None, :], q, 0.0), axis=1)
        grad += q_row[:, None] * slope[None, :]
    mean = tl.sum(tl.where(inside, p * grad, 0.0), axis=1)
    grad = p * (grad - mean[:, None]) * (tl.load(upstream_ptr).to(tl.float32) * scale)
    own = inside & (is_further == 0)
    at = image[:, None] * g0 + (Z2 + start + columns)[None, :] * g1
    tl.store(grad_ptr + at, grad.to(grad_ptr.dtype.element_ty), mask=own)
    if FURTHER:
        at = image[:, None] * h0 + columns[None, :] * h1
        grad = grad.to(grad_further_ptr.dtype.element_ty)
        tl.store(grad_further_ptr + at, grad, mask=inside & is_further)
    if head == 0:  # the units have no share in it
        for first in range(0, Z2, BLOCK_K):
            unit = first + columns
            at = image[:, None] * g0 + unit[None, :] * g1
            zero = tl.zeros((BLOCK_N, BLOCK_K), grad_ptr.dtype.element_ty)
            tl.store(grad_ptr + at, zero, mask=valid[:, None] & (unit < Z2)[None, :])
