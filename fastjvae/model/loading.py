"""Loading a model from whatever fastjvae or the published code wrote."""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastjvae._numbers import shown
from fastjvae.errors import ArgumentError, CheckpointError
from fastjvae.files import read_json
from fastjvae.functional.latents import LatentSpec
from fastjvae.model.checkpoint import CHECKPOINT, find_checkpoint, is_checkpoint, read_checkpoint
from fastjvae.model.device import resolve_device
from fastjvae.model.hub import is_repository
from fastjvae.model.jointvae import JointVAE
from fastjvae.model.own_networks import GivenNetworks, Network
from fastjvae.model.pretrained import CONFIG, WEIGHTS, check_weights, load_strict
from fastjvae.model.published import (
    OWN_HEAD,
    PUBLISHED_WEIGHTS,
    SPECS,
    infer_architecture,
    without_prefixes,
)
from fastjvae.model.torch_files import read_torch


def load(
    path: str | Path,
    *,
    device: str | torch.device | None = None,
    hub: bool = False,
    encoder: Network | None = None,
    decoder: Network | None = None,
    encoder_args: Mapping[str, Any] | None = None,
    decoder_args: Mapping[str, Any] | None = None,
    trust_imports: bool = False,
) -> JointVAE:
    """Load a model from whatever fastjvae or the published code wrote, in evaluation mode.

    What is loaded never makes the program import what it names: own networks are given again, or
    the file is trusted.

    Args:
        path: a run folder, a folder of :meth:`JointVAE.save_pretrained` or its
            ``model.safetensors``, a ``checkpoint.pt``, or a folder or ``model.pt`` of the published
            code.
        device: "cpu", "cuda", "cuda:1", ... or "auto", to move the model to; by default it is on
            the CPU, and own networks are where they were given.
        hub: whether ``path`` is the id of a repository of the Hub, ``user/name``, where there is
            no such file or folder. Its ``config.json`` and ``model.safetensors`` are fetched, and
            nothing that could run code.
        encoder, decoder: the model's own networks: modules, which get its weights; or the names of
            their classes, "nets:ResNet", which must be those that the model was saved with.
        encoder_args, decoder_args: arguments of a class that is named. They must be those that the
            model was saved with, if it was saved with a name, and are those by default.
        trust_imports: import the classes that the model was saved with, and make them.

    Raises:
        ArgumentError: the model has own networks that were not given or trusted, which the message
            names, or others were given; there is no such device.
        CheckpointError: nothing that can be loaded is there, or it is damaged; says what was found.
    """
    given = GivenNetworks(encoder, decoder, encoder_args, decoder_args, trust_imports)
    if device is None:
        return _loaded(path, hub, given)
    where = resolve_device(device)  # before a large file is read
    return _loaded(path, hub, given).to(where)


def _loaded(path: str | Path, hub: bool, given: GivenNetworks) -> JointVAE:
    name, path = path, Path(path)
    if hub and not path.exists():
        return JointVAE.from_pretrained(name, hub=True, **vars(given))
    if path.name in (CONFIG, WEIGHTS) and path.is_file():  # one of a folder's files names it
        path = path.parent
    if (path / CONFIG).is_file() and (path / WEIGHTS).is_file():
        return JointVAE.from_pretrained(path, **vars(given))
    if checkpoint := find_checkpoint(path):  # of a run that has not finished
        path = checkpoint
    if path.is_file() and (path.name == CHECKPOINT or is_checkpoint(path)):
        state = read_checkpoint(path)
        return JointVAE.rebuilt(state["model_config"], state["model"], path, path, given)
    if path.is_file() or (path / PUBLISHED_WEIGHTS).is_file():
        given.for_model(None, path)  # which has the standard networks
        return load_published(path)
    found = sorted(p.name for p in path.iterdir()) if path.is_dir() else "no such file or folder"
    on_hub = ""
    if not path.exists() and is_repository(path.as_posix()):
        on_hub = f"; of the Hub, fastjvae.load({path.as_posix()!r}, hub=True) fetches it"
    raise CheckpointError(
        f"{path} holds no model: expected {CONFIG} with {WEIGHTS}, {CHECKPOINT}, or"
        f" {PUBLISHED_WEIGHTS} with {SPECS}; found {found or 'an empty folder'}{on_hub}"
    )


def load_published(folder_or_file: str | Path) -> JointVAE:
    """Load a checkpoint of the published code, ``specs.json`` and ``model.pt``; evaluation mode.

    Sizes are read off the weights; ``specs.json`` must agree where it is there. A ``model.pt``
    alone is enough for square images.

    Raises:
        CheckpointError: a file is missing or damaged, or the weights are not a JointVAE's.
    """
    path = Path(folder_or_file)
    weights = path / PUBLISHED_WEIGHTS if path.is_dir() else path
    state = _state_dict(weights)
    specs_path = weights.parent / SPECS
    specs = read_json(specs_path) if specs_path.is_file() else {}
    if not isinstance(specs, dict):
        raise CheckpointError(f"{specs_path} must hold a JSON object, got {shown(specs)}")
    try:
        channels, convolutions, features, spec = infer_architecture(state)
    except (ArgumentError, KeyError, IndexError) as error:
        raise CheckpointError(f"{weights} holds no published JointVAE: {error}") from error
    side = math.isqrt(features // 64) << min(convolutions, 31)
    img_size = specs.get("img_size", (channels, side, side))
    try:
        said = LatentSpec.from_dict(specs.get("latent_spec", spec))
        make = partial(JointVAE, img_size, spec, specs.get("temperature", 0.67))
        if said == spec:
            check_weights(make, state, weights)
            model = make()
    except ArgumentError as error:
        raise CheckpointError(f"{weights} and {specs_path}: {error}") from error
    if said != spec:
        raise CheckpointError(
            f"{specs_path} says latent_spec {shown(said.to_dict())}, the weights beside it have"
            f" {shown(spec.to_dict())}"
        )
    load_strict(model, state, weights)
    return model.eval()


def _state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors by name of a file, without the prefixes that wrappers give them."""
    found = read_torch(path)
    if isinstance(found, Mapping) and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items()
    ):
        state = without_prefixes(found)
        if f"{OWN_HEAD}weight" in state:
            raise CheckpointError(
                f"{path} is the state dict of a fastjvae.JointVAE, which does not tell the sizes of"
                f" its latent variables: make the model and call its load_state_dict, or save it"
                f" with save_pretrained"
            )
        return state
    if isinstance(found, Tensor):
        what = f"a single tensor of shape {tuple(found.shape)}"
    elif isinstance(found, Mapping):
        what = f"a dict of {shown(list(found))}"
    else:
        what = f"a {type(found).__name__}"
    raise CheckpointError(
        f"{path} is not a state dict of the published code: it holds {what}; save the"
        f" model.state_dict() alone"
    )
