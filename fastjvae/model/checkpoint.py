"""Loading any model, and the published and the resumable form of one on disk."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from fastjvae._numbers import is_integer, shown
from fastjvae.errors import ArgumentError, CheckpointError, first_sentence
from fastjvae.files import write_bytes, write_json
from fastjvae.functional.latents import LatentSpec
from fastjvae.json_files import read_json
from fastjvae.model.jointvae import JointVAE
from fastjvae.model.pretrained import (
    CONFIG,
    WEIGHTS,
    build_model,
    check_weights,
    from_pretrained,
    load_strict,
    model_config,
)
from fastjvae.model.published import OWN_HEAD, infer_architecture, without_prefixes
from fastjvae.model.torch_files import check_archive, read_torch

SPECS, PUBLISHED_WEIGHTS = "specs.json", "model.pt"
CHECKPOINT, PREVIOUS_CHECKPOINT = "checkpoint.pt", "checkpoint.previous.pt"

_CHECKPOINT_FORMAT = "fastjvae-checkpoint-1"
_REQUIRED = {"config", "model_config", "model", "optimizer", "step", "rng", "metrics", "data"}
_MOMENTS = {"step", "exp_avg", "exp_avg_sq"}  # of Adam, for each parameter that has had a step


def load(path: str | Path, *, hub: bool = False) -> JointVAE:
    """Load a model from whatever fastjvae or the published code wrote, in evaluation mode.

    Args:
        path: a run folder, a folder of :meth:`JointVAE.save_pretrained` or its
            ``model.safetensors``, a ``checkpoint.pt``, or a folder or ``model.pt`` of the published
            code.
        hub: whether ``path`` is the id of a repository of the Hub, ``user/name``, where there is
            no such file or folder.

    Raises:
        CheckpointError: nothing that can be loaded is there, or it is damaged; says what was found.
    """
    name, path = path, Path(path)
    if hub and not path.exists():
        return from_pretrained(name, JointVAE, hub=True)
    if path.name in (CONFIG, WEIGHTS) and path.is_file():  # one of a folder's files names it
        path = path.parent
    if (path / CONFIG).is_file() and (path / WEIGHTS).is_file():
        return from_pretrained(path, JointVAE)
    if checkpoint := find_checkpoint(path):  # of a run that has not finished
        path = checkpoint
    if path.is_file() and (path.name == CHECKPOINT or _is_checkpoint(path)):
        state = read_checkpoint(path)
        return build_model(state["model_config"], state["model"], path, path, JointVAE)
    if path.is_file() or (path / PUBLISHED_WEIGHTS).is_file():
        return load_published(path)
    found = sorted(p.name for p in path.iterdir()) if path.is_dir() else "no such file or folder"
    raise CheckpointError(
        f"{path} holds no model: expected {CONFIG} with {WEIGHTS}, {CHECKPOINT}, or"
        f" {PUBLISHED_WEIGHTS} with {SPECS}; found {found or 'an empty folder'}"
    )


# --- the published code's checkpoints: specs.json + model.pt --------------------------------------


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


def save_published(model: JointVAE, directory: str | Path, specs: Mapping[str, Any]) -> None:
    """Write ``model.pt`` and ``specs.json`` as the published code does.

    Args:
        model: a model with the standard encoder and decoder.
        directory: made if it does not exist.
        specs: training settings for ``specs.json``; the model's own entries are added.
    """
    directory = Path(directory)
    state = {key: tensor.cpu() for key, tensor in model.published_state_dict().items()}
    write_bytes(directory / PUBLISHED_WEIGHTS, _serialised(torch.save, state))
    write_json(directory / SPECS, {**specs, **model_config(model)})


def save_exported(model: JointVAE, directory: str | Path) -> None:
    """Write ``encoder.pt2`` and ``decoder.pt2``, programs of ``torch.export`` for any batch size.

    The encoder maps images (N, C, H, W) in [0, 1] to parameter rows (N, P), the decoder sample rows
    (N, L) to images in [0, 1].
    """
    directory = Path(directory)
    # torch.export specialises a dimension of size 1, so the example batch has two images.
    images = torch.zeros(2, *model.img_size, device=model.device, dtype=model.dtype)
    sample = torch.zeros(2, model.latent_dim, device=model.device, dtype=model.dtype)
    batch = {0: torch.export.Dim("batch", min=1)}
    # A copy with contiguous weights: torch.export.save warns of channels_last ones, and may lose
    # part of them.
    model = copy.deepcopy(model).to(memory_format=torch.contiguous_format).eval()
    for name, module, example in (
        ("encoder.pt2", model.encoder, images),
        ("decoder.pt2", _ImageDecoder(model), sample),
    ):
        program = torch.export.export(module, (example,), dynamic_shapes=(batch,))
        write_bytes(directory / name, _serialised(torch.export.save, program))


class _ImageDecoder(torch.nn.Module):
    def __init__(self, model: JointVAE) -> None:
        super().__init__()
        self.decoder = model.decoder

    def forward(self, sample: Tensor) -> Tensor:
        images: Tensor = self.decoder(sample).sigmoid().contiguous()
        return images


# --- resumable checkpoints ------------------------------------------------------------------------


def write_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Write ``checkpoint.pt`` atomically and keep the one before it as ``checkpoint.previous.pt``.

    The model's tensors are contiguous there, whatever their layout in training is.

    Raises:
        RunError: the folder cannot be written; both older checkpoints are then still there.
    """
    model = {name: tensor.contiguous() for name, tensor in state["model"].items()}
    whole = {"format": _CHECKPOINT_FORMAT, **state, "model": model}
    content = _serialised(torch.save, whole)
    write_bytes(folder / CHECKPOINT, content, keep=folder / PREVIOUS_CHECKPOINT)


