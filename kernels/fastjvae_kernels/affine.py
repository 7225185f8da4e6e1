"""Random rotations, shears, scales and shifts of images: one kernel.

With r = largest (2 u - 1) of an image's six numbers u, in the order turn, shear, width, height,
right, down, a pixel at (x, y), in units of half a side from the middle, takes its value from

    x' = (1 + width) cos x + (1 + width) (shear cos - sin) y + 2 right
    y' = (1 + height) sin x + (1 + height) (cos + shear sin) y + 2 down

between whose four neighbours it interpolates; outside, the border goes on. These are PyTorch's
affine_grid and grid_sample with padding_mode="border" and align_corners=False.

Every program works on some pixels of one image, in all channels. What it computes of the image's
six numbers is less than reading a matrix would be, which another kernel would have to write.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastjvae_kernels.arguments import strided
from fastjvae_kernels.blocks import warps
from fastjvae_kernels.math import cos_sin

# 2 pixels a thread, which has four neighbours of each in flight.
_BLOCK, _THREADS = 256, 128


@triton.jit
def _number(uniform_ptr, u1, largest_ptr, k: tl.constexpr):
    """r of the image's number k, between -largest and largest."""
    u = tl.load(uniform_ptr + k * u1).to(tl.float32)
    return (2.0 * u - 1.0) * tl.load(largest_ptr + k).to(tl.float32)


@triton.jit
def _place(normalised, size):
    """From units of half a side to pixels, held inside the image."""
    pixel = ((normalised + 1.0) * size - 1.0) / 2.0
    return tl.minimum(tl.maximum(pixel, 0.0), size - 1.0)


@triton.jit
def _value(images_ptr, at, mask):
    value = tl.load(images_ptr + at, mask=mask, other=0)
    if images_ptr.dtype.element_ty == tl.uint8:
        return value.to(tl.float32) / 255.0
    return value.to(tl.float32)


@triton.jit
def random_affine_kernel(
    images_ptr, s0, s1, s2, s3,  # (N, C, H, W), strides
    uniform_ptr, u0, u1,  # (N, 6) in [0, 1)
    largest_ptr,  # (6,) float
    out_ptr, o0, o1, o2, o3,  # (N, C, H, W) out
    C, H, W,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(0).to(tl.int64)
    pixel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = pixel < H * W
    row, column = pixel // W, pixel % W
    uniform_ptr += image * u0
    cos, sin = cos_sin(_number(uniform_ptr, u1, largest_ptr, 0))
    shear = _number(uniform_ptr, u1, largest_ptr, 1)
    width = 1.0 + _number(uniform_ptr, u1, largest_ptr, 2)
    height = 1.0 + _number(uniform_ptr, u1, largest_ptr, 3)
    right = 2.0 * _number(uniform_ptr, u1, largest_ptr, 4)
    down = 2.0 * _number(uniform_ptr, u1, largest_ptr, 5)
    x = (2.0 * column.to(tl.float32) + 1.0) / W - 1.0
    y = (2.0 * row.to(tl.float32) + 1.0) / H - 1.0
    from_x = _place(width * cos * x + width * (shear * cos - sin) * y + right, W)
    from_y = _place(height * sin * x + height * (cos + shear * sin) * y + down, H)

    left, top = tl.floor(from_x), tl.floor(from_y)
    to_right, to_bottom = from_x - left, from_y - top
    column0, row0 = left.to(tl.int32), top.to(tl.int32)
    in_columns, in_rows = mask & (column0 + 1 < W), mask & (row0 + 1 < H)
    if WIDE:
        column0, row0, row, column = (
            column0.to(tl.int64), row0.to(tl.int64), row.to(tl.int64), column.to(tl.int64)
        )  # fmt: skip
    at, out_at = row0 * s2 + column0 * s3, row * o2 + column * o3
    images_ptr += image * s0
    out_ptr += image * o0
    for channel in range(0, C):
        from_ptr = images_ptr + tl.cast(channel, tl.int64) * s1
        value = _value(from_ptr, at, mask) * (1.0 - to_right) * (1.0 - to_bottom)
        value += _value(from_ptr, at + s3, in_columns) * to_right * (1.0 - to_bottom)
        value += _value(from_ptr, at + s2, in_rows) * (1.0 - to_right) * to_bottom
        value += _value(from_ptr, at + s2 + s3, in_columns & in_rows) * to_right * to_bottom
        into_ptr = out_ptr + tl.cast(channel, tl.int64) * o1
        tl.store(into_ptr + out_at, value.to(out_ptr.dtype.element_ty), mask=mask)


def random_affine(images: Tensor, uniform: Tensor, largest: Tensor) -> Tensor:
    """(N, C, H, W) uint8 or floats and (N, 6) numbers -> (N, C, H, W) in the dtype of ``largest``.

    The result lies in channels_last, as the networks' convolutions take images.
    """
    count, channels, height, width = images.shape
    out = images.new_empty(count, height, width, channels, dtype=largest.dtype)
    out = out.permute(0, 3, 1, 2)
    if not out.numel():
        return out
    far = any(
        abs(array.stride(2)) * height + abs(array.stride(3)) * width >= 2**31
        for array in (images, out)
    )
    with torch.cuda.device_of(images):
        random_affine_kernel[(count, triton.cdiv(height * width, _BLOCK))](
            images, *images.stride(), *strided(uniform), largest, out, *out.stride(),
            channels, height, width,
            WIDE=far, BLOCK=_BLOCK, num_warps=warps(_THREADS, images.device),
        )  # fmt: skip
    return out
