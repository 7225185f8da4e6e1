"""Prepared data on disk, so that the second run need not resize or decode again.

One safetensors file for each source and preparation. Its name is a hash of both, so a source file
that changed gives another name; its metadata hold a checksum of everything inside, so a file that
is damaged or foreign is never trusted, only rebuilt. A cache that cannot be used costs time and
one warning, never the run.

Images whose prepared form is too large for memory are a .npy file instead, which is mapped. A file
of either kind is read once when it is opened, to check it.
"""

import hashlib
import json
import math
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from fastjvae.data.memory import fits, update_hash
from fastjvae.data.npy import map_array
from fastjvae.data.prepare import reason
from fastjvae.data.source import SIZES, DataSource, ImageData
from fastjvae.errors import DataError, RunError
from fastjvae.files import replacing

# Part of every key: raise it whenever the preparation or the file's form changes.
FORMAT = "fastjvae-data-3"

_SHA256_BYTES = 32
_TENSORS = ("images", "labels", "factors")

# Source files that are no more, and take no more bytes together, are hashed whole: some 100 ms.
_MOST_FILES = 1000
_HASHED_WHOLE = 2**26

# Temporary files of writers that were killed, where nothing else in their name says so: `replacing`
# had mkstemp's names. A day without a write is no writer at work.
_TEMPORARY = re.compile(r"\.[a-z-]+-[0-9a-f]{32}\.(safetensors|npy)\.[a-z0-9_]{8}\.tmp")
_A_DAY_S = 86_400

_warned_of: set[str] = set()
_cleaned: set[Path] = set()  # folders that this process has looked through


class Pixels(NamedTuple):
    """Prepared images.

    Attributes:
        array: (N, C, H, W) uint8, contiguous.
        mapped: whether it is on a memory map of a file.
        sha256: of its bytes, in hexadecimal, where it is known; see ``ImageData.known_digest``.
    """

    array: npt.NDArray[np.uint8]
    mapped: bool
    sha256: str | None


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
            "this user has no home folder, so FASTJVAE_DATA or --data-root must name one for data, "
            "and FASTJVAE_CACHE one for prepared data"
        ) from error
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "fastjvae"


def key_of(source: DataSource, files: Sequence[Path]) -> str:
    """A name for these source files, in their present state, prepared in this way.

    Raises:
        DataError: a source file cannot be read.
    """
    # The root counts beside the files: below another one the same pictures have other labels.
    root = source.root and str(source.path.absolute())
    size = source.image_size or SIZES.get(source.name)
    wanted = asdict(source) | {"root": root, "image_size": size, "download": None}
    wanted["format"] = FORMAT
    if not source.held_out:  # what is whole has the name that it had before there were parts
        del wanted["held_out"]
    if source.value_range == (0.0, 1.0):
        del wanted["value_range"]
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode())
    try:
        states = [file.stat() for file in files]
        total = sum(state.st_size for state in states)
        by_content = len(files) <= _MOST_FILES and total <= _HASHED_WHOLE
        for file, state in zip(files, states, strict=True):
            identity = [str(file.absolute()), state.st_size, state.st_mtime_ns]
            if not by_content:  # of a file in the place of another one it is never the same
                identity.append(state.st_ctime_ns)
            digest.update(json.dumps(identity).encode())
            if by_content:
                digest.update(file.read_bytes())
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {reason(error)}") from error
    return f"{source.name}-{digest.hexdigest()[:32]}"


def cached(key: str, build: Callable[[], ImageData]) -> ImageData:
    """The data stored under ``key``, or else what ``build`` returns, which is then stored.

    What is too large for memory comes on a map of its file; mapped data are on disk already and
    are not stored again.
    """
    try:
        path = _folder() / f"{key}.safetensors"
    except DataError as error:
        _warn_once("the user's cache folder", reason(error))
        return build()
    data = _read(path)
    if data is None:
        data = build()
        if not data.mapped:
            _write(path, data)
    return data


def gather(
    source: DataSource,
    files: Sequence[Path],
    shape: tuple[int, ...],
    chunks: Callable[[], Iterator[npt.NDArray[np.uint8]]],
    *,
    in_memory: float = math.inf,
) -> Pixels:
    """Images that are prepared some at a time: in memory where they fit there, or mapped.

    Args:
        source, files: name the file of those that are mapped, as in :func:`key_of`.
        shape: (N, C, H, W) of all images.
        chunks: gives them in order, some at a time; not called where the file is there already.
        in_memory: bytes; more than that are mapped even where they would fit into memory.

    Raises:
        DataError: the file cannot be written.
    """
    size = math.prod(shape)
    if size > in_memory or not fits(size):
        return array_on_disk(key_of(source, files), shape, chunks)
    pixels = np.empty(shape, np.uint8)
    end = 0
    for chunk in chunks():
        start, end = end, end + len(chunk)
        pixels[start:end] = chunk
    return Pixels(pixels, mapped=False, sha256=None)


