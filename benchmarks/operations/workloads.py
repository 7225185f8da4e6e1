"""The operations that the kernels serve, at the sizes of the paper's data sets and at large ones.

One list for everything that is measured of them: times, compiled resources, bytes moved.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from fastjvae import Capacity, LatentSpec, functional
from fastjvae.functional import Noise

# Appendix C of the paper, and one specification far beyond it whose rows are aligned.
SPECS = {
    "mnist": LatentSpec(10, (10,)),
    "celeba": LatentSpec(32, (10,)),
    "chairs": LatentSpec(32, (2, 2, 2)),
    "dsprites": LatentSpec(6, (3,)),
    "large": LatentSpec(512, (512, 512)),
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
IMAGE, RGB_IMAGE = (1, 32, 32), (3, 64, 64)  # channels, height, width of reconstructed images
TAU, CAPACITY = 0.67, Capacity(0.0, 5.0, 25_000, 30.0)

Outputs = tuple[Tensor, ...]


class Workload(NamedTuple):
    """One operation on inputs of one size.

    ``run(*inputs)`` returns outputs that are differentiable by the inputs that require gradients.
    The minimum of bytes is what every implementation must read and write once.
    """

    operation: str
    inputs: tuple[Tensor, ...]
    run: Callable[..., Outputs]
    forward_bytes: int
    backward_bytes: int


def workloads(
    spec: LatentSpec, rows: int, dtype: torch.dtype, device: str = "cpu"
) -> Iterator[Workload]:
    """Every operation for N = ``rows``, but for those of variables that ``spec`` does not have."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        values = torch.randn(*shape, generator=generator).to(device, dtype)
        return values.requires_grad_()

    bytes_each = torch.finfo(dtype).bits // 8
    row = rows * bytes_each
    seed = torch.tensor([7], device=device)
    step = torch.tensor(100, device=device)
    z, categories = spec.cont, spec.num_categories

    if spec.disc:
        size = spec.disc[0]
        yield Workload(
            "gumbel_softmax",
            (random(rows, size),),
            lambda logits: (functional.gumbel_softmax(logits, TAU, seed=seed),),
            2 * size * row,  # logits -> y
            3 * size * row,  # y, its gradient -> that of the logits
        )
    if z:
        yield Workload(
            "gaussian_rsample",
            (random(rows, z), random(rows, z)),
            lambda mean, logvar: (functional.gaussian_rsample(mean, logvar, seed=seed),),
            3 * z * row,  # mean, logvar -> z
            4 * z * row,  # logvar, gradient of z -> those of mean and logvar
        )
    yield Workload(
        "kl_capacity_loss",
        (random(rows, spec.num_params),),
        lambda params: (
            functional.kl_capacity_loss(params, spec, step, cont=CAPACITY, disc=CAPACITY).loss,
        ),
        spec.num_params * row,
        2 * spec.num_params * row,
    )
    yield Workload(
        "joint_latent",
        (random(rows, spec.num_params),),
        lambda params: tuple(functional.joint_latent(params, spec, TAU, seed=seed)),
        (spec.num_params + spec.sample_dim) * row,
        # parameters, the sample of the categories, gradient of the sample -> of the parameters
        (2 * spec.num_params + categories + spec.sample_dim) * row,
    )

    def uint8(*shape: int) -> Tensor:
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8).to(device)

    # The decoder writes channels_last, which is another order than that of the images for RGB.
    rgb = random(rows, *RGB_IMAGE).detach().contiguous(memory_format=torch.channels_last)
    for name, logits, target in (
        ("bernoulli_reconstruction", random(rows, *IMAGE), uint8(rows, *IMAGE)),
        ("bernoulli_reconstruction_rgb", rgb.requires_grad_(), uint8(rows, *RGB_IMAGE)),
    ):
        yield Workload(
            name,
            (logits,),
            partial(_reconstruction, target=target),
            logits.numel() * (bytes_each + 1),
            logits.numel() * (2 * bytes_each + 1),
        )
    target = uint8(rows, *IMAGE)
    pixels = target.numel()
    yield Workload(
        "joint_loss",
        (random(rows, spec.num_params), random(rows, *IMAGE)),
        lambda params, logits: _joint_loss(params, logits, target, spec, seed, step),
        (spec.num_params + spec.sample_dim) * row + pixels * (bytes_each + 1),
        (2 * spec.num_params + categories + spec.sample_dim) * row + pixels * (2 * bytes_each + 1),
    )


def _reconstruction(logits: Tensor, target: Tensor) -> Outputs:
    return (functional.bernoulli_reconstruction(logits, target),)


def _joint_loss(
    params: Tensor, logits: Tensor, target: Tensor, spec: LatentSpec, seed: Tensor, step: Tensor
) -> Outputs:
    """Everything of a training step but the networks: the sample and the loss."""
    block = functional.latent_block(params, spec, TAU, Noise(seed=seed))
    terms = functional.joint_loss(logits, target, block, spec, step, cont=CAPACITY, disc=CAPACITY)
    return block.sample, terms.loss
