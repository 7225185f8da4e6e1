"""Files of torch.save that anybody may have made: tensors are read, code never runs."""

import io
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from fastjvae._numbers import shown
from fastjvae.errors import CheckpointError, first_sentence


def read_torch(path: Path) -> Any:
    """Read a file of torch.save: tensors and plain values.

    Raises:
        CheckpointError: the file is missing or damaged, holds anything else, or tensors that would
            take more memory than is in it.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _check_sizes(path, archive)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of foreign pickles, which are refused below
            value = torch.load(path, map_location="cpu", weights_only=True)
        for tensor in _tensors(value):
            _check_tensor(path, tensor)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except CheckpointError:
        raise
    except Exception as error:  # the unpickler raises almost anything on a foreign file
        raise CheckpointError(_why_not_read(path, error)) from error
    return value


def _why_not_read(path: Path, error: Exception) -> str:
    if pickled := re.search(r"Unsupported global: GLOBAL (?:builtins\.)?([\w.]+)", str(error)):
        return (
            f"{path} holds a pickled {shown(pickled[1])} and not tensors alone, and a pickle is not"
            f" run here, for it can do anything: save the model.state_dict() where it was made"
        )
    if "TorchScript" in str(error):
        return f"{path} is a TorchScript archive: save the state_dict() of the model that it is of"
    return f"{path} is damaged or not a PyTorch file of tensors ({type(error).__name__})"


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested dicts and lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)


def _check_tensor(path: Path, tensor: Tensor) -> None:
    """Refuse a tensor whose copy would take more memory than is in the file."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise CheckpointError(
            f"{path} holds a tensor that is {str(tensor.layout).removeprefix('torch.')} on"
            f" {tensor.device}, and not all of its numbers"
        )
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        raise CheckpointError(
            f"{path} is damaged: a tensor of shape {tuple(tensor.shape)} takes"
            f" {tensor.nbytes} bytes and {tensor.untyped_storage().nbytes()} are there"
        )


def check_archive(path: Path) -> None:
    """Compare the checksums that torch.save stores but torch.load does not verify.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(path, archive)
            broken = archive.testzip()
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except CheckpointError:
        raise
    except Exception as error:  # zipfile knows many damages by what Python raises of them
        raise CheckpointError(f"{path} is damaged or truncated: {first_sentence(error)}") from error
    if broken:
        raise CheckpointError(f"{path} is damaged: the checksum of {shown(broken)} is wrong")


def _check_sizes(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse an archive that is larger than its file: torch.save compresses nothing."""
    sizes = [entry.file_size for entry in archive.infolist()]
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
    if packed or sum(sizes) > path.stat().st_size:
        raise CheckpointError(
            f"{path} is damaged: {sum(sizes)} bytes are packed into {path.stat().st_size}"
        )


def serialised(save: Callable[[Any, IO[bytes]], None], value: Any) -> bytes:
    """The content of the file that ``save(value, file)`` writes."""
    buffer = io.BytesIO()
    save(value, buffer)
    return buffer.getvalue()
