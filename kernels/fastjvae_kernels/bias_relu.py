"""Bias and ReLU behind a product, and the backward pass of both: one kernel each.

    y = max(x + b, 0),   dx = dy where y > 0,   db = sum of dx

x is what a convolution or a matrix product gives without its bias. Its bias, its ReLU, and on the
way back the ReLU's gradient and the sum for the bias would be passes over memory of their own; here
both directions read and write every element once, forward in place.

Images lie channels_last, (N, P, C) with P = H W pixels, and rows are images of one pixel. Where
images become rows or rows become images (Flatten and Unflatten, which count in the order (C, P)),
the result is written in the new order, so that neither costs a copy. A bias then belongs to a
channel where the product is images, and to one of the C P features where it is rows.

A program works on a tile of BLOCK_P pixels and BLOCK_C channels, in the backward pass of one group
of pixels after the other: an image's where the order changes, BLOCK_P of any image elsewhere.
NaN stays NaN, which a library's ReLU in the epilogue of a product need not promise.
"""

from typing import Literal, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastjvae_kernels import blocks
from fastjvae_kernels.blocks import power_of_2, warps

# 8 elements a thread: two 128-bit accesses of float32, one of half precision. 64 channels side by
# side are 256 bytes of float32, which is what memory gives at a time.
_TILE, _THREADS, _CHANNELS = 1024, 128, 64


