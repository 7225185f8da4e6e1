"""``fastjvae figures animation``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastjvae.cli.figures.command import Drawn, ModelFigure
from fastjvae.figures.animation import save_animation, training_animation
from fastjvae.figures.frames import read_frames
from fastjvae.model import JointVAE
from fastjvae.training.run_folder import RunFolder, read_metrics


class Animation(ModelFigure):
    """A GIF of the traversals during training; needs a run trained with --animate-every."""

    max_units: int = 8
    """number of units, those with the highest KL at the end, and of discrete variables"""

    @property
    def formats(self) -> Sequence[str]:
        return ("gif",)

    def draw(self) -> Drawn:
        return self.name, animation_of(self.run_folder, self.model, self.max_units, self.dpi)

    def save(self, drawing: Any, path: Path) -> None:
        save_animation(drawing, path)


def animation_of(
    run: RunFolder, model: JointVAE, max_units: int = 8, dpi: float | None = None
) -> list[Any]:
    """The pages, images of Pillow, of the animation of a run that recorded frames.

    Raises:
        DataError: it recorded none, or one is damaged.
    """
    frames = read_frames(run.frames, model.img_size, model.spec)
    records = read_metrics(run)
    kl_cont = records[-1].get("kl_cont") if records else None
    return training_animation(frames, kl_cont=kl_cont or None, max_units=max_units, dpi=dpi)
