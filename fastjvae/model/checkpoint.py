"""The checkpoint of a run that goes on: finding, reading and writing it."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fastjvae._numbers import is_integer, shown
from fastjvae.errors import CheckpointError, first_sentence
from fastjvae.files import write_bytes
from fastjvae.model.torch_files import check_archive, read_torch, serialised

CHECKPOINT, PREVIOUS_CHECKPOINT = "checkpoint.pt", "checkpoint.previous.pt"

_FORMAT = "fastjvae-checkpoint-1"
_REQUIRED = {"config", "model_config", "model", "optimizer", "step", "rng", "metrics", "data"}


def write_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Write ``checkpoint.pt`` atomically and keep the one before it as ``checkpoint.previous.pt``.

    The model's tensors are contiguous there, whatever their layout in training is.

    Raises:
        RunError: the folder cannot be written; both older checkpoints are then still there.
    """
    model = {name: tensor.contiguous() for name, tensor in state["model"].items()}
    whole = {"format": _FORMAT, **state, "model": model}
    content = serialised(torch.save, whole)
    write_bytes(folder / CHECKPOINT, content, keep=folder / PREVIOUS_CHECKPOINT)


def find_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint of a run folder; after a kill between renames the previous."""
    candidates: Iterable[Path] = (folder / CHECKPOINT, folder / PREVIOUS_CHECKPOINT)
    return next((path for path in candidates if path.is_file()), None)


def is_checkpoint(path: Path) -> bool:
    """Whether the file is a checkpoint, by its content."""
    try:
        return read_torch(path)["format"] == _FORMAT  # type: ignore[no-any-return]
    except (CheckpointError, KeyError, TypeError, IndexError):
        return False


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
    except Exception as error:  # entries of another form can raise anything
        raise CheckpointError(
            f"{path} is damaged: its content cannot be taken up"
            f" ({type(error).__name__}: {first_sentence(error)}){_hint_to_previous(path)}"
        ) from error


def _read_checkpoint(path: Path) -> dict[str, Any]:
    check_archive(path)
    state = read_torch(path)
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
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
