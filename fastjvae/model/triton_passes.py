"""The forward and the backward pass of a chain of layers on a GPU, by kernels and products.

:mod:`fastjvae.model.triton_layers` says what is one kernel, and differentiates them.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from fastjvae.model.cpu_convolutions import convolution, with_channels_last
from fastjvae.model.layers_as_built import LAYERS
from fastjvae_kernels.bias_gradients import MOST_ROWS, bias_gradients
from fastjvae_kernels.bias_relu import Product, bias_relu, partial_rows, relu_backward

_KINDS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_CONVOLUTION, _TRANSPOSED, _LINEAR = range(3)
_TURNS: tuple[Literal["flatten", "unflatten"] | None, ...] = (None, "flatten", "unflatten")


class Stage(NamedTuple):
    """A layer with a weight and what follows it, in integers, as custom operators take it."""

    kind: int  # index of _KINDS
    relu: int = 0
    turn: int = 0  # index of _TURNS: what happens to the shape behind the ReLU
    height: int = 0  # of the images that rows become
    width: int = 0

    @property
    def bias_in_product(self) -> bool:
        return self.kind == _LINEAR and not self.relu and not self.turn

    def product(self, shape: Sequence[int]) -> Product:
        """What the bias is added to, where the product has this shape."""
        images, features = shape[0], shape[1]
        pixels = math.prod(shape[2:])
        if _TURNS[self.turn] == "unflatten":
            pixels = self.height * self.width
            features //= pixels
        return Product(images, pixels, features, _TURNS[self.turn])


def stages_of(layers: Sequence[nn.Module]) -> list[Stage] | None:
    """The stages of layers as built, None where a change of shape is not one of a stage's."""
    stages: list[Stage] = []
    product: Any = None
    for layer in layers:
        kind: Any = type(layer)
        last = stages[-1] if stages else Stage(0)
        if kind in LAYERS:
            product = layer
            stages.append(Stage(_KINDS.index(kind)))
        elif not stages or (kind is not nn.ReLU and last.turn):
            return None
        elif kind is nn.ReLU:
            # Built anew field by field: PyTorch 2.8 compiles neither _replace() nor slices.
            stages[-1] = Stage(last.kind, 1, last.turn, last.height, last.width)
        elif kind is nn.Flatten:
            stages[-1] = Stage(last.kind, last.relu, _TURNS.index("flatten"))
        else:
            sizes: Any = layer.unflattened_size
            # -1 stands for what is left; what does not fit is the modules' error.
            if min(sizes) < 1 or math.prod(sizes) != product.weight.shape[0]:
                return None
            _, height, width = sizes
            stages[-1] = Stage(last.kind, last.relu, _TURNS.index("unflatten"), height, width)
    return stages


def stages_in(plan: Sequence[int]) -> list[Stage]:
    size = len(Stage._fields)
    return [Stage(*plan[i : i + size]) for i in range(0, len(plan), size)]


def forward_pass(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], plan: Sequence[int]
) -> list[Tensor]:
    """What each stage gives."""
    features = []
    for stage, weight, bias in zip(stages_in(plan), weights, biases, strict=True):
        if stage.bias_in_product:
            x = torch.addmm(bias.to(x.dtype), x, weight.t())
        else:
            x = _with_bias(stage, _product(stage, x, weight), bias)
        features.append(x)
    return features


def _product(stage: Stage, x: Tensor, weight: Tensor) -> Tensor:
    if stage.kind == _LINEAR:
        return x @ weight.t()
    x = with_channels_last(x)
    return with_channels_last(convolution(x, weight, None, stage.kind == _TRANSPOSED))


def _with_bias(stage: Stage, x: Tensor, bias: Tensor) -> Tensor:
    """The bias, the ReLU and the change of shape."""
    y = x if not stage.turn else dense(shape_behind(stage, x.shape), x)
    bias_relu(x, bias.contiguous(), y, stage.product(x.shape), relu=bool(stage.relu))
    return y


