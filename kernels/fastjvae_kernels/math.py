"""Device functions that the forward and backward kernels share.

Noise is Philox-4x32-10: element (r, c) of stream s uses word c % 4 of the block whose counter is
(r low, r high, c // 4, s). A tile of COLUMNS columns evaluates COLUMNS / 4 blocks and interleaves
their words, so no block is computed twice; its first column is a multiple of 4.

Of the transcendentals only exp, log and sqrt are used. Sine and cosine are polynomials: the general
ones spill to the stack on their path for large arguments, and the angle here is bounded.
"""

import triton
import triton.language as tl

GAUSSIAN_STREAM = tl.constexpr(0)
GUMBEL_STREAM = tl.constexpr(1)
# The published code's 1e-12, as a lower bound inside both logarithms.
GUMBEL_FLOOR = tl.constexpr(1e-12)


@triton.jit
def device_number(ptr, value, ON_DEVICE: tl.constexpr):
    """A number that lies on the device or came as an argument, float32."""
    if ON_DEVICE:
        return tl.load(ptr).to(tl.float32)
    return value


@triton.jit
def capacity_at(t, lo, hi, start, iters, maximum):
    """lo + (hi - lo) clamp((t - start) / iters, 0, 1), at most `maximum`."""
    progress = (t - start).to(tl.float32) / iters
    progress = tl.minimum(tl.maximum(progress, 0.0), 1.0)
    return tl.minimum(lo + (hi - lo) * progress, maximum)


@triton.jit
def sign(x):
    """-1, 0 or 1; NaN stays NaN."""
    return tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, x))


@triton.jit
def philox_blocks(seed, rows, blocks, stream: tl.constexpr):
    """Four (R, B) uint32 tiles, word 0..3 of the blocks (B,) in rows (R,) int64."""
    zero = (rows[:, None] + blocks[None, :]).to(tl.uint32) * 0
    low = (rows & 0xFFFFFFFF).to(tl.uint32)[:, None] + zero
    high = ((rows >> 32) & 0xFFFFFFFF).to(tl.uint32)[:, None] + zero
    return tl.philox(seed, low, high, blocks.to(tl.uint32)[None, :] + zero, zero + stream)


@triton.jit
def philox_words(seed, rows, first_column, stream: tl.constexpr, COLUMNS: tl.constexpr):
    """Four (R, COLUMNS / 4) uint32 tiles for COLUMNS columns from the first one on."""
    return philox_blocks(seed, rows, first_column // 4 + tl.arange(0, COLUMNS // 4), stream)


@triton.jit
def unit_uniform(word):
    """(word >> 8) 2^-24, in [0, 1)."""
    return (word >> 8).to(tl.float32) * 5.9604644775390625e-8


@triton.jit
def interleave4(a, b, c, d):
    """Four (R, B) tiles -> (R, 4 B) with columns a0 b0 c0 d0 a1 ..."""
    return tl.interleave(tl.interleave(a, c), tl.interleave(b, d))


@triton.jit
def uniform_tile(seed, rows, first_column, COLUMNS: tl.constexpr):
    """(R, COLUMNS) uniform numbers of the Gumbel stream."""
    w0, w1, w2, w3 = philox_words(seed, rows, first_column, GUMBEL_STREAM, COLUMNS)
    return interleave4(unit_uniform(w0), unit_uniform(w1), unit_uniform(w2), unit_uniform(w3))


@triton.jit
def uniform_at(seed, rows, columns):
    """The same numbers for any columns, at the cost of a whole block for each of them."""
    w0, w1, w2, w3 = philox_blocks(seed, rows, columns // 4, GUMBEL_STREAM)
    word = (columns % 4).to(tl.int32)[None, :]
    odd = (word & 1) == 1
    chosen = tl.where(word < 2, tl.where(odd, w1, w0), tl.where(odd, w3, w2))
    return unit_uniform(chosen)


@triton.jit
def normal_tile(seed, rows, first_column, COLUMNS: tl.constexpr):
    """(R, COLUMNS) normals: Box-Muller on words (0, 1) and (2, 3), both outputs used."""
    w0, w1, w2, w3 = philox_words(seed, rows, first_column, GAUSSIAN_STREAM, COLUMNS)
    n0, n1 = box_muller(unit_uniform(w0), unit_uniform(w1))
    n2, n3 = box_muller(unit_uniform(w2), unit_uniform(w3))
    return interleave4(n0, n1, n2, n3)


@triton.jit
def box_muller(u0, u1):
    """radius (cos, sin) of the angle 2 pi u1, radius = sqrt(-2 log(1 - u0)); u0 < 1."""
    radius = tl.sqrt(-2.0 * tl.log(1.0 - u0))
    # Quarter turns q = 0..4 and a rest of at most an eighth of a turn to either side.
    turns = 4.0 * u1
    quarter = (turns + 0.5).to(tl.int32)
    cosine, sine = _turned((turns - quarter.to(tl.float32)) * 1.5707963267948966, quarter)
    return radius * cosine, radius * sine


@triton.jit
def cos_sin(angle):
    """Cosine and sine of some radians, good to the last bits up to some thousand."""
    quarters = tl.floor(angle * 0.6366197723675814 + 0.5)
    # Half a pi in two parts, of which the first times a few thousand is exact.
    rest = (angle - quarters * 1.5703125) - quarters * 4.838267948966e-4
    return _turned(rest, quarters.to(tl.int32))


@triton.jit
def _turned(a, quarter):
    """Cosine and sine of an angle of at most an eighth of a turn after some quarter turns."""
    z = a * a
    sine = a + a * z * (-1.6666654611e-1 + z * (8.3321608736e-3 - z * 1.9515295891e-4))
    cosine = (
        1.0
        - 0.5 * z
        + z * z * (4.166664568298827e-2 + z * (-1.388731625493765e-3 + z * 2.443315711809948e-5))
    )
    odd = (quarter & 1) == 1
    first = tl.where(odd, sine, cosine)
    second = tl.where(odd, cosine, sine)
    first = tl.where(((quarter + 1) & 2) == 2, -first, first)
    second = tl.where((quarter & 2) == 2, -second, second)
    return first, second


@triton.jit
def gumbel(u):
    """Uniform [0, 1) -> Gumbel(0, 1), finite at both ends; NaN stays NaN."""
    e = -tl.log(tl.where(u < GUMBEL_FLOOR, GUMBEL_FLOOR, u))
    return -tl.log(tl.where(e < GUMBEL_FLOOR, GUMBEL_FLOOR, e))


@triton.jit
def log_softmax(logits, mask):
    """Row-wise log probabilities of the masked columns; -inf elsewhere. NaN and inf give NaN."""
    logits = tl.where(mask, logits, float("-inf"))
    shifted = logits - tl.max(logits, axis=1)[:, None]
    total = tl.sum(tl.exp(shifted), axis=1)
    return shifted - tl.log(total)[:, None]


@triton.jit
def softmax(logits, mask):
    """Row-wise probabilities of the masked columns; 0 elsewhere."""
    logits = tl.where(mask, logits, float("-inf"))
    e = tl.exp(logits - tl.max(logits, axis=1)[:, None])
    return e / tl.sum(e, axis=1)[:, None]


@triton.jit
def expm1_minus(v):
    """exp(v) - 1 - v, with its digits near 0, where unused units live: a series for |v| < 1/8."""
    series = (
        v
        * v
        * (0.5 + v * (1.6666667e-1 + v * (4.1666668e-2 + v * (8.3333338e-3 + v * 1.3888889e-3))))
    )
    return tl.where(tl.abs(v) < 0.125, series, tl.exp(v) - 1.0 - v)