def find_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint of a run folder; after a kill between renames the previous."""
    candidates: Iterable[Path] = (folder / CHECKPOINT, folder / PREVIOUS_CHECKPOINT)
    return next((path for path in candidates if path.is_file()), None)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training state.

    Raises:
        CheckpointError: the file is missing, damaged or foreign; names an intact previous one.
    """
    try:
        return _read_checkpoint(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error}{_hint_to_previous(path)}") from error


@contextmanager
def taking_up(path: Path) -> Iterator[None]:
    """Make one sentence of whatever the content of a checkpoint makes fail inside.

    Raises:
        CheckpointError: names the file, and an intact previous one.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # parts of another form can raise anything
        raise CheckpointError(
            f"{path} is damaged: its content cannot be taken up"
            f" ({type(error).__name__}: {first_sentence(error)}){_hint_to_previous(path)}"
        ) from error


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Take up Adam's moments; its settings stay those of the run, and of its device.

    Raises:
        ValueError, KeyError, ...: it is the state of another optimizer, see :func:`taking_up`.
    """
    settings = [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]
    groups = [
        {**theirs, **ours} for theirs, ours in zip(state["param_groups"], settings, strict=True)
    ]
    optimizer.load_state_dict({**state, "param_groups": groups})
    for group, before in zip(optimizer.param_groups, settings, strict=True):
        group.update(before)
        for parameter in group["params"]:
            moments = optimizer.state.get(parameter, {})
            if moments and moments.keys() != _MOMENTS:
                raise ValueError(f"the optimizer has {sorted(moments)} of a parameter")
            for name, value in moments.items():
                _check_moment(name, value, parameter)
                if name != "step" and value.stride() != parameter.stride():
                    moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _check_moment(name: str, value: Any, parameter: Tensor) -> None:
    """A kernel that updates all parameters at once does not look at shapes itself."""
    shape = () if name == "step" else tuple(parameter.shape)
    if (
        not isinstance(value, Tensor)
        or tuple(value.shape) != shape
        or not value.is_floating_point()
    ):
        raise ValueError(
            f"the optimizer's {name} must be floating numbers of shape {shape}, got {shown(value)}"
        )


def _read_checkpoint(path: Path) -> dict[str, Any]:
    check_archive(path)
    state = read_torch(path)
    if not isinstance(state, dict) or state.get("format") != _CHECKPOINT_FORMAT:
        raise CheckpointError(f"{path} is not a training checkpoint of fastjvae")
    if lacking := _REQUIRED - state.keys():
        raise CheckpointError(f"{path} is damaged: it lacks {', '.join(sorted(lacking))}")
    if not is_integer(state["step"]) or not 0 <= state["step"] < 2**53:
        raise CheckpointError(f"{path} is damaged: its step is {shown(state['step'])}")
    return state


def _hint_to_previous(path: Path) -> str:
    previous = path.with_name(PREVIOUS_CHECKPOINT)
    if path.name != CHECKPOINT:
        return ""
    try:
        _read_checkpoint(previous)
    except CheckpointError:
        return ""
    return f"; the one before it is {previous}"


def _is_checkpoint(path: Path) -> bool:
    try:
        return read_torch(path)["format"] == _CHECKPOINT_FORMAT  # type: ignore[no-any-return]
    except (CheckpointError, KeyError, TypeError, IndexError):
        return False


# --- files ----------------------------------------------------------------------------------------


def _serialised(save: Callable[[Any, IO[bytes]], None], value: Any) -> bytes:
    buffer = io.BytesIO()
    save(value, buffer)
    return buffer.getvalue()
