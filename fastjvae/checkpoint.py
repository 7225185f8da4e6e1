"""Models and training states on disk: saved, published and resumable."""

from __future__ import annotations

import copy
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from fastjvae.errors import ArgumentError, CheckpointError
from fastjvae.files import replacing, write_json
from fastjvae.model import JointVAE
from fastjvae.published import infer_architecture

if TYPE_CHECKING:
    from collections.abc import Iterable

Model = TypeVar("Model", bound=JointVAE)

CONFIG, WEIGHTS = "config.json", "model.safetensors"
SPECS, PUBLISHED_WEIGHTS = "specs.json", "model.pt"
CHECKPOINT, PREVIOUS_CHECKPOINT = "checkpoint.pt", "checkpoint.previous.pt"

MODEL_FORMAT = "fastjvae-model-1"
_CHECKPOINT_FORMAT = "fastjvae-checkpoint-1"


def load(path: str | Path) -> JointVAE:
    """Load a model from whatever fastjvae or the published code wrote, in evaluation mode.

    Args:
        path: a run folder, a folder of :meth:`JointVAE.save_pretrained`, a ``checkpoint.pt``, or a
            folder or ``model.pt`` of the published code.

    Raises:
        CheckpointError: nothing that can be loaded is there, or it is damaged; says what was found.
    """
    path = Path(path)
    if (path / CONFIG).is_file() and (path / WEIGHTS).is_file():
        return from_pretrained(path, JointVAE).eval()
    for name in (CHECKPOINT, PREVIOUS_CHECKPOINT):  # a run that has not finished
        if (path / name).is_file():
            return load(path / name)
    if path.is_file() and _is_checkpoint(path):
        state = read_checkpoint(path)
        model = build_model(state["model_config"], path, JointVAE)
        _load_strict(model, state["model"], path)
        return model.eval()
    if path.is_file() or (path / PUBLISHED_WEIGHTS).is_file():
        return load_published(path)
    found = sorted(p.name for p in path.iterdir()) if path.is_dir() else "no such file or folder"
    raise CheckpointError(
        f"{path} holds no model: expected {CONFIG} with {WEIGHTS}, {CHECKPOINT}, or"
        f" {PUBLISHED_WEIGHTS} with {SPECS}; found {found or 'an empty folder'}"
    )


# --- saved models: config.json + model.safetensors ------------------------------------------------


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
    from safetensors.torch import save_file

    directory = Path(directory)
    config = {"format": MODEL_FORMAT, "model": model_config(model), **(extra or {})}
    tensors = {
        key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()
    }
    with replacing(directory / WEIGHTS) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
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
    from safetensors.torch import load_file

    folder = Path(directory)
    if not folder.is_dir() and len(folder.parts) == 2 and not folder.is_absolute():
        folder = _download(str(directory), revision)
    config = _read_json(folder / CONFIG)
    if not isinstance(config, dict) or config.get("format") != MODEL_FORMAT:
        found = config.get("format") if isinstance(config, dict) else type(config).__name__
        raise CheckpointError(f"{folder / CONFIG} must say format {MODEL_FORMAT!r}, got {found!r}")
    model = build_model(config.get("model"), folder / CONFIG, cls)
    try:
        tensors = load_file(folder / WEIGHTS)
    except FileNotFoundError:
        raise CheckpointError(f"{folder / WEIGHTS} is missing") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder / WEIGHTS} is damaged: {error}") from error
    _load_strict(model, tensors, folder / WEIGHTS)
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
    }


def build_model(config: Any, source: Path, cls: type[Model]) -> Model:
    """Build an untrained model from :func:`model_config`'s form, read from ``source``."""
    try:
        return cls(config["img_size"], config["latent_spec"], config["temperature"])
    except (KeyError, TypeError, ArgumentError) as error:
        raise CheckpointError(f"{source} describes no JointVAE: {error}") from error


def _load_strict(model: JointVAE, state: Mapping[str, Tensor], source: Path) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{source} holds the weights of another model: {reason}") from error


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
    specs = _read_json(specs_path) if specs_path.is_file() else {}
    if not isinstance(specs, dict):
        raise CheckpointError(f"{specs_path} must hold a JSON object")
    channels, convolutions, features, spec = infer_architecture(state)
    side = math.isqrt(features // 64) << convolutions
    img_size = tuple(specs.get("img_size", (channels, side, side)))
    try:
        model = JointVAE(img_size, spec, specs.get("temperature", 0.67))
    except ArgumentError as error:
        raise CheckpointError(f"{weights} describes no JointVAE: {error}") from error
    if "latent_spec" in specs and specs["latent_spec"] != spec.to_dict():
        raise CheckpointError(
            f"{specs_path} says latent_spec {specs['latent_spec']},"
            f" the weights beside it have {spec.to_dict()}"
        )
    _load_strict(model, state, weights)
    return model.eval()


def save_published(model: JointVAE, directory: str | Path, specs: Mapping[str, Any]) -> None:
    """Write ``model.pt`` and ``specs.json`` as the published code does.

    Args:
        model: a model with the standard encoder and decoder.
        directory: made if it does not exist.
        specs: training settings for ``specs.json``; the model's own entries are added.
    """
    directory = Path(directory)
    with replacing(directory / PUBLISHED_WEIGHTS) as temporary:
        torch.save({k: t.cpu() for k, t in model.published_state_dict().items()}, temporary)
    own = model_config(model)
    write_json(directory / SPECS, {**specs, **own})


def save_exported(model: JointVAE, directory: str | Path) -> None:
    """Write ``encoder.pt2`` and ``decoder.pt2``, programs of ``torch.export`` for any batch size.

    The encoder maps images (N, C, H, W) in [0, 1] to parameter rows (N, P), the decoder sample rows
    (N, L) to images in [0, 1].
    """
    directory = Path(directory)
    device = next(model.parameters()).device
    # torch.export specialises a dimension of size 1, so the example batch has two images.
    images = torch.zeros(2, *model.img_size, device=device)
    sample = torch.zeros(2, model.latent_dim, device=device)
    batch = {0: torch.export.Dim("batch", min=1)}
    # A copy with contiguous weights: torch.export.save warns of channels_last ones, and may lose
    # part of them.
    model = copy.deepcopy(model).to(memory_format=torch.contiguous_format).eval()
    for name, module, example in (
        ("encoder.pt2", model.encoder, images),
        ("decoder.pt2", _ImageDecoder(model), sample),
    ):
        program = torch.export.export(module, (example,), dynamic_shapes=(batch,))
        with replacing(directory / name) as temporary, temporary.open("wb") as file:
            torch.export.save(program, file)


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
    current = folder / CHECKPOINT
    with replacing(current) as temporary:
        torch.save({"format": _CHECKPOINT_FORMAT, **state}, temporary)
        if current.exists():
            current.replace(folder / PREVIOUS_CHECKPOINT)


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


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except Exception as error:  # the unpickler raises almost anything on a foreign file
        reason = str(error).strip().split("\n", maxsplit=1)[0].strip()
        raise CheckpointError(f"{path} is damaged or not a PyTorch file: {reason}") from error


def _read_json(path: Path) -> Any:
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
