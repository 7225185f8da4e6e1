"""Numpy's files: their headers are compared with the file's size before anything is allocated."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from fastjvae._system import is_too_little_memory
from fastjvae.data.archives import check_member
from fastjvae.data.memory import check_room
from fastjvae.data.prepare import legible, reading, reason
from fastjvae.errors import DataError

MAGIC = b"\x93NUMPY"


class Header(NamedTuple):
    """The header of a .npy file, which describes its values.

    Attributes:
        shape: sizes of at least 0.
        fortran: whether the first index varies fastest.
        dtype: of the values, which are pickled where it has objects.
        start: bytes before the values.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    start: int

    @property
    def nbytes(self) -> int:
        """Bytes of the values, where they are not pickled."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes], size: int) -> Header:
    """The header at the beginning of a file of so many bytes, which stands behind it afterwards.

    Raises:
        ValueError: there is none, or it announces more values than the file can hold.
    """
    try:
        read = np.lib.format.read_array_header_1_0
        if np.lib.format.read_magic(file) != (1, 0):
            read = np.lib.format.read_array_header_2_0  # version 3 has other names of fields
        header = Header(*read(file), file.tell())
    except Exception as error:  # numpy takes the header for Python: its parser raises anything
        raise ValueError(f"its header is damaged ({reason(error)})") from error
    if any(type(side) is not int or not 0 <= side < 2**63 for side in header.shape):
        raise ValueError(f"its header announces the shape {list(header.shape)}")
    if not header.dtype.hasobject and header.start + header.nbytes > size:
        raise ValueError(
            f"its header announces {header.nbytes:,} bytes of values, got {size - header.start:,}"
        )
    return header


def map_array(path: Path) -> npt.NDArray[Any]:
    """The array of a .npy file on a memory map: what is looked at is read, nothing else.

    Whoever writes to it changes a copy of the page in memory, never the file. No system gives such
    a map to a file larger than the machine's memory; that one is read-only, and a write to it
    through a tensor, which torch does not forbid, ends the process. While the array lives Windows
    lets nobody replace or remove the file.

    Raises:
        OSError, ValueError: the file cannot be read, or is no .npy file or a truncated one.
    """
    with path.open("rb") as file:
        header = read_header(file, path.stat().st_size)
    if header.dtype.hasobject:
        raise ValueError("Object arrays are not read")
    try:
        return _map(path, header, "c")
    except OSError as error:
        if not is_too_little_memory(error):
            raise
        return _map(path, header, "r")


def _map(path: Path, header: Header, mode: Literal["c", "r"]) -> npt.NDArray[Any]:
    order: Literal["F", "C"] = "F" if header.fortran else "C"
    return np.memmap(path, header.dtype, mode, header.start, header.shape, order)


class Archive(Mapping[str, npt.NDArray[Any]]):
    """The arrays of an .npz file by their names; each is read when it is asked for."""

    def __init__(self, path: Path, members: ZipFile) -> None:
        self.path, self._zip = path, members
        self._members = {
            info.filename.removesuffix(".npy"): info
            for info in members.infolist()
            if info.filename.endswith(".npy")
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: object) -> bool:  # that of Mapping would read the array
        return name in self._members

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Read one array.

        Raises:
            DataError: it is damaged, of Python objects, or larger than memory.
        """
        with self.opened(name) as (header, _):
            if header.dtype.hasobject:
                raise ValueError(f"Object arrays such as {legible(name)} are not read")
            check_room(header.nbytes)
        with reading(self.path, "a numpy file"), self._zip.open(self._members[name]) as member:
            array: npt.NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        return array

    def header(self, name: str) -> Header:
        """The header of one array; errors as for the array itself."""
        with self.opened(name) as (header, _):
            return header

    def images(self, name: str, number: int) -> Iterator[npt.NDArray[Any]]:
        """Read one array of images in C order, ``number`` of them at a time at most.

        Raises:
            DataError: it is damaged, or holds more than its header says.
        """
        with self.opened(name) as (header, member):
            count, *shape = header.shape
            for start in range(0, count, number):
                read = min(number, count - start)
                content = member.read(read * math.prod(shape) * header.dtype.itemsize)
                yield np.frombuffer(content, header.dtype).reshape(read, *shape)
            if member.read(1):  # which also compares the member's checksum, at its end
                raise DataError(
                    f"{self.path} holds more in {legible(name)} than the {count} images of its"
                    f" header"
                )

    @contextmanager
    def opened(self, name: str) -> Iterator[tuple[Header, IO[bytes]]]:
        """The header of one array, and the file of its values behind it; errors are DataErrors."""
        with reading(self.path, "a numpy file"):
            info = self._members[name]
            check_member(info, self.path.stat().st_size)
            with self._zip.open(info) as member:
                yield read_header(member, info.file_size), member


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """The arrays of an .npz file.

    Raises:
        DataError: it is none, or damaged.
    """
    with reading(path, "a numpy file"):
        members = ZipFile(path)
    with members:
        yield Archive(path, members)
