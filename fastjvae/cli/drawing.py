"""One figure at a time: what ``fastjvae figures FIGURE`` and ``fastjvae edit`` do."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastjvae import figures
from fastjvae.cli.figure_commands import (
    Animation,
    Azimuth,
    Edit,
    Grid,
    KLGrowth,
    Metrics,
    OfModel,
    Ranked,
    Reconstructions,
    Samples,
    SideBySide,
    Traversal,
)
from fastjvae.data import ImageData
from fastjvae.errors import ArgumentError, DataError
from fastjvae.files import printable, write_bytes
from fastjvae.metrics.clusters import contingency
from fastjvae.model import JointVAE, read_picture
from fastjvae.model.encoding import Encoding, encode
from fastjvae.model.latent_moves import discrete_variable, prior_sample
from fastjvae.training.run_folder import RunFolder, read_metrics, run_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Subject:
    """A model that figures are drawn of, and its data, which are loaded when a figure needs them.

    Attributes:
        path: where the model was loaded from.
        load: gives the data; ArgumentError if none are known.
    """

    path: str
    model: JointVAE
    load: Callable[[], ImageData]

    @cached_property
    def data(self) -> ImageData:
        return self.load()

    @cached_property
    def encoding(self) -> Encoding:
        return encode(self.model, self.data.images)

    @property
    def kl_cont(self) -> NDArray[np.float64]:
        """KL of each continuous unit, nats."""
        return self.encoding.kl[: self.model.spec.cont]

    @property
    def kl_disc(self) -> NDArray[np.float64]:
        """KL of each discrete variable, nats."""
        return self.encoding.kl[self.model.spec.cont :]


Open = Callable[[str], Subject]


def draw(command: Any, open_model: Open) -> Path:
    """Draw the figure that a command names; returns the file it was written to.

    Args:
        command: one of :data:`fastjvae.cli.figure_commands.FIGURES`, or an ``Edit``.
        open_model: loads the model of a path.

    Raises:
        ArgumentError: the figure does not fit the model, or needs data that there are not.
    """
    if isinstance(command, Edit):
        return _edit(command, open_model)
    if isinstance(command, Animation):
        return _animation(command, open_model)
    folder = run_of(command.run).figures if isinstance(command, OfModel) else Path()
    target = _Target(command.out, folder, figures.FORMATS)  # a wrong one shows before it is drawn
    name, figure = _DRAWN[type(command)](command, open_model)
    path = target.file(name)
    figures.save(figure, path)
    return path


class _Target:
    """Where ``--out`` puts a figure: a file of one of the ``formats``, or in a folder.

    Raises:
        ArgumentError: it has another suffix, and is no folder that is there.
    """

    def __init__(self, out: str | None, folder: Path, formats: Sequence[str]) -> None:
        self._file: Path | None = None
        self._folder, self._format = folder, formats[0]
        if out is None:
            return
        path = Path(out)
        if path.suffix.lower()[1:] in formats and not path.is_dir():
            self._file = path
        elif path.suffix and not (path.is_dir() or out.endswith(("/", os.sep))):
            known = " or ".join(f".{each}" for each in formats)
            raise ArgumentError(
                f"--out is a file that ends in {known}, or a folder, whose name has no other"
                f" ending or a {os.sep} behind it; got {out}"
            )
        else:
            self._folder = path

    def file(self, name: str) -> Path:
        """The file for a figure of this name."""
        return self._file or self._folder / f"{name}.{self._format}"


def figures_folder(out: str | None, run: RunFolder) -> Path:
    """The folder that ``--out`` names for all figures of a run, by default the run's.

    Raises:
        ArgumentError: it is the name of a single figure's file.
    """
    if out is None:
        return run.figures
    path = Path(out)
    if path.suffix.lower()[1:] in figures.FORMATS and not path.is_dir():
        raise ArgumentError(
            f"--out is a folder for all figures of the run, got the file {out}; for one figure name"
            f" it, as in: fastjvae figures ranked {run} --out {out}"
        )
    return path


# --- figures of one model -------------------------------------------------------------------------

_Drawn = tuple[str, "Figure"]  # name of the file, and the figure


def _reconstructions(command: Reconstructions, open_model: Open) -> _Drawn:
    subject = open_model(command.run)
    figure = figures.reconstructions(
        subject.model, subject.data.images, max_images=command.max_images
    )
    return "reconstructions", figure


def _traversal(command: Traversal, open_model: Open) -> _Drawn:
    model = open_model(command.run).model
    base = prior_sample(model.spec, command.samples, command.seed) if command.samples > 0 else None
    figure = figures.traversal(
        model, unit=command.unit, variable=command.variable, base=base, steps=command.steps
    )
    latent = f"z{command.unit}" if command.unit is not None else f"c{command.variable}"
    return f"traversal-{latent}", figure


def _grid(command: Grid, open_model: Open) -> _Drawn:
    subject = open_model(command.run)
    rows, columns = command.rows, command.columns
    if rows is None or columns is None:
        spec = subject.model.spec
        units = [f"z{unit}" for unit in np.argsort(-subject.kl_cont, kind="stable")]
        variables = [f"c{d}" for d in range(len(spec.disc))]
        columns = columns or _first([*units, *variables], rows)
        rows = rows or _first([*variables[:1], *units, *variables[1:]], columns)
    figure = figures.traversal_grid(subject.model, rows, columns, steps=command.steps)
    return f"grid-{rows}-{columns}", figure


def _first(names: Iterable[str], taken: str | None) -> str:
    free = next((name for name in names if name != taken), None)
    if free is None:
        raise ArgumentError("a grid needs two latent variables, and the model has only one")
    return free


def _samples(command: Samples, open_model: Open) -> _Drawn:
    subject, number = open_model(command.run), command.variable
    discrete_variable(number, subject.model.spec)  # a wrong number shows before the data are read
    shares = _shares(subject, number) if command.shares else None
    names = _label_of_categories(subject, number) if command.names else None
    figure = figures.samples_by_category(
        subject.model,
        variable=number,
        samples=command.samples,
        seed=command.seed,
        shares=shares,
        names=names,
    )
    return f"samples-c{number}", figure


def _shares(subject: Subject, variable: int) -> NDArray[np.float64]:
    """The share of the images that each category has."""
    categories = subject.encoding.discrete[:, variable]
    return np.bincount(categories, minlength=subject.model.spec.disc[variable]) / len(categories)


def _label_of_categories(subject: Subject, variable: int) -> list[str]:
    """For each category the label that most of its images have."""
    model, data = subject.model, subject.data
    if data.labels is None:
        raise ArgumentError(f"--names needs labels, and {data.name} has none")
    names = data.label_names or [str(label) for label in range(int(data.labels.max()) + 1)]
    names = [printable(name) for name in names]
    categories = subject.encoding.discrete[:, variable]
    counts = contingency(categories, data.labels.numpy(), (model.spec.disc[variable], len(names)))
    return [names[row.argmax()] if row.any() else "no image" for row in counts]


def _ranked(command: Ranked, open_model: Open) -> _Drawn:
    subject = open_model(command.run)
    figure = figures.ranked_units(
        subject.model,
        subject.kl_cont,
        subject.kl_disc,
        least=command.least,
        steps=command.steps,
        max_units=command.max_units,
    )
    return "ranked-least" if command.least else "ranked", figure


def _azimuth(command: Azimuth, open_model: Open) -> _Drawn:
    subject = open_model(command.run)
    data, names = subject.data, subject.data.factor_names or ()
    if data.factors is None or command.factor not in names:
        has = f"its factors are {', '.join(names)}" if names else "it has no named factors"
        raise ArgumentError(
            f"the figure needs the factor {command.factor!r} of the images in {data.name}; {has}"
        )
    column = names.index(command.factor)
    angles = data.factors[:, column].double()
    if data.factor_values is not None:  # what its numbers stand for
        angles = torch.tensor(data.factor_values[column], dtype=torch.float64)[angles.long()]
    if command.radians:
        angles = angles.rad2deg()
    figure = figures.inferred_angles(
        subject.model, data.images, angles, unit=command.unit, name=command.factor
    )
    return command.factor, figure


def _kl_growth(command: KLGrowth, open_model: Open) -> _Drawn:
    run = run_of(command.run)
    records = read_metrics(run)
    if not records or "kl_cont" not in records[0]:
        raise ArgumentError(
            f"the growth of the KL is drawn from the metrics of a training run, and"
            f" {run.metrics_file} has no KL"
        )
    return "kl-growth", growth_of_kl(run, records)


def growth_of_kl(run: RunFolder, records: Sequence[Mapping[str, Any]]) -> Figure:
    """The growth of the KL in the records of a run.

    Raises:
        DataError: they are not a training's; names their file.
    """
    try:
        return figures.kl_growth(records)
    except ArgumentError as error:
        raise DataError(f"{run.metrics_file} cannot be drawn: {error}") from error


# --- figures of several models --------------------------------------------------------------------


def _side_by_side(command: SideBySide, open_model: Open) -> _Drawn:
    paths = command.runs
    if repeated := next((path for path in paths if paths.count(path) > 1), None):
        raise ArgumentError(f"{repeated} is given twice")
    names = [printable(run_of(path).path.resolve().name) for path in paths]
    if len(set(names)) < len(names):  # such as the same seed of several methods
        names = [printable(path) for path in paths]
    subjects = {name: open_model(path) for name, path in zip(names, paths, strict=True)}
    kl = None
    if command.by_kl:
        kl = {name: subject.encoding.kl for name, subject in subjects.items()}
    figure = figures.side_by_side(
        {name: subject.model for name, subject in subjects.items()},
        kl=kl,
        steps=command.steps,
        max_units=command.max_units,
    )
    return "side-by-side", figure


def _metrics(command: Metrics, open_model: Open) -> _Drawn:
    files: dict[str, list[Path]] = {}
    for word in command.methods:
        method, path = _method(word)
        files.setdefault(method, []).extend(_evaluations(path))
    scores = figures.read_scores(files, command.metric)
    return command.metric, figures.metric_comparison(scores, metric=command.metric)


def _method(word: str) -> tuple[str, Path]:
    """METHOD=PATH, or a path alone, whose name is then the method's."""
    name, equals, rest = word.partition("=")
    if equals and name and rest:
        return printable(name), Path(rest)
    path = Path(word)
    folder = path.parent if path.name == "evaluation.json" else path
    return printable(folder.resolve().name), path


