"""Settings of a run whose networks are not the standard ones."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from fastjvae.errors import ArgumentError
from fastjvae.model.own_networks import NETWORKS, Network, imported, offers_head
from fastjvae.training.settings.fields import flag
from fastjvae.training.settings.overrides import overridden
from fastjvae.training.settings.run import RunConfig
from fastjvae.training.settings.train import TrainConfig

# What draws the encoder's weights, and what fits its head or adds one; with what is none of it.
_OFF: dict[str, Any] = {
    "initialisation": "torch",
    "overclusters": 0,
    "refits": (),
    "merge": False,
    "spread": 0.0,
}


def own_encoder(given: Network | None) -> nn.Module | type | None:
    """An own encoder, or its class where it is named; None for the standard one.

    Raises:
        ArgumentError: it cannot be imported.
    """
    return imported("encoder", given) if isinstance(given, str) else given


def check_encoder_fits(config: TrainConfig, encoder: nn.Module | type | None) -> None:
    """Refuse settings that an encoder cannot have; ArgumentError names them."""
    if names := _unfit(config, encoder):
        kind = encoder.__name__ if isinstance(encoder, type) else type(encoder).__name__
        told = "; ".join(f"{flags} {be} for {which}" for flags, _, be, which in _unfit_flags(names))
        raise ArgumentError(f"{told}; this run has one of its own, {kind}")


def fitting(config: TrainConfig, encoder: nn.Module | type | None) -> tuple[TrainConfig, str]:
    """Settings without those that the encoder cannot have, and a sentence about what is left out.

    An own encoder keeps the weights that its class gives it. Heads are fitted anew or added only
    to one that tells what its head reads, see :func:`fastjvae.model.own_networks.offers_head`.

    Args:
        config: settings, such as those of a recipe.
        encoder: see :func:`own_encoder`.
    """
    if not (names := _unfit(config, encoder)):
        return config, ""
    fitted = overridden(config, {name: _OFF[name] for name in names})
    told = (
        f"{flags} {be} left out: {it} {be} for {which}"
        for flags, it, be, which in _unfit_flags(names)
    )
    return fitted, f"an own encoder: {'; '.join(told)}"


def _unfit(config: TrainConfig, encoder: nn.Module | type | None) -> list[str]:
    """The settings that need another encoder."""
    if encoder is None:
        return []
    phases = [phase.config for phase in config.phase_configs]
    names = _OFF if not offers_head(encoder) else ["initialisation"]
    return [name for name in names if any(getattr(p, name) != _OFF[name] for p in phases)]


def _unfit_flags(names: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Flags, "it is" or "they are" as two words, and the encoder that they are for."""
    standard = "the standard encoder"
    heads = [flag(name) for name in names if name != "initialisation"]
    found = [("--initialisation he", "it", "is", standard)] if "initialisation" in names else []
    if heads:
        which = f"{standard} or one with hidden_features and a head"
        found.append((", ".join(heads), *(("they", "are") if heads[1:] else ("it", "is")), which))
    return found


def named_networks(config: RunConfig) -> dict[str, Any]:
    """The own networks that settings name, as :func:`fastjvae.load` takes them."""
    found: dict[str, Any] = {}
    for which in NETWORKS:
        if (name := getattr(config, which, None)) is not None:
            found |= {which: name, f"{which}_args": getattr(config, f"{which}_args") or {}}
    return found


def can_share(encoder: nn.Module | type | None) -> bool:
    """Whether categories can begin with what neighbouring images share."""
    return encoder is None or offers_head(encoder)
