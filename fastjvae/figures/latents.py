"""What a model has learned: reconstructions, traversals, samples (paper fig. 3, 4a, 7b)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from fastjvae import functional, reference
from fastjvae.errors import ArgumentError
from fastjvae.figures.grid import Block, Images, image_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastjvae.model import JointVAE

Vector = Tensor | NDArray[Any] | Sequence[float]

_LONGEST_ROW = 10
_DECODED_AT_ONCE = 256


def reconstructions(
    model: JointVAE, images: Tensor, *, title: str | None = None, max_images: int = 32
) -> Figure:
    """Images above their reconstructions from means and one-hot categories.

    Args:
        model: used in evaluation mode, as in every figure here; its own mode is restored.
        images: (N, C, H, W), uint8 0..255 or floats 0..1; the first ``max_images`` are shown.
        title: above the figure; remarks such as "32 of 100 images" are added to it.
        max_images: at least 1.

    Raises:
        ArgumentError: there are no images, or they are not of the model's size.
    """
    _check_count("max_images", max_images, least=1)
    if len(images) == 0:
        raise ArgumentError("reconstructions need at least one image, got none")
    shown = images[:max_images].to(model.device)
    with _evaluating(model):
        sample = functional.latent_sample(
            model.encode_params(shown), model.spec, model.temperature, training=False
        )
    inputs = reference.unit_interval(shown, torch.float32).clamp(0, 1).cpu().numpy()
    outputs = _decode(model, sample)
    pairs = math.ceil(len(shown) / _LONGEST_ROW)
    columns = math.ceil(len(shown) / pairs)
    blocks = [
        Block([above, below], ["input", "reconstruction"])
        for above, below in zip(
            _split(inputs, pairs, columns), _split(outputs, pairs, columns), strict=True
        )
    ]
    return image_grid(blocks, _title(title, _part(len(shown), len(images), "images")))


def traversals(
    model: JointVAE,
    kl_cont: Vector,
    *,
    kl_disc: Vector | None = None,
    steps: int = 10,
    base: Tensor | None = None,
    title: str | None = None,
    max_units: int = 10,
) -> Figure:
    """One latent variable changes along each row, all others stay (paper fig. 3 and 7b).

    Continuous units come first, by decreasing KL, each swept from the 5 % to the 95 % quantile of
    its prior in equal steps of probability. Then each discrete variable runs through its
    categories, the first ``steps`` of them where it has more.

    Args:
        model: any JointVAE of grey or RGB images.
        kl_cont: (Z,) KL per continuous unit in nats, empty for a model without.
        kl_disc: (D,) KL per discrete variable in nats, to show beside the rows.
        steps: images per row, at least 2.
        base: (L,) sample row that holds the other variables; by default the continuous units are 0
            and every discrete variable is in its first category.
        title: above the figure.
        max_units: number of units, and of discrete variables, that are shown at most.

    Raises:
        ArgumentError: the number of KLs or the length of ``base`` does not fit the model.
    """
    spec = model.spec
    _check_count("steps", steps, least=2)
    _check_count("max_units", max_units, least=1)
    kl_z = _vector("kl_cont", kl_cont, spec.cont, "one KL in nats per continuous unit")
    variables = [f"c{d}" for d in range(len(spec.disc))]
    if kl_disc is not None:
        kl_c = _vector("kl_disc", kl_disc, len(spec.disc), "one KL in nats per discrete variable")
        variables = [_with_kl(name, kl) for name, kl in zip(variables, kl_c, strict=True)]
    row = _first_categories(model) if base is None else base.detach().float().cpu()
    if row.shape != (spec.sample_dim,):
        raise ArgumentError(
            f"base must be one sample row of shape ({spec.sample_dim},), got {tuple(row.shape)}"
        )
    units = np.argsort(-kl_z, kind="stable")[:max_units].tolist()
    variables = variables[:max_units]
    blocks = []
    if units:
        labels = [_with_kl(f"z{unit}", kl_z[unit]) for unit in units]
        blocks.append(_sweep_units(model, row, units, labels, steps))
    if variables:
        blocks.append(_sweep_categories(model, row, variables, steps))
    notes = _part(len(units), spec.cont, "units")
    notes += _part(len(variables), len(spec.disc), "discrete variables")
    return image_grid(blocks, _title(title, notes))


def _sweep_units(
    model: JointVAE, row: Tensor, units: Sequence[int], labels: Sequence[str], steps: int
) -> Block:
    values = torch.special.ndtri(torch.linspace(0.05, 0.95, steps, dtype=torch.float64)).float()
    sample = row.repeat(len(units), steps, 1)
    for i, unit in enumerate(units):
        sample[i, :, unit] = values
    images = _decode(model, sample.flatten(0, 1))
    ticks = [_decimal(value) for value in values.tolist()]
    return Block(_split(images, len(units), steps), labels, ticks, "value of the unit")


def _sweep_categories(model: JointVAE, row: Tensor, labels: Sequence[str], steps: int) -> Block:
    rows, labels = [], list(labels)
    for d in range(len(labels)):
        size = model.spec.disc[d]
        shown = min(size, steps)
        sample = row.repeat(shown, 1)
        sample[:, model.spec.categories[d]] = torch.eye(shown, size)
        rows.append(_decode(model, sample))
        if shown < size:
            labels[d] += f"\nfirst {shown} of {size}"
    longest = max(len(images) for images in rows)
    return Block(rows, labels, [str(k) for k in range(longest)], "category")


def samples_by_category(
    model: JointVAE,
    *,
    variable: int = 0,
    samples: int = 10,
    shares: Vector | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
    title: str | None = None,
    max_categories: int = 20,
) -> Figure:
    """Samples of the prior with one discrete variable held in each of its categories (fig. 4a).

    The other variables are drawn once per column, so that a column shares its style.

    Args:
        model: a JointVAE with discrete variables, of grey or RGB images.
        variable: index of the discrete variable.
        samples: images per category.
        shares: (K,) share of images in each category, 0..1, shown beside the rows as percent.
        names: (K,) what the categories stand for, such as a class of labels.
        seed: of the draws, which are the same on every device.
        title: above the figure.
        max_categories: number of rows at most. Where there are more categories the first are
            shown, or with ``shares`` the most frequent.

    Raises:
        ArgumentError: the model has no such discrete variable; another number of shares or names.
    """
    spec = model.spec
    if not 0 <= variable < len(spec.disc):
        raise ArgumentError(
            f"variable must be the index of one of the model's {len(spec.disc)} discrete variables,"
            f" got {variable}"
        )
    _check_count("samples", samples, least=1)
    _check_count("max_categories", max_categories, least=1)
    size = spec.disc[variable]
    if names is not None and len(names) != size:
        raise ArgumentError(f"names must hold one name per category, {size}, got {len(names)}")
    chosen, labels = list(range(size)), [f"category {k}" for k in range(size)]
    if names is not None:
        labels = [f"{label}: {name}" for label, name in zip(labels, names, strict=True)]
    if shares is not None:
        share = _vector("shares", shares, size, "the share of images, 0..1, per category")
        if not ((share >= 0) & (share <= 1)).all():
            raise ArgumentError(
                "shares must lie between 0 and 1,"
                f" got values from {share.min():g} to {share.max():g}"
            )
        chosen = np.argsort(-share, kind="stable").tolist()
        labels = [f"{label}  {part:6.1%}" for label, part in zip(labels, share, strict=True)]
    chosen = sorted(chosen[:max_categories])
    columns = _prior_sample(model, samples, seed)
    sample = columns.repeat(len(chosen), 1, 1)
    sample[:, :, spec.categories[variable]] = one_hot(torch.tensor(chosen), size)[:, None].float()
    block = Block(
        _split(_decode(model, sample.flatten(0, 1)), len(chosen), samples),
        [labels[k] for k in chosen],
    )
    order = "most frequent" if shares is not None else "first"
    notes = [f"variable c{variable}"] if len(spec.disc) > 1 else []
    notes += [f"the {order} {note}" for note in _part(len(chosen), size, "categories")]
    return image_grid([block], _title(title, notes))


# --- the model ------------------------------------------------------------------------------------


@contextmanager
def _evaluating(model: JointVAE) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module is in its own mode again."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def _decode(model: JointVAE, sample: Tensor) -> Images:
    """Sample rows (n, L) of any device and dtype -> images (n, C, H, W)."""
    rows = sample.to(model.device, model.dtype)
    with _evaluating(model):
        images = [model.decode(part).float().cpu() for part in torch.split(rows, _DECODED_AT_ONCE)]
    return torch.cat(images).numpy()


def _first_categories(model: JointVAE) -> Tensor:
    """The sample row (L,) of zeros with every discrete variable in its first category."""
    row = torch.zeros(model.spec.sample_dim)
    row[[variable.start for variable in model.spec.categories]] = 1
    return row


def _prior_sample(model: JointVAE, n: int, seed: int) -> Tensor:
    """Sample rows (n, L): normal, uniform one-hot."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, model.spec.cont, generator=generator)
    hot = [
        one_hot(torch.randint(size, (n,), generator=generator), size).float()
        for size in model.spec.disc
    ]
    return torch.cat([z, *hot], dim=1)


# --- arguments and labels -------------------------------------------------------------------------


def _split(images: Images, rows: int, columns: int) -> list[Images]:
    return [images[i * columns : (i + 1) * columns] for i in range(rows)]


def _vector(name: str, values: Vector, length: int, meaning: str) -> NDArray[np.float64]:
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (length,):
        raise ArgumentError(
            f"{name} must hold {meaning}, shape ({length},), got shape {vector.shape}"
        )
    return vector


def _check_count(name: str, value: int, least: int) -> None:
    if value < least:
        raise ArgumentError(f"{name} must be at least {least}, got {value}")


def _part(shown: int, total: int, what: str) -> list[str]:
    return [f"{shown} of {total} {what}"] if shown < total else []


def _title(title: str | None, notes: Sequence[str]) -> str:
    remarks = ", ".join(notes)
    return f"{title} ({remarks})" if title and remarks else title or remarks


def _with_kl(name: str, kl_nats: float) -> str:
    return f"{name}  {kl_nats:.2f} nats"


def _decimal(value: float) -> str:
    """Two decimals with a true minus sign, and none before 0."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")
