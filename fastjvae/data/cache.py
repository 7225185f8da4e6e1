"""Prepared data on disk, so that the second run need not resize or decode again.

One safetensors file for each source and preparation. Its name is a hash of both, so a source file
that changed gives another name; its metadata hold a checksum of everything inside, so a file that
is damaged or foreign is never trusted, only rebuilt. A cache that cannot be used costs time and
one warning, never the run.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from fastjvae.data.prepare import reason
from fastjvae.data.source import DataSource, ImageData
from fastjvae.errors import DataError, RunError
from fastjvae.files import replacing

# Part of every key: raise it whenever the preparation or the file's form changes.
FORMAT = "fastjvae-data-1"

_TENSORS = ("images", "labels", "factors")

_warned_of: set[str] = set()


def user_folder() -> Path:
    """The user's cache folder for fastjvae, by the platform's own convention."""
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"], "fastjvae")
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"], "fastjvae")
    try:
        home = Path.home()
    except RuntimeError as error:
        raise DataError(
            "this user has no home folder, so FASTJVAE_DATA or --data-root must name one for data"
        ) from error
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "fastjvae"


def key_of(source: DataSource, files: Sequence[Path]) -> str:
    """A name for these source files, in their present state, prepared in this way.

    Raises:
        DataError: a source file cannot be read.
    """
    # The root counts beside the files: below another one the same pictures have other labels.
    root = str(source.path.absolute())
    wanted = asdict(source) | {"format": FORMAT, "root": root, "download": None}
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode())
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            raise DataError(f"{file} cannot be read: {reason(error)}") from error
        identity = [str(file.absolute()), status.st_size, status.st_mtime_ns]
        digest.update(json.dumps(identity).encode())
    return f"{source.name}-{digest.hexdigest()[:32]}"


def cached(key: str, build: Callable[[], ImageData]) -> ImageData:
    """The data stored under ``key``, or else what ``build`` returns, which is then stored."""
    try:
        folder = os.environ.get("FASTJVAE_CACHE")
        path = (Path(folder) if folder else user_folder()).expanduser() / f"{key}.safetensors"
    except DataError as error:
        _warn_once("the user's cache folder", reason(error))
        return build()
    data = _read(path)
    if data is None:
        data = build()
        _write(path, data)
    return data


def _read(path: Path) -> ImageData | None:
    """The data in a cache file; None where there is none that can be trusted."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            # Copies, so that a file changed by someone else cannot change what was checked.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        info = metadata.get("info", "")
        if metadata.get("sha256") != _checksum(path, info, tensors):
            return None
        fields: dict[str, Any] = json.loads(info)
        for field in {"label_names", "factor_names"} & fields.keys():
            fields[field] = tuple(fields[field])  # JSON made a list of it
        return ImageData(**fields | tensors)
    except (OSError, SafetensorError, ValueError, TypeError):
        return None


def _write(path: Path, data: ImageData) -> None:
    """Stores the data atomically: other processes see the whole file or none."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    fields = {field: value for field, value in vars(data).items() if value is not None}
    tensors = {field: fields.pop(field) for field in _TENSORS if field in fields}
    info = json.dumps(fields)
    metadata = {"info": info, "sha256": _checksum(path, info, tensors)}
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata)
    except (RunError, SafetensorError) as error:
        _warn_once(str(path.parent), reason(error))


def _warn_once(folder: str, why: str) -> None:
    if folder not in _warned_of:
        _warned_of.add(folder)
        warnings.warn(
            f"prepared data are not kept in {folder} ({why}), so that the next run prepares them "
            f"again: set FASTJVAE_CACHE to a folder that can be written",
            stacklevel=5,  # the caller of load
        )


def _checksum(path: Path, info: str, tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of all that a cache file says, and of the name that it must stand under."""
    digest = hashlib.sha256(f"{path.name}\n{info}\n".encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
