"""``load``: from a ``DataSource`` to ``ImageData``, through the cache where that saves time."""

import warnings
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from fastjvae.data.cache import cached, key_of
from fastjvae.data.facts import FACTS
from fastjvae.data.held_out import folders_of_splits, part_of
from fastjvae.data.source import DataSource, ImageData


def load(source: DataSource, *, cache: bool = True) -> ImageData:
    """The images of ``source``, prepared once and read from the disk cache after that.

    They are in memory, or on a memory map where they need no preparation (a .npy file of uint8
    images in the layout N, C, H, W), are more than :data:`fastjvae.data.memory.SHARE` of memory,
    are dsprites or sprites of more than 64 MiB, or are shapes3d or mpi3d.

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
    facts = FACTS[source.name]
    dataset = import_module(f"fastjvae.data.datasets.{facts.module or source.name}")
    divided = source.held_out > 0 and not folders_of_splits(source)
    asked = replace(source, held_out=0.0, split="train") if divided else source
    files: list[Path] = dataset.find(asked)

    def prepare() -> ImageData:
        data: ImageData = dataset.prepare(asked, files)
        return data

    worth_it = facts.cached == "always" or (facts.cached == "resized" and source.image_size)
    data = cached(key_of(asked, files), prepare) if cache and worth_it else prepare()
    if divided:
        data = part_of(data, source, files)
    for notice in data.notices:
        warnings.warn(notice, stacklevel=2)
    return data.loaded_from(source)
