"""The strided convolutions of encoder and decoder; on a CPU, each in its cheapest formulation.

A stack alternates 4x4 convolutions of stride 2 and padding 1, all transposed or none, with ReLUs.
On a GPU it is left to PyTorch. On a CPU one autograd function takes the whole stack, because

- gradients between its layers are its own, so that a ReLU's backward pass writes over them;
- a bias gradient is a sum of its own: oneDNN's bias loop costs up to two fifths of the weight
  gradient that it comes with;
- a transposed convolution with few output channels is one convolution of 2x2 and stride 1 with four
  times the channels, one per pixel of a 2x2 block, and a copy that puts the blocks side by side.
  oneDNN's own pads the few channels to a vector, for each pixel of the block again;
- the weight gradient of a convolution with one input channel is one matrix product over patches.

``python -m benchmarks.layers`` measures every layer both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastjvae.backends import use_by_hand

_CHANNELS_LAST = torch.channels_last
_STRIDE, _PADDING, _DILATION, _GROUPS = [2, 2], [1, 1], [1, 1], 1
# Up to here 4 C channels, rounded up to a vector of 8, are fewer than 4 times C rounded up.
_FEW_CHANNELS = 4


def run_stack(stack: nn.Sequential, x: Tensor) -> Tensor:
    """``stack(x)`` for x (N, C, H, W), with the same gradients."""
    if not _by_hand(stack, x):
        return stack(x)  # type: ignore[no-any-return]
    layers = [layer for layer in stack if not isinstance(layer, nn.ReLU)]
    transposed = isinstance(layers[0], nn.ConvTranspose2d)
    relu_at_end = isinstance(stack[-1], nn.ReLU)
    weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
    return _Stack.apply(x, transposed, relu_at_end, *weights, *biases)  # type: ignore[no-any-return]


def _by_hand(stack: nn.Sequential, x: Tensor) -> bool:
    """Whether a training step on a CPU asks for it, and nothing that only modules can serve."""
    return (
        use_by_hand(x)
        and len(x) > 0
        and torch.is_grad_enabled()
        and not nn.modules.module._has_any_global_hook()  # type: ignore[no-untyped-call]
        and all(_is_plain(layer) for layer in stack)
    )


def _is_plain(layer: nn.Module) -> bool:
    """Whether a layer is as built: of its own class, in float32, without hooks."""
    return (
        type(layer) in (nn.Conv2d, nn.ConvTranspose2d, nn.ReLU)
        and all(p.dtype == torch.float32 for p in layer.parameters(recurse=False))
        and not (
            layer._forward_hooks
            or layer._forward_pre_hooks
            or layer._backward_hooks
            or layer._backward_pre_hooks
        )
    )


class _Stack(torch.autograd.Function):
    """(x, transposed, relu_at_end, *weights, *biases) -> the stack's output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, transposed: bool, relu_at_end: bool, *wb: Tensor) -> Tensor:
        weights, biases = _halves(wb)
        features = [_channels_last(x)]
        for number, (weight, bias) in enumerate(zip(weights, biases, strict=True), start=1):
            if transposed and weight.shape[1] <= _FEW_CHANNELS:
                y = _transposed_to_few_channels(features[-1], weight, bias)
            else:
                y = _convolution(features[-1], weight, bias, transposed)
            if relu_at_end or number < len(weights):
                y.relu_()
            features.append(y)
        ctx.transposed, ctx.relu_at_end = transposed, relu_at_end
        # Without a ReLU the last features are not needed.
        kept = features if relu_at_end else features[:-1]
        ctx.save_for_backward(x, *kept[1:], *wb)
        return features[-1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, *saved = ctx.saved_tensors
        layers = (len(ctx.needs_input_grad) - 3) // 2
        features, wb = [x, *saved[: -2 * layers]], saved[-2 * layers :]
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted: PyTorch knows it
            return _differentiable_backward(ctx, x, wb, grad)
        features[0] = _channels_last(x)
        needs_x, _, _, *needs_wb = ctx.needs_input_grad
        needs_weight, needs_bias = _halves(needs_wb)
        weights, _ = _halves(wb)
        weight_grads: list[Tensor | None] = [None] * layers
        bias_grads: list[Tensor | None] = [None] * layers
        grad = _channels_last(grad)
        for i in reversed(range(layers)):
            if i < layers - 1:
                grad = _relu_backward_(grad, features[i + 1])
            elif ctx.relu_at_end:
                grad = torch.ops.aten.threshold_backward(grad, features[i + 1], 0)
            if needs_bias[i]:
                bias_grads[i] = grad.sum((0, 2, 3))
            if needs_weight[i]:
                weight_grads[i] = _weight_gradient(grad, features[i], weights[i], ctx.transposed)
            if not (needs_x or any(needs_weight[:i]) or any(needs_bias[:i])):
                return (None, None, None, *weight_grads, *bias_grads)
            grad = _input_gradient(grad, features[i], weights[i], ctx.transposed)
        return (grad if needs_x else None, None, None, *weight_grads, *bias_grads)


def _differentiable_backward(
    ctx: Any, x: Tensor, wb: Sequence[Tensor], grad: Tensor
) -> tuple[Tensor | None, ...]:
    weights, biases = _halves(wb)
    y = x
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True), start=1):
        y = _convolution(y, weight, bias, ctx.transposed)
        y = y.relu() if ctx.relu_at_end or number < len(weights) else y
    needs = [ctx.needs_input_grad[0], *ctx.needs_input_grad[3:]]
    wanted = [tensor for tensor, need in zip((x, *wb), needs, strict=True) if need]
    found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True))
    gradients = [next(found) if need else None for need in needs]
    return gradients[0], None, None, *gradients[1:]


