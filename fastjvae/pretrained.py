"""Saved models: a folder with ``config.json`` and ``model.safetensors``, local or on the Hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from fastjvae.errors import ArgumentError, CheckpointError
from fastjvae.files import write_bytes, write_json

if TYPE_CHECKING:
    from fastjvae.model import JointVAE

Model = TypeVar("Model", bound="JointVAE")

CONFIG, WEIGHTS = "config.json", "model.safetensors"
MODEL_FORMAT = "fastjvae-model-1"

_FLOATS = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16)
}


def save_pretrained(
    model: JointVAE,
    directory: str | Path,
    *,
    extra: Mapping[str, Any] | None = None,
    repo_id: str | None = None,
    push_to_hub: bool = False,
) -> None:
    """Write ``config.json`` and ``model.safetensors`` into ``directory``.

    Args:
        model: a model with the standard encoder and decoder.
        directory: made if it does not exist.
        extra: further entries for ``config.json``, such as how the model was trained.
        repo_id: Hub repository for ``push_to_hub``, by default the folder's name.
        push_to_hub: upload the folder as well; needs the ``hub`` extra.

    Raises:
        ArgumentError: the model has its own encoder or decoder, or its temperature is a tensor.
        RunError: the folder cannot be written.
    """
    from safetensors.torch import save

    directory = Path(directory)
    config = {"format": MODEL_FORMAT, "model": model_config(model), **(extra or {})}
    tensors = {
        key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()
    }
    write_bytes(directory / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    write_json(directory / CONFIG, config)
    if push_to_hub:
        _hub().HfApi().upload_folder(
            repo_id=_hub().HfApi().create_repo(repo_id or directory.name, exist_ok=True).repo_id,
            folder_path=directory,
            allow_patterns=[CONFIG, WEIGHTS],
        )


def from_pretrained(
    directory: str | Path, cls: type[Model], *, revision: str | None = None
) -> Model:
    """Read what :func:`save_pretrained` wrote; every tensor must be there and fit.

    Args:
        directory: the folder, or the id of a Hub repository (``user/name``; needs the ``hub``
            extra and is used where no such folder exists).
        cls: the model class.
        revision: of the Hub repository.

    Raises:
        CheckpointError: the files are missing, damaged, of another format or of another model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    folder = Path(directory)
    if not folder.is_dir() and len(folder.parts) == 2 and not folder.is_absolute():
        folder = _download(str(directory), revision)
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict) or config.get("format") != MODEL_FORMAT:
        found = config.get("format") if isinstance(config, dict) else type(config).__name__
        raise CheckpointError(f"{folder / CONFIG} must say format {MODEL_FORMAT!r}, got {found!r}")
    model = build_model(config.get("model"), folder / CONFIG, cls)
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError(f"{folder / WEIGHTS} is missing")
    try:
        # Its own reader of files takes no names that are not UTF-8.
        tensors = load((folder / WEIGHTS).read_bytes())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{folder / WEIGHTS} cannot be read or is damaged: {error}"
        ) from error
    load_strict(model, tensors, folder / WEIGHTS)
    return model


def model_config(model: JointVAE) -> dict[str, Any]:
    """Return what :func:`build_model` needs to build the model again; JSON types only."""
    if model.has_own_modules:
        raise ArgumentError(
            "a model with its own encoder or decoder cannot be rebuilt from a configuration;"
            " save its state_dict() instead"
        )
    if isinstance(model.temperature, Tensor):
        raise ArgumentError("a temperature that is a tensor cannot be saved; set a float first")
    return {
        "img_size": list(model.img_size),
        "latent_spec": model.spec.to_dict(),
        "temperature": model.temperature,
        "dtype": str(model.dtype).removeprefix("torch."),
    }


def build_model(config: Any, source: Path, cls: type[Model]) -> Model:
    """Build an untrained model from :func:`model_config`'s form, read from ``source``."""
    try:
        model = cls(config["img_size"], config["latent_spec"], config["temperature"])
        return model.to(_FLOATS[config["dtype"]])
    except (KeyError, TypeError, ArgumentError) as error:
        raise CheckpointError(f"{source} describes no JointVAE: {error}") from error


def load_strict(model: JointVAE, state: Mapping[str, Tensor], source: Path) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{source} holds the weights of another model: {reason}") from error


def read_json(path: Path) -> Any:
    """Read a JSON file; CheckpointError names it if it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise ArgumentError("Hub ids need the extra: pip install 'fastjvae[hub]'") from None
    return huggingface_hub


def _download(repo_id: str, revision: str | None) -> Path:
    hub = _hub()
    try:
        return Path(
            hub.snapshot_download(repo_id, revision=revision, allow_patterns=[CONFIG, WEIGHTS])
        )
    except (hub.errors.HfHubHTTPError, hub.errors.HFValidationError, OSError) as error:
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        raise CheckpointError(
            f"{repo_id} is neither a folder nor a Hub repository that can be read: {reason}"
        ) from error