def shape_of_product(stage: Stage, x: Tensor, weight: Tensor) -> list[int]:
    if stage.kind == _LINEAR:
        return [x.shape[0], weight.shape[0]]
    height, width = x.shape[2:]
    if stage.kind == _TRANSPOSED:
        return [x.shape[0], weight.shape[1], 2 * height, 2 * width]
    return [x.shape[0], weight.shape[0], height // 2, width // 2]


def shape_behind(stage: Stage, shape: Sequence[int]) -> list[int]:
    """The shape that a product of this one is seen in by the next stage."""
    images, features = shape[0], math.prod(shape[1:])
    if _TURNS[stage.turn] == "flatten":
        return [images, features]
    if _TURNS[stage.turn] == "unflatten":
        return [images, features // (stage.height * stage.width), stage.height, stage.width]
    return list(shape)


def dense(shape: Sequence[int], like: Tensor) -> Tensor:
    """Rows side by side, or images channels_last, also in the strides of a single channel."""
    if len(shape) == 2:
        return like.new_empty(tuple(shape))
    images, channels, height, width = shape
    return like.new_empty((images, height, width, channels)).permute(0, 3, 1, 2)


def backward_pass(
    grad: Tensor,
    x: Tensor,
    features: Sequence[Any],
    weights: Sequence[Tensor],
    plan: Sequence[int],
    needs: Sequence[bool],
) -> list[Tensor]:
    """The gradients by x and the weights that ``needs`` names, and one row of all biases'.

    ``needs`` is of x, of each weight and of each bias. The row has the biases from the first stage
    on of which something needs a gradient.
    """
    stages = stages_in(plan)
    first = first_wanted(needs)
    inputs = [x, *features[:-1]]
    shapes = [shape_of_product(*of) for of in zip(stages, inputs, weights, strict=True)]
    products = [stage.product(shape) for stage, shape in zip(stages, shapes, strict=True)]
    # The last layer's gradient is the caller's, and may be summed up as it is.
    whole = stages[-1].bias_in_product and len(grad) <= MOST_ROWS
    summed = products[first : len(products) - whole]
    starts = [0, *accumulate(product.columns for product in summed)]
    rows = 1 + max(map(partial_rows, summed), default=0)
    partials = grad.new_empty((rows, starts[-1]), dtype=torch.float32)

    grad = with_channels_last(grad) if grad.dim() == 4 else grad.contiguous()
    last, found = grad if whole else None, []
    is_own = False  # the gradient that came in is the caller's
    for i in reversed(range(first, len(stages))):
        stage, weight = stages[i], weights[i]
        if i - first < len(summed):
            out = grad
            if stage.turn or (stage.relu and not is_own):
                out = dense(shapes[i], grad)
            columns = partials[:, starts[i - first] : starts[i - first + 1]]
            relu_backward(grad, features[i] if stage.relu else None, out, columns, products[i])
            grad = out
        wanted = i > first or needs[0], needs[1 + i]
        grad, by_weight = _product_backward(stage, grad, inputs[i], weight, *wanted)
        is_own = True
        found += [by_weight] if needs[1 + i] else []
    found += [grad] if needs[0] else []
    return [bias_gradients(partials, last), *reversed(found)]


def first_wanted(needs: Sequence[bool]) -> int:
    """The first stage of which something needs a gradient."""
    by_x, by_weights, by_biases = parts_of(needs)
    return 0 if by_x else [any(of) for of in zip(by_weights, by_biases, strict=True)].index(True)


def parts_of(of_all: Sequence[Any]) -> tuple[Any, list[Any], list[Any]]:
    """What belongs to x, to each weight and to each bias."""
    x, *rest = of_all
    return x, rest[: len(rest) // 2], rest[len(rest) // 2 :]


def _product_backward(
    stage: Stage, grad: Tensor, x: Tensor, weight: Tensor, by_x: bool, by_weight: bool
) -> tuple[Any, Any]:
    """The gradients of a product by x and by its weight, those that are asked for."""
    if stage.kind == _LINEAR:
        return grad @ weight if by_x else None, grad.t() @ x if by_weight else None
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward.default(
        grad, with_channels_last(x), weight, None, [2, 2], [1, 1], [1, 1],
        stage.kind == _TRANSPOSED, [0, 0], 1, [by_x, by_weight, False],
    )  # fmt: skip
    return (
        with_channels_last(grad_x) if by_x else None,
        _in_layout_of(weight, grad_weight) if by_weight else None,
    )


def _in_layout_of(weight: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in its weight's strides, which whoever adds it up looks for."""
    if gradient.stride() == weight.stride():
        return gradient
    if weight.shape[1] == 1 and weight[:, 0].is_contiguous():  # may have any stride there
        return gradient.as_strided(weight.shape, weight.stride())
    return torch.empty_like(weight).copy_(gradient)


def spread_gradients(
    found: Sequence[Tensor], needs: Sequence[bool], sizes: Sequence[int]
) -> tuple[Tensor | None, list[Tensor | None], list[Tensor | None]]:
    """Gradients by x, by each weight and by each bias from what :func:`backward_pass` has found."""
    row, *rest = found
    by_x, by_weights, by_biases = parts_of(needs)
    own, first = iter(rest), first_wanted(needs)
    grad_x = next(own) if by_x else None
    biases: list[Tensor | None] = [None] * first
    for needed, one in zip(by_biases[first:], torch.split(row, list(sizes[first:])), strict=True):
        biases.append(one if needed else None)
    return grad_x, [next(own) if needed else None for needed in by_weights], biases
