"""Images by index, as floats and channels_last: one kernel.

    out[n, h, w, c] = images[index[n], c, h, w], over 255 where the images are uint8

Images lie in the order (C, P) with P = H W pixels, those that are written in the order (P, C). A
program moves a tile of BLOCK_P pixels and BLOCK_C channels of one image. The division is the
correctly rounded one, so that the floats are PyTorch's.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastjvae_kernels.blocks import power_of_2, warps

# 8 elements a thread, as in the other kernels; images have few channels.
_TILE, _THREADS, _CHANNELS = 1024, 128, 16


@triton.jit
def gather_kernel(
    images_ptr,  # (M, C, P), uint8 or floats
    index_ptr,  # (N,) int64
    out_ptr,  # (N, P, C) out
    P, C,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    across = tl.cdiv(C, BLOCK_C)
    image = tl.program_id(0).to(tl.int64)
    pixel = ((tl.program_id(1) // across) * BLOCK_P + tl.arange(0, BLOCK_P))[:, None]
    channel = ((tl.program_id(1) % across) * BLOCK_C + tl.arange(0, BLOCK_C))[None, :]
    inside = (pixel < P) & (channel < C)
    source = images_ptr + tl.load(index_ptr + image) * P * C
    values = tl.load(source + channel * P + pixel, mask=inside, other=0)
    if images_ptr.dtype.element_ty == tl.uint8:
        values = tl.div_rn(values.to(tl.float32), 255.0)
    values = values.to(tl.float32).to(out_ptr.dtype.element_ty)
    tl.store(out_ptr + image * P * C + pixel * C + channel, values, mask=inside)


def gather(images: Tensor, index: Tensor, dtype: torch.dtype) -> Tensor:
    """(M, C, H, W) contiguous, uint8 0..255 or floats, and (N,) int64 -> (N, C, H, W).

    The result is channels_last in memory; images of one channel have its strides as well. Nothing
    looks whether an index is one of 0..M - 1.
    """
    _, channels, height, width = images.shape
    pixels, count = height * width, len(index)
    out = torch.empty(count, height, width, channels, dtype=dtype, device=images.device)
    if out.numel():
        block = min(_CHANNELS, power_of_2(channels))
        tiles = triton.cdiv(pixels, _TILE // block) * triton.cdiv(channels, block)
        with torch.cuda.device_of(images):
            gather_kernel[(count, tiles)](
                images, index, out, pixels, channels,
                BLOCK_P=_TILE // block, BLOCK_C=block, num_warps=warps(_THREADS, images.device),
            )  # fmt: skip
    return out.permute(0, 3, 1, 2)
