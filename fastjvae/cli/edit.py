"""``fastjvae edit``: a picture with latent variables changed."""

from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from fastjvae.cli.command import LoadsModel, RunPath
from fastjvae.cli.figures.command import Drawn, FigureCommand
from fastjvae.errors import ArgumentError
from fastjvae.figures.edit import edited_picture, edits
from fastjvae.figures.saving import FORMATS, save, save_picture
from fastjvae.model import read_picture


class Edit(LoadsModel, FigureCommand):
    """Encode a picture, move a unit or change a category, and decode."""

    model_path: RunPath
    """a run folder, or any model that fastjvae or the published code saved"""
    picture: Positional[Annotated[str, arg(metavar="PICTURE")]]
    """picture file; cropped around its centre and resized to the size that the model takes"""
    unit: int | None = None
    """number of the continuous unit to move"""
    to: tuple[float, ...] = ()
    """its new values, in standard deviations of its prior; by default ten from -1.64 to 1.64"""
    variable: int | None = None
    """number of the discrete variable to change"""
    category: tuple[int, ...] = ()
    """its new categories; by default all"""
    plain: bool = False
    """write the edited images alone, in the model's own pixels"""
    out: str | None = None
    """file, or folder for it; by default PICTURE-edited.png in the current folder"""
    device: str = "auto"
    """cpu, cuda, ...; auto takes a GPU where there is one"""

    @property
    def formats(self) -> tuple[str, ...]:
        return ("png",) if self.plain else FORMATS

    def draw(self) -> Drawn:
        if self.plain and self.dpi is not None:
            raise ArgumentError("--plain writes the model's own pixels, which have no --dpi")
        model = self.loaded(self.model_path, self.device)
        image = read_picture(self.picture, model.img_size)
        drawn = (edited_picture if self.plain else edits)(
            model,
            image,
            unit=self.unit,
            to=self.to,
            variable=self.variable,
            categories=self.category,
        )
        return f"{Path(self.picture).stem}-edited", drawn

    def save(self, drawing: Any, path: Path) -> None:
        if self.plain:
            save_picture(drawing, path)
        else:
            save(drawing, path, dpi=self.dpi)
