"""``load``: from a ``DataSource`` to ``ImageData``, through the cache where that saves time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from fastjvae.data.cache import cached, key_of
from fastjvae.data.datasets import arrays, celeba, chairs, digits, dsprites, images, mnist, sprites
from fastjvae.data.source import DataSource, ImageData

_Find = Callable[[DataSource], list[Path]]  # the files that a data set is made of
_Prepare = Callable[[DataSource, Sequence[Path]], ImageData]

_FAMILIES: dict[str, tuple[_Find, _Prepare]] = {
    "digits": (digits.find, digits.prepare),
    "mnist": (mnist.find, mnist.prepare),
    "fashion-mnist": (mnist.find, mnist.prepare),
    "chairs": (chairs.find, chairs.prepare),
    "celeba": (celeba.find, celeba.prepare),
    "dsprites": (dsprites.find, dsprites.prepare),
    "sprites": (sprites.find, sprites.prepare),
    "images": (images.find, images.prepare),
    "arrays": (arrays.find, arrays.prepare),
}


def load(source: DataSource, *, cache: bool = True) -> ImageData:
    """The images of ``source``, prepared once and read from the disk cache after that.

    They are in memory, or on a memory map where they need no preparation (a .npy file of uint8
    images in the layout N, C, H, W), are more than :data:`fastjvae.data.memory.SHARE` of memory, or
    are dsprites or sprites of more than 64 MiB.

    >>> data = load(DataSource("digits", split="test"))
    >>> data.name, len(data), data.img_size
    ('digits/test', 300, (1, 32, 32))

    Args:
        source: which data, and the size and channels to give them.
        cache: read and write prepared data in ``FASTJVAE_CACHE`` or the user's cache folder.
            Images that come on a memory map are prepared there whatever is said here.

    Raises:
        DataError: the data are missing, damaged or of the wrong form.

    Warns:
        UserWarning: of what was left out or assumed, see ``ImageData.notices``; and once, if the
            cache folder cannot be written; the data are loaded all the same.
    """
    find, prepare = _FAMILIES[source.name]
    files = find(source)
    if cache and _worth_caching(source):
        data = cached(key_of(source, files), lambda: prepare(source, files))
    else:
        data = prepare(source, files)
    for notice in data.notices:
        warnings.warn(notice, stacklevel=2)
    return data.loaded_from(source)


def _worth_caching(source: DataSource) -> bool:
    # The digits take milliseconds, and arrays of the right size are one pass over a file that is
    # no slower to read than the cache; what costs time is decoding pictures and resizing. dsprites
    # and sprites keep what is worth it themselves, mapped.
    if source.name == "arrays":
        return source.image_size is not None
    return source.name not in ("digits", "dsprites", "sprites")