def array_on_disk(
    key: str,
    shape: tuple[int, ...],
    chunks: Callable[[], Iterator[npt.NDArray[np.uint8]]],
) -> Pixels:
    """The uint8 array stored under ``key``, mapped; stored first, chunk by chunk, if it is not.

    Args:
        shape: of the whole array.
        chunks: gives its rows in order, some at a time.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        path = _folder() / f"{key}.npy"
        pixels = _read_array(path, shape)
        if pixels is None:
            sha256 = _write_array(path, shape, chunks())
            pixels = Pixels(map_array(path), mapped=True, sha256=sha256)
    except RunError as error:
        gib = math.prod(shape) / 2**30
        raise DataError(
            f"{gib:,.1f} GiB of images cannot be kept on disk ({reason(error)}): set "
            f"FASTJVAE_CACHE to a folder with room for them"
        ) from error
    return pixels


def _folder() -> Path:
    named = os.environ.get("FASTJVAE_CACHE")
    folder = (Path(named) if named else user_folder()).expanduser()
    if folder not in _cleaned:
        _cleaned.add(folder)
        _remove_leftovers(folder)
    return folder


def _remove_leftovers(folder: Path) -> None:
    """Remove what writers that were killed have left in the cache, up to GiB each."""
    with suppress(OSError):
        for path in folder.glob(".*.tmp"):
            ours = _TEMPORARY.fullmatch(path.name) is not None
            if ours and time.time() - path.stat().st_mtime > _A_DAY_S:
                path.unlink(missing_ok=True)


def _read(path: Path) -> ImageData | None:
    """The data in a cache file; None where there is none that can be trusted."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        # safetensors maps the file. What fits into memory is copied, so that a file changed by
        # someone else cannot change what was checked.
        mapped = not fits(sum(tensor.nbytes for tensor in tensors.values()))
        if not mapped:
            tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        info = metadata.get("info", "")
        if metadata.get("sha256") != _checksum(path, info, tensors):
            return None
        fields: dict[str, Any] = json.loads(info)
        for field in {"label_names", "factor_names", "factor_values", "notices"} & fields.keys():
            fields[field] = _tuple(fields[field])
        return ImageData(**fields | tensors, mapped=mapped)
    except Exception:  # whatever a damaged file makes its readers raise
        return None


def _write(path: Path, data: ImageData) -> None:
    """Stores the data atomically: other processes see the whole file or none."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    fields = {field: value for field, value in vars(data).items() if value is not None}
    del fields["mapped"]  # that depends on the memory of whoever reads the file
    fields.pop("_digest", None)
    tensors = {field: fields.pop(field) for field in _TENSORS if field in fields}
    info = json.dumps(fields)
    metadata = {"info": info, "sha256": _checksum(path, info, tensors)}
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata)
    except (RunError, SafetensorError) as error:
        _warn_once(str(path.parent), reason(error))


def _tuple(value: Any) -> Any:
    """The lists of a JSON value as tuples again."""
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


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
        update_hash(digest, tensor.numpy())
    return digest.hexdigest()


def _read_array(path: Path, shape: tuple[int, ...]) -> Pixels | None:
    """The array of a file by ``_write_array``; None where there is none that can be trusted."""
    try:
        with path.open("rb") as file:
            file.seek(-_SHA256_BYTES, os.SEEK_END)
            checksum = file.read()
        array = map_array(path)
    except Exception:  # whatever a damaged file makes its readers raise
        return None
    if array.dtype != np.uint8 or array.shape != shape or not array.flags.c_contiguous:
        return None
    digest = hashlib.sha256()
    update_hash(digest, array)
    if _named(path, digest.digest()) != checksum:
        return None
    return Pixels(array, mapped=True, sha256=digest.hexdigest())


def _write_array(
    path: Path, shape: tuple[int, ...], chunks: Iterator[npt.NDArray[np.uint8]]
) -> str:
    """A .npy file with a SHA-256 of its name and values behind them, where numpy overlooks it.

    Written as a file, since on a full disk a write to a memory map kills the process. Returns the
    SHA-256 of the values, in hexadecimal.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    digest = hashlib.sha256()
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks:
            file.write(chunk.data)
            update_hash(digest, chunk)
        file.write(_named(path, digest.digest()))
    return digest.hexdigest()


def _named(path: Path, digest: bytes) -> bytes:
    """The checksum of an array's file: values that belong under another name are not trusted."""
    return hashlib.sha256(path.name.encode() + digest).digest()
