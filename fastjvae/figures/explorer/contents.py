"""What the explorer's page says of a model: its variables, how far they go, and what is known."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastjvae._version import __version__
from fastjvae.errors import ArgumentError
from fastjvae.figures.labels import check_names, checked_shares, vector
from fastjvae.metrics.effect import effect_on_samples
from fastjvae.model import JointVAE
from fastjvae.model.latent_moves import Span, telling_categories, unit_values

_STEPS = 9  # pictures of a traversal, odd so that 0 is one of them


def contents(
    model: JointVAE, evaluation: Mapping[str, Any] | None, span: Span | None, name: str
) -> dict[str, Any]:
    """The page's entries in the form of JSON, without weights.

    Units come by their effect on the picture, the largest first; one whose effect is NaN last.

    Args:
        model: used in evaluation mode; its own mode is restored.
        evaluation: the content of ``evaluation.json``, where there is one; what it lacks is null.
        span: first and last value of a unit, by default the 5 % and 95 % quantiles of its prior.
        name: of the model.

    Raises:
        ArgumentError: the evaluation is of another model, or the span is no range.
    """
    spec, known = model.spec, evaluation or {}
    values = unit_values(_STEPS, span).tolist()
    variables = _variables(known.get("variables"), spec.disc)
    kl = _of_units("kl_cont", known.get("kl_cont"), spec.cont)
    effects = _of_units("effect_cont", known.get("effect_cont"), spec.cont)
    if None in effects or any(each["effect"] is None for each in variables):
        measured = effect_on_samples(model)
        effects = [_finite(effect) for effect in measured.cont]
        for variable, effect in zip(variables, measured.disc, strict=True):
            variable["effect"] = _finite(effect)
    order = sorted(range(spec.cont), key=lambda unit: -(effects[unit] or 0.0))
    row = telling_categories(model)
    return {
        "name": name,
        "version": __version__,
        "data": known.get("data"),
        "img_size": list(model.img_size),
        "latent_spec": {"cont": spec.cont, "disc": list(spec.disc)},
        "likelihood": model.likelihood,
        "value_range": list(model.value_range),
        "values": values,
        "units": [{"unit": unit, "kl": kl[unit], "effect": effects[unit]} for unit in order],
        "variables": variables,
        "start": [int(row[place].argmax()) for place in spec.categories],
    }


def _variables(known: Sequence[Mapping[str, Any]] | None, sizes: Sequence[int]) -> list[Any]:
    """The discrete variables: KL, effect, and share and name of each category."""
    if known is None:
        known = [{}] * len(sizes)
    if len(known) != len(sizes):
        raise ArgumentError(
            f"the evaluation is of another model, with {len(known)} discrete variables; this one"
            f" has {len(sizes)}"
        )
    found = []
    for of, size in zip(known, sizes, strict=True):
        shares, names = of.get("shares"), of.get("names")
        if shares is not None:
            shares = checked_shares(shares, size).tolist()
        if names is not None:
            check_names(names, size)
        found.append(
            {
                "kl": _finite(of.get("kl")),
                "effect": _finite(of.get("effect")),
                "categories": [
                    {"share": shares and shares[k], "name": names and names[k]} for k in range(size)
                ],
            }
        )
    return found


def _of_units(name: str, numbers: Sequence[float] | None, units: int) -> list[float | None]:
    """A number of each continuous unit; None of those that are unknown or not finite."""
    if numbers is None:
        return [None] * units
    known = [math.nan if number is None else number for number in numbers]
    return [*map(_finite, vector(name, known, units, "one number per continuous unit").tolist())]


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
