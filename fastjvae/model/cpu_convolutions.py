"""4x4 convolutions of stride 2 in the forms that are cheapest on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

# Up to here 4 C channels, rounded up to a vector of 8, are fewer than 4 times C rounded up.
FEW_CHANNELS = 4
_CHANNELS_LAST = torch.channels_last
_STRIDE, _PADDING, _DILATION, _GROUPS = [2, 2], [1, 1], [1, 1], 1
_layout_is_kept = False


@contextmanager
def layout_kept() -> Iterator[None]:
    """Leave images in the layout that they have, for a program that is for any library.

    ``torch.compiler.is_exporting`` does not tell: to PyTorch 2.11 torch.compile exports as well.
    """
    global _layout_is_kept
    before, _layout_is_kept = _layout_is_kept, True
    try:
        yield
    finally:
        _layout_is_kept = before


def channels_last(images: Tensor) -> Tensor:
    """Images (N, C, H, W) in that layout, so that the layout of the weights changes no result.

    Inside torch.func's transforms they stay as they are: these know no layout. So they do within
    :func:`layout_kept`.
    """
    if torch._C._are_functorch_transforms_active() or _layout_is_kept:
        return images
    if images.device.type == "cpu":
        return with_channels_last(images)
    return images.contiguous(memory_format=_CHANNELS_LAST)


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool) -> Tensor:
    """A 4x4 convolution of stride 2 and padding 1, or its transpose."""
    return torch.convolution(
        x, weight, bias, _STRIDE, _PADDING, _DILATION, transposed, [0, 0], _GROUPS
    )


def convolution_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, mask: list[bool]
) -> tuple[Tensor, ...]:
    """Gradients by the input and the weight of a convolution, those that the mask names."""
    return torch.ops.aten.convolution_backward.default(  # type: ignore[no-any-return]
        grad, x, weight, None, _STRIDE, _PADDING, _DILATION, False, [0, 0], _GROUPS, mask
    )


def transposed_to_few_channels(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(N, I, H, W) -> (N, C, 2 H, 2 W), contiguous float32.

    Output row 2 i + k - 1 sums tap k over input rows i. Rows shifted by one, 2 i' + a with a in
    (0, 1), sum tap a of input row i' and tap a + 2 of row i' - 1, whatever a is: two taps in each
    direction, over an input with a margin of 1.
    """
    images, inputs, height, width = x.shape
    channels = weight.shape[1]
    taps = weight.reshape(inputs, channels, 2, 2, 2, 2)  # (I, C, tap, a, tap, b)
    blocks = _blocks_of_one_channel if channels == 1 else _blocks_of_channels
    shifted = blocks(x, taps, bias)
    y = x.new_empty(images, channels, height, 2, width, 2, dtype=torch.float32)
    for a in (0, 1):
        for b in (0, 1):
            block = shifted[1 - a, 1 - b, :, :, a : a + height, b : b + width]
            y[:, :, :, a, :, b] = block
    return y.view(images, channels, 2 * height, 2 * width)


def _blocks_of_channels(x: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
    """(2, 2, N, C, H + 1, W + 1): a convolution of 2x2 taps."""
    inputs, channels = taps.shape[:2]
    used = 4 * channels
    padding = -used % 8  # oneDNN is faster with whole vectors
    # (a, b, C, I, tap, tap), the later tap at the earlier row
    taps = taps.flip(2, 4).permute(3, 5, 1, 0, 2, 4).reshape(used, inputs, 2, 2)
    taps = F.pad(taps, (0, 0, 0, 0, 0, 0, 0, padding))
    bias = F.pad(bias.repeat(4), (0, padding))
    blocks = F.conv2d(x, taps.contiguous(memory_format=_CHANNELS_LAST), bias, padding=1)
    blocks = blocks[:, :used].permute(1, 0, 2, 3)
    return blocks.view(2, 2, channels, *blocks.shape[1:]).permute(0, 1, 3, 2, 4, 5)


def _blocks_of_one_channel(x: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
    """(2, 2, N, 1, H + 1, W + 1): a matrix product for all taps, which are then added up.

    Its rows are taps and its columns pixels, so that whole rows of an image are added.
    """
    images, inputs, height, width = x.shape
    rows = taps.permute(2, 4, 3, 5, 1, 0).reshape(16, inputs)  # (tap tap a b, I)
    pixels = x.permute(0, 2, 3, 1).reshape(-1, inputs)
    terms = (rows @ pixels.t()).view(2, 2, 4, images, height, width)
    blocks = x.new_empty(4, images, height + 1, width + 1, dtype=torch.float32)
    blocks[:, :, :-1, :-1] = terms[0, 0]
    blocks[:, :, -1] = blocks[:, :, :-1, -1] = 0.0
    blocks[:, :, :-1, 1:] += terms[0, 1]
    blocks[:, :, 1:, :-1] += terms[1, 0]
    blocks[:, :, 1:, 1:] += terms[1, 1]
    return blocks.add_(bias).view(2, 2, images, 1, height + 1, width + 1)


def weight_gradient_of_patches(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient by the weight (O, I, 4, 4) of a convolution, in channels_last.

    One product of the gradient with the patches of x (N, I, H, W).
    """
    inputs, outputs = x.shape[1], grad.shape[1]
    product = grad.permute(0, 2, 3, 1).reshape(-1, outputs).t() @ patches_of(x)
    return product.view(outputs, 4, 4, inputs).permute(0, 3, 1, 2)


def patches_of(x: Tensor) -> Tensor:
    """What each output pixel of a convolution of x (N, I, H, W) reads, copied: (N H W / 4, 16 I).

    A row has (4, 4, I) numbers.
    """
    _, inputs, height, width = x.shape
    margin = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    image, row, pixel, channel = margin.stride()
    size = (len(x), height // 2, width // 2, 4, 4 * inputs)  # a patch's rows are contiguous
    patches = margin.as_strided(size, (image, 2 * row, 2 * pixel, row, channel))
    return patches.reshape(-1, 16 * inputs)


def with_channels_last(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Images in that layout, which oneDNN looks for, and in a dtype; others get that alone.

    Images of one channel may have the strides of any layout.
    """
    is_image = x.dim() == 4
    if dtype not in (None, x.dtype):
        layout = _CHANNELS_LAST if is_image else torch.preserve_format
        x = x.to(dtype, memory_format=layout)
    if not is_image:
        return x
    x = x.contiguous(memory_format=_CHANNELS_LAST)
    _, channels, height, width = x.shape
    if channels > 1:
        return x
    return x.as_strided(x.shape, (height * width, 1, width, 1))
