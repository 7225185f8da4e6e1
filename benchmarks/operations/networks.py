"""What the kernels do for the networks, as workloads: encoder, decoder, and the images they take.

The products are cuDNN's and cuBLAS's. Bytes are those of the Triton kernels alone, and their
minimum is what lies between two products: read and written once; on the way back the gradient and
what the ReLU gave are read and the gradient is written, or the gradient is read where there is no
ReLU.
"""

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from benchmarks.operations.workloads import IMAGE, RGB_IMAGE, Outputs, Workload
from fastjvae import JointVAE, functional
from fastjvae.model.layers_as_built import LAYERS, layers_as_built, parameters_of
from fastjvae.model.triton_layers import triton_chain
from fastjvae.model.triton_passes import stages_of


def network_workloads(rows: int, dtype: torch.dtype, device: str = "cpu") -> Iterator[Workload]:
    """Encoder and decoder with features in ``dtype``, and the gather of N = ``rows`` images."""
    for suffix, size in (("", IMAGE), ("_rgb", RGB_IMAGE)):
        torch.manual_seed(0)
        model = JointVAE(size, {"cont": 10, "disc": [10]}).to(memory_format=torch.channels_last)
        images, sample = torch.rand(rows, *size), torch.rand(rows, model.latent_dim)
        for name, network, x in (
            ("encoder", model.encoder, images),
            ("decoder", model.decoder, sample),
        ):
            x = x.to(device, dtype).requires_grad_()
            yield _network(f"{name}{suffix}", network.to(device), x)
        yield _gather(f"gather_images{suffix}", size, rows, dtype)


def _network(name: str, network: nn.Module, x: Tensor) -> Workload:
    layers = layers_as_built(list(network.chain()), x.dim())
    assert layers is not None
    stages = stages_of(layers)
    assert stages is not None
    forward, backward = _elements(layers, tuple(x.shape))
    bytes_each = x.element_size()

    def run(x: Tensor, *_parameters: Tensor) -> Outputs:
        return (triton_chain(layers, stages, x),)

    inputs = (x, *parameters_of(layers))
    return Workload(name, inputs, run, bytes_each * forward, bytes_each * backward)


def _elements(layers: Sequence[nn.Module], shape: tuple[int, ...]) -> tuple[int, int]:
    """Elements that the passes between products read and write, forward and backward."""
    forward = backward = 0
    x = torch.empty(shape, device="meta")
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        x = copy.deepcopy(layer).to("meta")(x)
        if type(layer) not in LAYERS:
            continue
        has_relu = type(following) is nn.ReLU
        # The bias of a linear layer without a ReLU is the product's own.
        forward += 2 * x.numel() * (has_relu or type(layer) is not nn.Linear)
        backward += x.numel() * (3 if has_relu else 1)
    return forward, backward


def _gather(name: str, size: tuple[int, int, int], rows: int, dtype: torch.dtype) -> Workload:
    """uint8 images by index; it has no gradient."""
    pixels = torch.zeros(rows, *size, dtype=torch.uint8)
    index = torch.arange(rows)
    moved = pixels.numel() * (1 + dtype.itemsize)

    def run() -> Outputs:
        functional.gather_images(pixels, index, dtype)
        return ()

    return Workload(name, (), run, moved, 0)