def _evaluations(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    own = RunFolder(path).evaluation_file
    found = [own] if own.is_file() else sorted(path.glob(f"*/{own.name}"), key=_by_number)
    if not found:
        raise DataError(
            f"{path} holds no {own.name}, and no folder in it does: name a run that has finished"
        )
    return found


def _by_number(path: Path) -> tuple[int, str]:
    """Seed 10 behind seed 9."""
    name = path.parent.name
    return len(name), name


# --- animation and edit ---------------------------------------------------------------------------


def animate(run: RunFolder, model: JointVAE, path: Path, max_units: int = 8) -> None:
    """Write the animation of a run that recorded frames.

    Raises:
        DataError: it recorded none, or one is damaged.
    """
    frames = figures.read_frames(run.frames, model.img_size, model.spec)
    records = read_metrics(run)
    kl_cont = records[-1].get("kl_cont") if records else None
    pages = figures.training_animation(frames, kl_cont=kl_cont or None, max_units=max_units)
    figures.save_animation(pages, path)


def _animation(command: Animation, open_model: Open) -> Path:
    run = run_of(command.run)
    path = _Target(command.out, run.figures, ("gif",)).file("animation")
    model = open_model(command.run).model
    animate(run, model, path, command.max_units)
    return path


def _edit(command: Edit, open_model: Open) -> Path:
    target = _Target(command.out, Path(), ("png",) if command.plain else figures.FORMATS)
    model = open_model(command.run).model
    image = read_picture(command.picture, model.img_size)
    change: dict[str, Any] = {
        "unit": command.unit,
        "to": command.to,
        "variable": command.variable,
        "categories": command.category,
    }
    path = target.file(f"{Path(command.picture).stem}-edited")
    if command.plain:
        _write_picture(path, figures.edited_picture(model, image, **change))
    else:
        figures.save(figures.edits(model, image, **change), path)
    return path


def _write_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png")
    write_bytes(path, file.getvalue())


_DRAWN: dict[type, Callable[[Any, Open], _Drawn]] = {
    Reconstructions: _reconstructions,
    Traversal: _traversal,
    Grid: _grid,
    SideBySide: _side_by_side,
    Samples: _samples,
    Metrics: _metrics,
    KLGrowth: _kl_growth,
    Ranked: _ranked,
    Azimuth: _azimuth,
}
