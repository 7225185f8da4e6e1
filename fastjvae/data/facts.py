"""One row of facts for each data set: what is known before it is loaded."""

from typing import Literal, NamedTuple, get_args

from fastjvae.data.factors import MPI3D, MPI3D_COMPLEX, SHAPES3D, SPRITES, Grid

DatasetName = Literal[
    "digits",
    "mnist",
    "fashion-mnist",
    "chairs",
    "celeba",
    "dsprites",
    "sprites",
    "shapes3d",
    "mpi3d",
    "images",
    "arrays",
]
"""The name of a data set."""

DATASETS: tuple[DatasetName, ...] = get_args(DatasetName)
"""The names of all data sets."""

Heeded = Literal[
    "root", "channels", "labels", "download", "grid", "skip_damaged", "max_pixels", "held_out",
    "value_range",
]  # fmt: skip


class Facts(NamedTuple):
    """The facts about a data set that are known before it is loaded."""

    description: str  # in the help of the command line
    size: tuple[int, int] | None = None  # see fastjvae.data.source.SIZES
    has_split: bool = False  # into train and test
    root: str | None = None  # what --data-root must name; None where it need not be given
    heeds: tuple[Heeded, ...] = ()  # fields of a DataSource beside name, split and image_size
    grids: tuple[Grid, ...] = ()  # one of which DataSource.grid is a part of
    # Whether the prepared data are kept in the cache, or only images that were resized.
    cached: Literal["always", "resized", "never"] = "always"
    # In datasets, where it is not named as the data set: find(source), prepare(source, files).
    module: str | None = None


_PICTURES: tuple[Heeded, ...] = ("root", "skip_damaged", "max_pixels")

FACTS: dict[DatasetName, Facts] = {
    "digits": Facts(
        "scikit-learn's 1,797 handwritten digits, embedded; the default of make train",
        (32, 32),
        has_split=True,
        cached="never",  # they take milliseconds
    ),
    "mnist": Facts("handwritten digits", (32, 32), has_split=True, heeds=("root", "download")),
    "fashion-mnist": Facts(
        "pictures of clothes", (32, 32), has_split=True, heeds=("root", "download"), module="mnist"
    ),
    "chairs": Facts(
        "rendered chairs",
        (64, 64),
        has_split=True,
        root="folder of rendered_chairs",
        heeds=_PICTURES,
    ),
    "celeba": Facts(
        "aligned faces",
        (64, 64),
        has_split=True,
        root="folder or .zip file of aligned pictures",
        heeds=_PICTURES,
    ),
    "dsprites": Facts(
        "white shapes with five known factors",
        (64, 64),
        root=".npz file",
        heeds=("root",),
        cached="never",  # what is worth it the module keeps itself, mapped; as those below do
    ),
    "sprites": Facts(
        "the like drawn here, no file to bring",
        (64, 64),
        heeds=("grid",),
        grids=(SPRITES,),
        cached="never",
    ),
    "shapes3d": Facts(
        "3D Shapes, solids in a coloured room with six known factors",
        (64, 64),
        root="file 3dshapes.h5",
        heeds=("root", "grid"),
        grids=(SHAPES3D,),
        cached="never",
    ),
    "mpi3d": Facts(
        "MPI3D, things on a robot's arm with seven known factors, drawn or photographed",
        (64, 64),
        root=".npz file",
        heeds=("root", "grid"),
        grids=(MPI3D, MPI3D_COMPLEX),
        cached="never",
    ),
    "images": Facts(
        "a folder of pictures",
        root="folder of pictures",
        heeds=(*_PICTURES, "channels", "held_out"),
    ),
    "arrays": Facts(
        "a .npy or .npz file",
        root=".npy or .npz file",
        heeds=("root", "labels", "held_out", "value_range"),
        cached="resized",  # else they are one pass over a file that is read as fast as the cache
    ),
}
SPLIT_DATASETS = tuple(name for name, facts in FACTS.items() if facts.has_split)
"""The names of those that their makers split; ``DataSource.held_out`` splits images and arrays."""
