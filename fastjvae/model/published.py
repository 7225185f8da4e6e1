"""Names of the published code's state dict (2018, ``jointvae/models.py``) and how ours map to them.

The published model has one linear layer per latent parameter; ours has one head whose rows are the
parameter row, so its slices are those layers.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fastjvae.errors import CheckpointError
from fastjvae.functional.latents import LatentSpec

SPECS, PUBLISHED_WEIGHTS = "specs.json", "model.pt"
OWN_HEAD = "encoder.head."

_PREFIXES = {
    "encoder.features.": "img_to_features.",
    "encoder.hidden.": "features_to_hidden.0.",
    "decoder.latent_to_features.": "latent_to_features.",
    "decoder.features_to_image.": "features_to_img.",
}
_PUBLISHED_PREFIXES = (*_PREFIXES.values(), "fc_mean.", "fc_log_var.", "fc_alphas.")


def without_prefixes(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state dict without what DataParallel and torch.compile put before its names.

    >>> without_prefixes({"module._orig_mod.fc_mean.weight": 1})
    {'fc_mean.weight': 1}
    """
    state = {key.replace("_orig_mod.", ""): value for key, value in state.items()}
    while state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


def is_published(state: Mapping[str, object]) -> bool:
    """Whether any key is one of the published code."""
    return any(key.startswith(_PUBLISHED_PREFIXES) for key in state)


def to_published(state: Mapping[str, Tensor], spec: LatentSpec) -> dict[str, Tensor]:
    """Map tensors under our names (weights, gradients, ...) to the published names; views."""
    published: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if key == f"{OWN_HEAD}weight":
            for layer, rows in _head_layers(spec).items():  # in the published order of keys
                published[f"{layer}.weight"] = tensor[rows]
                published[f"{layer}.bias"] = state[f"{OWN_HEAD}bias"][rows]
        elif key != f"{OWN_HEAD}bias":
            published[_renamed(key)] = tensor
    return published


def from_published(
    published: Mapping[str, Tensor], template: Mapping[str, Tensor], spec: LatentSpec
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Map published tensors to our names.

    Args:
        published: the published state dict.
        template: our state dict; what ``published`` lacks is taken from it.
        spec: the latent sizes of our model.

    Returns:
        Our state dict, the published keys that were missing and those that were not expected.

    Raises:
        CheckpointError: a tensor has another shape than the model's.
    """
    expected = to_published(template, spec)
    for key, tensor in expected.items():
        if key in published and published[key].shape != tensor.shape:
            raise CheckpointError(
                f"{key} has shape {tuple(published[key].shape)} in the state dict but"
                f" {tuple(tensor.shape)} in the model with {spec.to_dict()}"
            )
    ours: dict[str, Tensor] = {}
    for key, tensor in template.items():
        if key.startswith(OWN_HEAD):
            kind = key.removeprefix(OWN_HEAD)
            layers = [f"{layer}.{kind}" for layer in _head_layers(spec)]
            ours[key] = torch.cat([published.get(layer, expected[layer]) for layer in layers])
        else:
            ours[key] = published.get(_renamed(key), tensor)
    missing = [key for key in expected if key not in published]
    unexpected = [key for key in published if key not in expected]
    return ours, missing, unexpected


def infer_architecture(
    published: Mapping[str, Tensor],
) -> tuple[int, int, int, LatentSpec]:
    """Read channels, number of convolutions, features after them and latent sizes off the shapes.

    Raises:
        KeyError, IndexError: a layer is missing or has too few dimensions.
        ArgumentError: the latent sizes are impossible.
    """
    channels = published["img_to_features.0.weight"].shape[1]
    features = published["features_to_hidden.0.weight"].shape[1]
    convolutions = sum(
        key.startswith("img_to_features.") and key.endswith(".weight") for key in published
    )
    alphas = sum(key.startswith("fc_alphas.") and key.endswith(".weight") for key in published)
    spec = LatentSpec(
        published["fc_mean.weight"].shape[0] if "fc_mean.weight" in published else 0,
        tuple(published[f"fc_alphas.{i}.weight"].shape[0] for i in range(alphas)),
    )
    return channels, convolutions, features, spec


def _renamed(key: str) -> str:
    for ours, theirs in _PREFIXES.items():
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    return key


def _head_layers(spec: LatentSpec) -> dict[str, slice]:
    layers: dict[str, slice] = {}
    if spec.cont:
        layers["fc_mean"] = spec.mean
        layers["fc_log_var"] = spec.logvar
    layers.update({f"fc_alphas.{i}": rows for i, rows in enumerate(spec.logits)})
    return layers