# --- one layer ------------------------------------------------------------------------------------


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool) -> Tensor:
    return torch.convolution(
        x, weight, bias, _STRIDE, _PADDING, _DILATION, transposed, [0, 0], _GROUPS
    )


def _transposed_to_few_channels(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(N, I, H, W) -> (N, C, 2 H, 2 W), contiguous.

    Output row 2 i + k - 1 sums tap k over input rows i. Rows shifted by one, 2 i' + a with a in
    (0, 1), sum tap a of input row i' and tap a + 2 of row i' - 1, whatever a is: a convolution of
    2 taps in each direction, over an input with a margin of 1.
    """
    images, inputs, height, width = x.shape
    channels = weight.shape[1]
    # (I, C, tap, a, tap, b) -> (a, b, C, I, tap, tap), the later tap at the earlier row
    taps = weight.reshape(inputs, channels, 2, 2, 2, 2).flip(2, 4).permute(3, 5, 1, 0, 2, 4)
    used = 4 * channels
    padding = -used % 8  # oneDNN is faster with whole vectors
    taps = F.pad(taps.reshape(used, inputs, 2, 2), (0, 0, 0, 0, 0, 0, 0, padding))
    bias = F.pad(bias.repeat(4), (0, padding))
    blocks = F.conv2d(x, taps.contiguous(memory_format=_CHANNELS_LAST), bias, padding=1)
    shifted = blocks.permute(0, 2, 3, 1)[..., :used]
    shifted = shifted.view(*shifted.shape[:3], 2, 2, channels)
    y = x.new_empty(images, channels, height, 2, width, 2)
    for a in (0, 1):
        for b in (0, 1):
            block = shifted[:, a : a + height, b : b + width, 1 - a, 1 - b]
            y[:, :, :, a, :, b] = block.permute(0, 3, 1, 2)
    return y.view(images, channels, 2 * height, 2 * width)


def _relu_backward_(grad: Tensor, y: Tensor) -> Tensor:
    """The gradient before a ReLU that gave y, written over the one behind it."""
    return torch.ops.aten.threshold_backward.grad_input(grad, y, 0, grad_input=grad)  # type: ignore[no-any-return]


def _input_gradient(grad: Tensor, x: Tensor, weight: Tensor, transposed: bool) -> Tensor:
    if transposed:
        return _convolution(grad, weight, None, False)
    return _gradients(grad, x, weight, [True, False, False])[0]


def _weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, transposed: bool) -> Tensor:
    if transposed:  # the convolution from y to x that it is the transpose of
        return _gradients(x, grad, weight, [False, True, False])[1]
    if x.shape[1] == 1:
        patches = _patches(x)  # (N H/2 W/2, 16)
        rows = grad.permute(0, 2, 3, 1).reshape(len(patches), -1)
        return (rows.t() @ patches).view(weight.shape)
    return _gradients(grad, x, weight, [False, True, False])[1]


def _gradients(grad: Tensor, x: Tensor, weight: Tensor, mask: list[bool]) -> tuple[Tensor, ...]:
    """Gradients by the input and the weight of a convolution, those that the mask names."""
    return torch.ops.aten.convolution_backward(  # type: ignore[no-any-return]
        grad, x, weight, None, _STRIDE, _PADDING, _DILATION, False, [0, 0], _GROUPS, mask
    )


def _patches(x: Tensor) -> Tensor:
    """(N, 1, H, W) -> (N H/2 W/2, 16): the pixels that each output sees."""
    padded = F.pad(x[:, 0], (1, 1, 1, 1))
    return padded.unfold(1, 4, 2).unfold(2, 4, 2).reshape(-1, 16)


def _channels_last(x: Tensor) -> Tensor:
    """x in that layout, which oneDNN looks for: one channel may have the strides of any."""
    x = x.contiguous(memory_format=_CHANNELS_LAST)
    _, channels, height, width = x.shape
    return x.as_strided(x.shape, (channels * height * width, 1, channels * width, channels))


def _halves(values: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Weights and biases of a list that holds first those, then these."""
    return values[: len(values) // 2], values[len(values) // 2 :]
