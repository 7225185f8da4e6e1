"""Loading any model, and the published and the resumable form of one on disk."""

from __future__ import annotations

import copy
import io
import math
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from fastjvae.errors import ArgumentError, CheckpointError
from fastjvae.files import write_bytes, write_json
from fastjvae.latents import LatentSpec
from fastjvae.model import JointVAE
from fastjvae.pretrained import (
    CONFIG,
    WEIGHTS,
    build_model,
    from_pretrained,
    load_strict,
    model_config,
    read_json,
)
from fastjvae.published import infer_architecture

SPECS, PUBLISHED_WEIGHTS = "specs.json", "model.pt"
CHECKPOINT, PREVIOUS_CHECKPOINT = "checkpoint.pt", "checkpoint.previous.pt"

_CHECKPOINT_FORMAT = "fastjvae-checkpoint-1"
_REQUIRED = {"config", "model_config", "model", "optimizer", "step", "rng", "metrics", "data"}


def load(path: str | Path) -> JointVAE:
    """Load a model from whatever fastjvae or the published code wrote, in evaluation mode.

    Args:
        path: a run folder, a folder of :meth:`JointVAE.save_pretrained` or its
            ``model.safetensors``, a ``checkpoint.pt``, or a folder or ``model.pt`` of the published
            code.

    Raises:
        CheckpointError: nothing that can be loaded is there, or it is damaged; says what was found.
    """
    path = Path(path)
    if path.name in (CONFIG, WEIGHTS) and path.is_file():  # one of a folder's files names it
        path = path.parent
    if (path / CONFIG).is_file() and (path / WEIGHTS).is_file():
        return from_pretrained(path, JointVAE).eval()
    for name in (CHECKPOINT, PREVIOUS_CHECKPOINT):  # a run that has not finished
        if (path / name).is_file():
            return load(path / name)
    if path.is_file() and _is_checkpoint(path):
        state = read_checkpoint(path)
        model = build_model(state["model_config"], path, JointVAE)
        load_strict(model, state["model"], path)
        return model.eval()
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
    state = _read_torch(weights)
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise CheckpointError(f"{weights} is not a state dict of the published code")
    specs_path = weights.parent / SPECS
    specs = read_json(specs_path) if specs_path.is_file() else {}
    if not isinstance(specs, dict):
        raise CheckpointError(f"{specs_path} must hold a JSON object, got {specs!r}")
    try:
        channels, convolutions, features, spec = infer_architecture(state)
    except (ArgumentError, KeyError, IndexError) as error:
        raise CheckpointError(f"{weights} holds no published JointVAE: {error}") from error
    side = math.isqrt(features // 64) << convolutions
    try:
        said = LatentSpec.from_dict(specs.get("latent_spec", spec))
        model = JointVAE(
            specs.get("img_size", (channels, side, side)), spec, specs.get("temperature", 0.67)
        )
    except ArgumentError as error:
        raise CheckpointError(f"{weights} and {specs_path}: {error}") from error
    if said != spec:
        raise CheckpointError(
            f"{specs_path} says latent_spec {said.to_dict()}, the weights beside it have"
            f" {spec.to_dict()}"
        )
    load_strict(model, state, weights)
    return model.eval()


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

    Raises:
        RunError: the folder cannot be written; both older checkpoints are then still there.
    """
    content = _serialised(torch.save, {"format": _CHECKPOINT_FORMAT, **state})
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
        _check_archive(path)
        state = _read_torch(path)
    except CheckpointError as error:
        previous = path.with_name(PREVIOUS_CHECKPOINT)
        hint = f"; the one before it is {previous}" if _is_checkpoint(previous) else ""
        raise CheckpointError(f"{error}{hint if path.name == CHECKPOINT else ''}") from error
    if not isinstance(state, dict) or state.get("format") != _CHECKPOINT_FORMAT:
        raise CheckpointError(f"{path} is not a training checkpoint of fastjvae")
    if lacking := _REQUIRED - state.keys():
        raise CheckpointError(f"{path} is damaged: it lacks {', '.join(sorted(lacking))}")
    return state


def _check_archive(path: Path) -> None:
    """Compare the checksums that torch.save stores but torch.load does not verify."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except (zipfile.BadZipFile, OSError) as error:
        raise CheckpointError(f"{path} is damaged or truncated: {error}") from error
    if broken:
        raise CheckpointError(f"{path} is damaged: the checksum of {broken} is wrong")


def _is_checkpoint(path: Path) -> bool:
    try:
        return _read_torch(path)["format"] == _CHECKPOINT_FORMAT  # type: ignore[no-any-return]
    except (CheckpointError, KeyError, TypeError):
        return False


# --- files ----------------------------------------------------------------------------------------


def _serialised(save: Callable[[Any, IO[bytes]], None], value: Any) -> bytes:
    buffer = io.BytesIO()
    save(value, buffer)
    return buffer.getvalue()


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of foreign pickles, which are refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except Exception as error:  # the unpickler raises almost anything on a foreign file
        raise CheckpointError(
            f"{path} is damaged or not a PyTorch file of tensors ({type(error).__name__})"
        ) from error
