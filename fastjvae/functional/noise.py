"""The noise of a sample: given, drawn from a Philox key, or from a generator."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastjvae._numbers import is_integer
from fastjvae.errors import ArgumentError
from fastjvae.functional.backends import philox
from fastjvae.functional.backends.reference import compute_dtype
from fastjvae.functional.checks import check_count
from fastjvae.functional.latents import LatentSpec


class Noise(NamedTuple):
    """Where the noise of a latent sample comes from; all empty means the device's own generator.

    ``normal`` (N, Z) and ``uniform`` (N, sum K) in [0, 1) stand in the order of the sample row;
    ``seed`` is a Python int or a (1,) int64 tensor on the device of the parameters. torch.compile
    cannot trace a ``generator``; there pass ``seed=draw_seed(device, generator)`` from outside.
    """

    normal: Tensor | None = None
    uniform: Tensor | None = None
    seed: int | Tensor | None = None
    generator: torch.Generator | None = None


def draw_seed(device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Draw a Philox key, a (1,) int64 tensor on ``device``, without waiting for the device."""
    check_generator(generator, device)
    return torch.randint(
        -(2**63), 2**63 - 1, (1,), dtype=torch.int64, device=device, generator=generator
    )


def prior_sample(
    spec: LatentSpec,
    n: int,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Sample rows (n, L) of the prior: normal units, uniform one-hot categories.

    Raises:
        ArgumentError: ``n`` is no number of rows.
    """
    check_count("the number of samples", n)
    z = torch.randn(n, spec.cont, device=device, dtype=dtype, generator=generator)
    hot = []
    for size in spec.disc:
        drawn = torch.randint(size, (n, 1), device=device, generator=generator)
        # Unlike one_hot this never looks at the numbers, for which it would wait.
        hot.append((drawn == torch.arange(size, device=device)).to(dtype))
    return torch.cat([z, *hot], dim=1)


def noise_tensors(like: Tensor, noise: Noise, units: int, categories: int) -> tuple[Tensor, Tensor]:
    """The noise itself, for the reference: normal (N, units) and uniform (N, categories).

    On a GPU a generator gives the key that it gives the kernels: both backends draw the same.
    """
    seed, normal, uniform = _checked(like, noise, units, categories)
    rows = like.shape[0]
    if seed is None and normal is None and uniform is None:
        if like.device.type != "cuda":
            dtype = compute_dtype(like)
            return drawn_noise(rows, units, categories, like.device, dtype, noise.generator)
        seed = draw_seed(like.device, noise.generator)
    if seed is not None:
        normal = philox.philox_normal(seed, rows, units)
        uniform = philox.philox_uniform(seed, rows, categories, philox.GUMBEL_STREAM)
    # Explicit noise that is missing is that of no columns.
    none = like.new_empty(rows, 0)
    return none if normal is None else normal, none if uniform is None else uniform


def drawn_noise(
    rows: int,
    units: int,
    categories: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Normal (rows, units) and uniform (rows, categories) noise of torch's own generators."""
    # torch.compile does not trace the keyword.
    options: dict[str, Any] = {} if generator is None else {"generator": generator}
    normal = torch.randn(rows, units, device=device, dtype=dtype, **options)
    return normal, torch.rand(rows, categories, device=device, dtype=dtype, **options)


def noise_key(
    like: Tensor, noise: Noise, units: int, categories: int
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Key, or normal and uniform noise, for the kernels, which draw from a key themselves."""
    seed, normal, uniform = _checked(like, noise, units, categories)
    if seed is None and normal is None and uniform is None:
        seed = draw_seed(like.device, noise.generator)
    return seed, normal, uniform


def check_generator(generator: torch.Generator | None, device: torch.device) -> None:
    """Raise ArgumentError unless the generator can fill tensors on ``device``."""
    if generator is not None and generator.device.type != device.type:
        raise ArgumentError(
            f"the generator is on {generator.device} but the noise is needed on {device};"
            f" make one with torch.Generator('{device}')"
        )


def _checked(
    like: Tensor, noise: Noise, units: int, categories: int
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Key, normal and uniform noise as given: checked, from one source, or all None."""
    explicit = {"normal": noise.normal, "uniform": noise.uniform}
    given = {name: tensor for name, tensor in explicit.items() if tensor is not None}
    check_generator(noise.generator, like.device)
    if noise.seed is not None and noise.generator is not None:
        raise ArgumentError("noise comes from a seed or from a generator, got both")
    for name, columns in (("normal", units), ("uniform", categories)):
        expected = (like.shape[0], columns)
        tensor = given.get(name)
        if tensor is None:
            if given and columns:
                raise ArgumentError(
                    f"explicit noise must cover every latent variable, but {name} of shape"
                    f" {expected} is missing"
                )
            continue
        if noise.seed is not None or noise.generator is not None:
            raise ArgumentError(
                f"noise is given as {name}= or drawn from a seed or generator, got both"
            )
        if tuple(tensor.shape) != expected or tensor.device != like.device:
            raise ArgumentError(
                f"{name} must have shape {expected} on {like.device},"
                f" got {tuple(tensor.shape)} on {tensor.device}"
            )
    seed = None if noise.seed is None else _seed_tensor(noise.seed, like.device)
    return seed, noise.normal, noise.uniform


def _seed_tensor(seed: int | Tensor, device: torch.device) -> Tensor:
    if not isinstance(seed, Tensor):
        if not is_integer(seed) or not -(2**63) <= seed < 2**63:
            raise ArgumentError(f"a seed is a 64-bit integer, got {seed!r}")
        # Filled on the device: a copy from the host would wait for it.
        return torch.full((1,), int(seed), dtype=torch.int64, device=device)
    if seed.shape != (1,) or seed.dtype != torch.int64 or seed.device != device:
        raise ArgumentError(
            f"a seed tensor must be int64 of shape (1,) on {device},"
            f" got {seed.dtype} of shape {tuple(seed.shape)} on {seed.device}"
        )
    return seed
