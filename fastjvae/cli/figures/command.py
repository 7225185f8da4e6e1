"""The base classes of the commands that draw a figure."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from fastjvae.cli.command import Command, ModelCommand
from fastjvae.errors import ArgumentError
from fastjvae.figures.saving import FORMATS, check_dpi, save, several_need_pages

Drawn = tuple[str, Any]  # the name of the file without its ending, and what is saved there


class FigureCommand(Command):
    """A command that draws a figure or several, saves them where --out says, and prints the files.

    Several figures go into a folder, or into one .pdf as its pages.
    """

    dpi: float | None = field(default=None, kw_only=True)
    """dots per inch: of a .png, by default 150; of the images inside a .pdf or .svg, by default 600
    """

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

    def draw_all(self) -> list[Drawn]:
        """Draw the figure, or as many as the command draws by default."""
        return [self.draw()]

    def save(self, drawing: Any, path: Path) -> None:
        save(drawing, path, dpi=self.dpi)

    def run(self) -> int:
        check_dpi(self.dpi)
        path, is_file = self._target()  # a wrong --out shows before anything is drawn
        drawn = self.draw_all()
        if is_file and len(drawn) > 1:
            save_pages(dict(drawn), path, self.dpi)
            return 0
        for name, drawing in drawn:
            file = path if is_file else path / f"{name}.{self.formats[0]}"
            self.save(drawing, file)
            print(f"figure: {file}")
        return 0

    def _target(self) -> tuple[Path, bool]:
        """The file or folder to write to, and whether it is a file."""
        if self.out is None:
            return self.folder, False
        path = Path(self.out)
        if is_file(path, self.formats):
            return path, True
        if path.suffix and not (path.is_dir() or self.out.endswith(("/", os.sep))):
            known = " or ".join(f".{each}" for each in self.formats)
            raise ArgumentError(
                f"--out is a file that ends in {known}, or a folder, whose name has no other"
                f" ending or a {os.sep} behind it; got {self.out}"
            )
        return path, False


def is_file(path: Path, formats: Sequence[str] = FORMATS) -> bool:
    """Whether a path that need not be there is a figure's file rather than a folder."""
    return path.suffix.lower()[1:] in formats and not path.is_dir()


def save_pages(figures: Mapping[str, Any], path: Path, dpi: float | None) -> None:
    """Save figures as the pages of a .pdf, and print which.

    Raises:
        ArgumentError: the file is no .pdf.
    """
    if path.suffix.lower() != ".pdf":
        raise ArgumentError(
            f"{several_need_pages(len(figures), path)}: pass --out FILE.pdf or --out FOLDER"
        )
    save([*figures.values()], path, dpi=dpi)
    print(f"figures: {', '.join(figures)} in {path}")


class ModelFigure(ModelCommand, FigureCommand):
    """A figure of one model."""

    out: str | None = None
    """file, or folder for it; by default figures/ in the run folder"""

    @property
    def folder(self) -> Path:
        return self.run_folder.figures
