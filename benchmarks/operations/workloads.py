"""The operations that the kernels serve, at the sizes of the paper's data sets and at large ones.

One list for everything that is measured of them: times, compiled resources, bytes moved.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from fastjvae import Capacity, LatentSpec, functional
from fastjvae.functional import Gaussian, Noise

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
GROUP, OVERCLUSTERS = 4, 30  # as the fast recipe of MNIST has them
LARGEST_HEAD = 256  # whose shared information the kernels take
TAU, CAPACITY = 0.67, Capacity(0.0, 5.0, 25_000, 30.0)

Outputs = tuple[Tensor, ...]


class Workload(NamedTuple):
    """One operation on inputs of one size.

    ``run(*inputs)`` returns outputs that are differentiable by the inputs that require gradients.
    The minimum of bytes is what every implementation must read and write once. What nothing
    differentiates has no outputs here.
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
    log_scale = torch.tensor(-2.0, device=device)  # whose gradient the kernels write, too
    yield Workload(
        "gaussian_reconstruction",
        (random(rows, *IMAGE),),
        lambda logits: (functional.gaussian_reconstruction(logits, target, log_scale),),
        pixels * (bytes_each + 1),
        pixels * (2 * bytes_each + 1),
    )
    joint_bytes = (
        (spec.num_params + spec.sample_dim) * row + pixels * (bytes_each + 1),
        (2 * spec.num_params + categories + spec.sample_dim) * row + pixels * (2 * bytes_each + 1),
    )
    yield Workload(
        "joint_loss",
        (random(rows, spec.num_params), random(rows, *IMAGE)),
        lambda params, logits: _joint_loss(params, logits, target, spec, seed, step),
        *joint_bytes,
    )
    yield Workload(
        "joint_loss_gaussian",
        (random(rows, spec.num_params), random(rows, *IMAGE)),
        lambda params, logits: _joint_loss(
            params, logits, target, spec, seed, step, Gaussian(log_scale)
        ),
        *joint_bytes,
    )
    if spec.disc and max(spec.disc) <= LARGEST_HEAD:
        further = random(rows, OVERCLUSTERS)
        upstream = torch.zeros((), device=device)
        yield Workload(
            "shared_loss",
            (random(rows, spec.num_params), further),
            lambda params, further: (_shared_loss(params, further, upstream, spec, step),),
            (categories + OVERCLUSTERS) * row,
            (categories + OVERCLUSTERS + spec.num_params + OVERCLUSTERS) * row,
        )


def workloads_without_gradients(
    spec: LatentSpec, rows: int, dtype: torch.dtype, device: str = "cpu"
) -> Iterator[Workload]:
    """What a step does beside the loss, of N = ``rows`` images."""
    numbers = torch.zeros(spec.num_params, dtype=dtype, device=device)
    step_rows = torch.zeros(100, 4 + spec.num_params, device=device)
    following = torch.zeros(1, dtype=torch.int64, device=device)
    counts = torch.zeros(2, dtype=torch.int64, device=device)
    scalars = [torch.zeros((), dtype=dtype, device=device) for _ in range(4)]
    recorded = sum(value.nbytes for value in (*scalars, numbers)) + step_rows[0].nbytes

    def record() -> Outputs:
        functional.record_row(step_rows, following, [*scalars, numbers], counts=counts)
        return ()

    images = torch.zeros(rows, *RGB_IMAGE, dtype=torch.uint8, device=device)
    uniform = torch.full((rows, 6), 0.5, device=device)
    largest = torch.zeros(6, dtype=dtype, device=device)

    def move() -> Outputs:
        functional.random_affine(images, uniform, largest)
        return ()

    moved = images.numel() * (1 + dtype.itemsize)
    yield Workload("random_affine", (), move, moved + uniform.nbytes, 0)
    yield Workload("record_row", (), record, recorded + 2 * (following.nbytes + counts.nbytes), 0)


def _shared_loss(
    params: Tensor, further: Tensor, loss: Tensor, spec: LatentSpec, step: Tensor
) -> Tensor:
    return functional.shared_loss(
        loss.to(params.dtype) if params.dtype == torch.float64 else loss,
        params,
        spec,
        step,
        disc=CAPACITY,
        group=GROUP,
        pixels=1024,
        balance=0.3,
        further=further,
    ).loss


def _reconstruction(logits: Tensor, target: Tensor) -> Outputs:
    return (functional.bernoulli_reconstruction(logits, target),)


def _joint_loss(
    params: Tensor,
    logits: Tensor,
    target: Tensor,
    spec: LatentSpec,
    seed: Tensor,
    step: Tensor,
    gaussian: Gaussian | None = None,
) -> Outputs:
    """Everything of a training step but the networks: the sample and the loss."""
    block = functional.latent_block(params, spec, TAU, Noise(seed=seed))
    terms = functional.joint_loss(
        logits, target, block, spec, step, cont=CAPACITY, disc=CAPACITY, gaussian=gaussian
    )
    return block.sample, terms.loss