@triton.jit
def _tile(P, C, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr):
    """Pixels (BLOCK_P, 1) and channels (1, BLOCK_C) of the program's tile."""
    across = tl.cdiv(C, BLOCK_C)
    pixel = (tl.program_id(1) // across) * BLOCK_P + tl.arange(0, BLOCK_P)
    channel = (tl.program_id(1) % across) * BLOCK_C + tl.arange(0, BLOCK_C)
    return pixel[:, None], channel[None, :]


@triton.jit
def _offset(pixel, channel, P, C, PLANES: tl.constexpr):
    """Within a group: channels are neighbours, or the pixels of each channel are."""
    if PLANES:
        return channel * P + pixel
    return pixel * C + channel


@triton.jit
def bias_relu_kernel(
    x_ptr,  # (groups, P, C), or (groups, C, P)
    bias_ptr,  # (C,), or (C, P)
    y_ptr,  # out, as x or in the other order
    rows, P, C,  # rows: pixels of all images
    RELU: tl.constexpr, FROM_PLANES: tl.constexpr, TO_PLANES: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    pixel, channel = _tile(P, C, BLOCK_P, BLOCK_C)
    inside = (pixel < P) & (channel < C)
    if FROM_PLANES:
        bias = tl.load(bias_ptr + channel * P + pixel, mask=inside, other=0.0).to(tl.float32)
    else:
        bias = tl.load(bias_ptr + channel, mask=channel < C, other=0.0).to(tl.float32)
    before = tl.program_id(0).to(tl.int64) * P
    inside = inside & (pixel < rows - before)  # the last group may be smaller
    at = _offset(pixel, channel, P, C, FROM_PLANES)
    y = tl.load(x_ptr + before * C + at, mask=inside, other=0.0).to(tl.float32) + bias
    if RELU:
        y = tl.where(y <= 0, 0.0, y)  # NaN is not
    at = _offset(pixel, channel, P, C, TO_PLANES)
    tl.store(y_ptr + before * C + at, y.to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["groups", "groups_per_program", "stride"])
def relu_backward_kernel(
    grad_ptr,  # dy (groups, P, C), or (groups, C, P)
    y_ptr,  # as grad
    out_ptr,  # dx, as grad or in the other order
    partials_ptr,  # (1 + sums, columns) float32 out: how many sums there are, then the sums
    rows, groups, groups_per_program, stride, P, C,
    RELU: tl.constexpr, WRITE: tl.constexpr, FROM_PLANES: tl.constexpr, TO_PLANES: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    pixel, channel = _tile(P, C, BLOCK_P, BLOCK_C)
    in_image = (pixel < P) & (channel < C)
    begin = tl.program_id(0).to(tl.int64) * groups_per_program
    sums = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    for group in range(begin, tl.minimum(begin + groups_per_program, groups)):
        before = group * P
        inside = in_image & (pixel < rows - before)
        at = _offset(pixel, channel, P, C, FROM_PLANES)
        grad = tl.load(grad_ptr + before * C + at, mask=inside, other=0.0).to(tl.float32)
        if RELU:
            y = tl.load(y_ptr + before * C + at, mask=inside, other=0.0).to(tl.float32)
            grad = tl.where(y <= 0, 0.0, grad)
        if WRITE:
            at = _offset(pixel, channel, P, C, TO_PLANES)
            values = grad.to(out_ptr.dtype.element_ty)
            tl.store(out_ptr + before * C + at, values, mask=inside)
        sums += grad

    chunk = tl.program_id(0)
    if TO_PLANES:  # a bias of features, each of which is summed over the images
        columns = partials_ptr + channel * P + pixel
        tl.store(columns + (1 + chunk).to(tl.int64) * stride, sums, mask=in_image)
        if chunk == 0:
            number = tl.num_programs(0).to(tl.float32)
            tl.store(columns, tl.zeros((BLOCK_P, BLOCK_C), tl.float32) + number, mask=in_image)
    else:
        columns = partials_ptr + channel
        down = tl.cdiv(P, BLOCK_P)
        place = tl.program_id(1) // tl.cdiv(C, BLOCK_C)
        row = 1 + chunk * down + place
        total = tl.sum(sums, axis=0)[None, :]
        tl.store(columns + row.to(tl.int64) * stride, total, mask=channel < C)
        if (chunk == 0) & (place == 0):
            number = (tl.num_programs(0) * down).to(tl.float32)
            tl.store(columns, tl.zeros((1, BLOCK_C), tl.float32) + number, mask=channel < C)


class Product(NamedTuple):
    """What a bias is added to: images channels_last, or rows, which are images of one pixel.

    ``turned`` says that the result lies in the other of the two orders: images of ``pixels`` become
    rows (Flatten), or rows become images of ``pixels`` (Unflatten).
    """

    images: int
    pixels: int
    channels: int
    turned: Literal["flatten", "unflatten"] | None = None

    @property
    def columns(self) -> int:
        """Elements of the bias."""
        return self.channels * (self.pixels if self.turned == "unflatten" else 1)

    @property
    def rows(self) -> int:
        """Pixels of all images."""
        return self.images * self.pixels


class _Grid(NamedTuple):
    pixels: int  # of a group
    groups: int
    block: tuple[int, int]
    down: int  # tiles side by side in a group, by pixels and by channels
    across: int

    @property
    def tiles(self) -> int:
        return self.down * self.across


def _grid(product: Product) -> _Grid:
    """Groups and tiles: of an image where the order changes, of any pixels elsewhere."""
    channels = min(_CHANNELS, power_of_2(product.channels))
    pixels, groups = _TILE // channels, product.images
    if product.turned:
        block = min(pixels, power_of_2(product.pixels))
        pixels = product.pixels
    else:
        block = pixels
        groups = triton.cdiv(product.rows, pixels)
    down, across = triton.cdiv(pixels, block), triton.cdiv(product.channels, channels)
    return _Grid(pixels, groups, (block, channels), down, across)


def _groups_per_program(product: Product, grid: _Grid) -> int:
    """As few groups as there is work for, as in `blocks.py`."""
    rows = product.images if product.turned == "unflatten" else product.rows
    most = min(blocks.MANY_PROGRAMS, rows // blocks.ROWS_PER_PARTIAL) // grid.down
    programs = max(1, triton.cdiv(blocks.FEW_PROGRAMS, grid.tiles), most)
    return int(triton.cdiv(max(grid.groups, 1), programs))


def partial_rows(product: Product) -> int:
    """Rows of partial sums that :func:`relu_backward` writes, without that of their number."""
    grid = _grid(product)
    chunks = triton.cdiv(max(grid.groups, 1), _groups_per_program(product, grid))
    return int(chunks * (1 if product.turned == "unflatten" else grid.down))


def bias_relu(x: Tensor, bias: Tensor, y: Tensor, product: Product, *, relu: bool) -> None:
    """Write x + bias, or its ReLU, into y, which may be x where the order stays.

    x and y are dense; ``bias`` (columns,) is contiguous, of any floating dtype.
    """
    if not product.rows:
        return
    grid = _grid(product)
    with torch.cuda.device_of(x):
        bias_relu_kernel[(grid.groups, grid.tiles)](
            x, bias, y, product.rows, grid.pixels, product.channels,
            RELU=relu, FROM_PLANES=product.turned == "unflatten",
            TO_PLANES=product.turned == "flatten",
            BLOCK_P=grid.block[0], BLOCK_C=grid.block[1],
            num_warps=warps(_THREADS, x.device),
        )  # fmt: skip


def relu_backward(
    grad: Tensor, y: Tensor | None, out: Tensor, partials: Tensor, product: Product
) -> None:
    """Write the gradient of the product into ``out``, and of its bias partial sums.

    Args:
        grad: the gradient of what the forward pass has written, dense and in its order.
        y: what it has written, likewise; None where there is no ReLU.
        out: dense; ``grad`` itself where the order stays.
        partials: (1 + rows, columns) float32, its columns side by side; there may be more rows than
            :func:`partial_rows`. The first row will have their number.
        product: of the forward pass.
    """
    grid = _grid(product)
    per_program = _groups_per_program(product, grid)
    chunks = triton.cdiv(max(grid.groups, 1), per_program)
    with torch.cuda.device_of(grad):
        relu_backward_kernel[(chunks, grid.tiles)](
            grad, grad if y is None else y, out, partials,
            product.rows, grid.groups, per_program, partials.stride(0),
            grid.pixels, product.channels,
            RELU=y is not None, WRITE=y is not None or out is not grad,
            FROM_PLANES=product.turned == "flatten", TO_PLANES=product.turned == "unflatten",
            BLOCK_P=grid.block[0], BLOCK_C=grid.block[1],
            num_warps=warps(_THREADS, grad.device),
        )  # fmt: skip
