"""The kernels' own noise: Philox-4x32-10, uniform, Gumbel and normal numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from kernel_cases import DEVICE, kernels
from philox_answers import PHILOX_ANSWERS
from scipy import stats
from torch import Tensor

from fastjvae import LatentSpec, functional
from fastjvae.functional.backends import philox, reference

triton = pytest.importorskip("triton", reason="needs triton")
tl = triton.language

# Elements of one program: the interpreter is fast on large tiles, a GPU holds small ones.
TILE = 2**18 if DEVICE == "cpu" else 2**11

from fastjvae_kernels.math import (  # noqa: E402
    gumbel,
    normal_tile,
    philox_words,
    uniform_at,
    uniform_tile,
)


@triton.jit
def _words_kernel(seed_ptr, row_ptr, first_ptr, out_ptr, STREAM: tl.constexpr):  # noqa: N803
    rows = tl.load(row_ptr) + tl.arange(0, 1).to(tl.int64)
    w0, w1, w2, w3 = philox_words(tl.load(seed_ptr), rows, tl.load(first_ptr), STREAM, 4)
    one = tl.arange(0, 1)[:, None] + tl.arange(0, 1)[None, :]
    tl.store(out_ptr + one, w0.to(tl.int64))
    tl.store(out_ptr + 1 + one, w1.to(tl.int64))
    tl.store(out_ptr + 2 + one, w2.to(tl.int64))
    tl.store(out_ptr + 3 + one, w3.to(tl.int64))


@triton.jit
def _tile_kernel(
    seed_ptr, row_ptr, first, out_ptr,
    KIND: tl.constexpr, R: tl.constexpr, C: tl.constexpr,  # noqa: N803
):  # fmt: skip
    rows = tl.load(row_ptr) + tl.program_id(0) * R + tl.arange(0, R).to(tl.int64)
    seed = tl.load(seed_ptr)
    if KIND == "uniform":
        tile = uniform_tile(seed, rows, first, C)
    elif KIND == "uniform at":
        tile = uniform_at(seed, rows, first + tl.arange(0, C))
    else:
        tile = normal_tile(seed, rows, first, C)
    at = (tl.program_id(0) * R + tl.arange(0, R))[:, None] * C + tl.arange(0, C)[None, :]
    tl.store(out_ptr + at, tile)


@triton.jit
def _gumbel_kernel(u_ptr, out_ptr, COUNT: tl.constexpr):  # noqa: N803
    at = tl.program_id(0) * COUNT + tl.arange(0, COUNT)
    tl.store(out_ptr + at, gumbel(tl.load(u_ptr + at)))


def _scalar(value: int) -> Tensor:
    return torch.tensor([value], device=DEVICE)


def _tile(kind: str, seed: int, row: int, first: int, rows: int, columns: int) -> Tensor:
    """(rows, columns) numbers of one kind from a row and a column on."""
    out = torch.empty(rows, columns, device=DEVICE)
    height = min(rows, TILE // columns)
    _tile_kernel[(rows // height,)](
        _scalar(seed), _scalar(row), first, out, KIND=kind, R=height, C=columns
    )
    return out


def _gumbels(u: Tensor) -> Tensor:
    out = torch.empty_like(u, device=DEVICE)
    count = min(u.numel(), TILE)
    _gumbel_kernel[(u.numel() // count,)](u.to(DEVICE), out, COUNT=count)
    return out.cpu()


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


@pytest.mark.parametrize(("counter", "key", "answer"), PHILOX_ANSWERS)
def test_kernel_philox_gives_the_published_answers(
    counter: tuple[int, ...], key: tuple[int, ...], answer: tuple[int, ...]
):
    low, high, block, stream = counter
    out = torch.empty(4, dtype=torch.int64, device=DEVICE)
    seed = _scalar(_signed(key[0] | key[1] << 32))
    _words_kernel[(1,)](
        seed, _scalar(_signed(low | high << 32)), _scalar(4 * block), out, STREAM=stream
    )
    assert tuple(out.tolist()) == answer


@pytest.mark.parametrize("row", [0, 5, 2**32 - 3, 2**40 + 1])
@pytest.mark.parametrize("kind", ["uniform", "uniform at"])
def test_uniforms_are_bitwise_the_references_in_any_block(kind: str, row: int):
    seed, rows, columns = -(2**62) + 12345, 8, 64
    r = torch.arange(row, row + rows)[:, None].expand(rows, columns)
    c = torch.arange(columns)[None, :].expand(rows, columns)
    words = philox.philox_4x32(
        (r & 0xFFFFFFFF, r >> 32, c // 4, torch.ones_like(c)),
        (torch.tensor(seed & 0xFFFFFFFF), torch.tensor(seed >> 32 & 0xFFFFFFFF)),
    )
    word = torch.stack(words).gather(0, (c % 4)[None])[0]
    right = (word >> 8).float() * 2.0**-24
    if row == 0:
        whole = philox.philox_uniform(torch.tensor([seed]), rows, columns, 1)
        assert torch.equal(right, whole)
    for top, left, height, width in [(0, 0, 8, 64), (3, 8, 1, 4), (6, 48, 2, 16), (0, 60, 8, 4)]:
        tile = _tile(kind, seed, row + top, left, height, width)
        assert torch.equal(tile.cpu(), right[top : top + height, left : left + width])


def test_normals_are_the_references_but_for_rounding():
    ours = _tile("normal", 77, 0, 0, 256, 64).cpu()
    right = philox.philox_normal(torch.tensor([77]), 256, 64)
    assert (ours - right).abs().max() < 4e-6  # radius up to 5.8, angle to 24 bits
    assert _tile("normal", 77, 3, 8, 4, 16).cpu().equal(ours[3:7, 8:24])


def test_gumbel_survives_both_ends_of_the_unit_interval():
    u = torch.tensor([0.0, 2.0**-24, 0.5, 1 - 2.0**-24, float("nan"), 1e-20, 1.0, 0.25])
    out = _gumbels(u)
    right = reference.gumbel(u)
    assert out[4].isnan()
    finite = [0, 1, 2, 3, 5, 6, 7]
    assert out[finite].isfinite().all()
    assert torch.allclose(out[finite], right[finite], rtol=1e-6)


# --- statistics -----------------------------------------------------------------------------------

ROWS, COLUMNS = 4096, 256  # 2^20 draws


@pytest.fixture(scope="module")
def draws() -> Callable[[str, int], Tensor]:
    """2^20 draws by kind and seed."""
    known: dict[tuple[str, int], Tensor] = {}

    def draw(kind: str, seed: int) -> Tensor:
        if (kind, seed) not in known:
            known[kind, seed] = _tile(kind, seed, 0, 0, ROWS, COLUMNS).cpu().double()
        return known[kind, seed]

    return draw


def test_normals_are_normal(draws: Callable[[str, int], Tensor]):
    assert stats.kstest(draws("normal", 1).flatten().numpy(), "norm").pvalue > 1e-3


def test_gumbels_are_gumbel(draws: Callable[[str, int], Tensor]):
    gumbels = _gumbels(draws("uniform", 1).flatten().float())
    assert stats.kstest(gumbels.double().numpy(), "gumbel_r").pvalue > 1e-3


def test_draws_do_not_know_each_other(draws: Callable[[str, int], Tensor]):
    normal, uniform, other = draws("normal", 1), draws("uniform", 1), draws("normal", 2)
    gaussian_of_uniform = torch.special.ndtri(uniform.clamp(1e-7, 1 - 1e-7))

    def correlation(a: Tensor, b: Tensor) -> float:
        return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])

    pairs = {
        "next column": (normal[:, :-1], normal[:, 1:]),
        "next row": (normal[:-1], normal[1:]),
        "next block": (normal[:, :-4], normal[:, 4:]),
        "size of the next column": (normal[:, :-1].square(), normal[:, 1:].square()),
        "other stream": (normal, gaussian_of_uniform),
        "other stream, same size": (normal.square(), gaussian_of_uniform.square()),
        "other seed": (normal, other),
        "uniform of the next column": (uniform[:, :-1], uniform[:, 1:]),
    }
    found = {name: correlation(*pair) for name, pair in pairs.items()}
    limit = 4.5 / (ROWS * COLUMNS) ** 0.5  # standard deviations of an absent correlation
    assert all(abs(value) < limit for value in found.values()), found


def test_no_number_is_drawn_twice():
    uniform = _tile("uniform", 9, 0, 0, 64, 64).cpu()
    assert uniform.unique().numel() > uniform.numel() - 3  # of 2^24, 4,096 rarely meet
    assert uniform.min() >= 0
    assert uniform.max() < 1


def test_categories_come_as_often_as_their_probabilities_say():
    rows, logits = 5_000, torch.tensor([2.0, 0.0, -1.0, 0.5, -3.0])
    with kernels():
        y = functional.gumbel_softmax(logits.to(DEVICE).expand(rows, 5), 0.67, seed=11)
    counts = y.argmax(dim=1).bincount(minlength=5).cpu()
    assert stats.chisquare(counts, rows * logits.double().softmax(0)).pvalue > 1e-3


def test_every_operation_draws_the_same_numbers_in_every_dtype():
    spec, seed = LatentSpec(6, (5,)), torch.tensor([4], device=DEVICE)
    params = torch.zeros(40, spec.num_params, device=DEVICE)
    with kernels():
        joint = functional.joint_latent(params, spec, 1.0, seed=seed).sample
        z = functional.gaussian_rsample(params[:, :6], params[:, 6:12], seed=seed)
        y = functional.gumbel_softmax(params[:, 12:], 1.0, seed=seed)
        half = functional.joint_latent(params.half(), spec, 1.0, seed=seed).sample
        again = functional.joint_latent(params, spec, 1.0, seed=seed).sample
        fewer = functional.joint_latent(params[:3], spec, 1.0, seed=seed).sample
    assert torch.equal(joint[:, :6], z)
    assert torch.equal(joint[:, 6:], y)
    assert torch.equal(joint.half(), half)
    assert torch.equal(joint, again)
    assert torch.equal(joint[:3], fewer)
