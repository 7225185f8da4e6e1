"""The base classes of the commands that draw one figure."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastjvae.cli.command import Command, ModelCommand
from fastjvae.errors import ArgumentError
from fastjvae.figures.saving import FORMATS, save

Drawn = tuple[str, Any]  # the name of the file without its ending, and what is saved there


class FigureCommand(Command):
    """A command that draws one figure, saves it where --out says, and prints its file."""

    @property
    def out(self) -> str | None:
        """The flag --out of every subclass."""
        raise NotImplementedError

    @property
    def formats(self) -> Sequence[str]:
        """The endings that --out may have; the first is the default."""
        return FORMATS

    @property
    def folder(self) -> Path:
        """The folder of the file where --out names none."""
        return Path()

    def draw(self) -> Drawn:
        """Draw the figure.

        Raises:
            ArgumentError: the figure does not fit the model, or needs data that there are not.
        """
        raise NotImplementedError

    def save(self, drawing: Any, path: Path) -> None:
        save(drawing, path)

    def run(self) -> int:
        path, is_file = self._target()  # a wrong --out shows before anything is drawn
        name, drawing = self.draw()
        if not is_file:
            path = path / f"{name}.{self.formats[0]}"
        self.save(drawing, path)
        print(f"figure: {path}")
        return 0

    def _target(self) -> tuple[Path, bool]:
        """The file or folder to write to, and whether it is a file."""
        if self.out is None:
            return self.folder, False
        path = Path(self.out)
        if path.suffix.lower()[1:] in self.formats and not path.is_dir():
            return path, True
        if path.suffix and not (path.is_dir() or self.out.endswith(("/", os.sep))):
            known = " or ".join(f".{each}" for each in self.formats)
            raise ArgumentError(
                f"--out is a file that ends in {known}, or a folder, whose name has no other"
                f" ending or a {os.sep} behind it; got {self.out}"
            )
        return path, False


class ModelFigure(ModelCommand, FigureCommand):
    """A figure of one model."""

    out: str | None = None
    """file, or folder for it; by default figures/ in the run folder"""

    @property
    def folder(self) -> Path:
        return self.run_folder.figures
