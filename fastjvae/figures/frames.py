"""Records a run while it trains and reads the record, for an animation: a small picture a frame.

A frame is ``frames/STEP.png``: rows of images without gaps, a traversal of every continuous unit in
its own order (at most 32), then of every discrete variable. Which of them are shown is decided when
the animation is made, by what they carry then.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastjvae.errors import DataError
from fastjvae.figures.image_grid import check_channels, plain_pixels
from fastjvae.figures.saving import save_picture
from fastjvae.files import cannot_write
from fastjvae.functional.latents import LatentSpec
from fastjvae.model import JointVAE
from fastjvae.model.latent_moves import (
    Images,
    Latent,
    all_latents,
    first_categories,
    swept_images,
)

COLUMNS = 10  # all categories where a variable has ten
_MOST_UNITS = 32


class Frame(NamedTuple):
    """The traversals at one training step."""

    step: int
    rows: dict[Latent, Images]  # (at most COLUMNS, C, H, W) each


class FrameRecorder:
    """Writes a frame at the start, then every ``every`` training steps, and at the end.

    Args:
        folder: for the frames; made when the first is written.
        model: the model in training; recording draws no random number and changes nothing in it.
        every: training steps from frame to frame; None records nothing.

    Raises:
        ArgumentError: the model's images are neither grey nor RGB.
    """

    def __init__(self, folder: Path, model: JointVAE, every: int | None) -> None:
        self.folder, self.model, self.every = folder, model, every
        if every is not None:
            check_channels(model.img_size[0])

    def begin(self, step: int) -> None:
        """Begin or go on at ``step``: frames that this run would not have recorded go."""
        if self.every is None or not self.folder.is_dir():
            return
        for path, recorded in frame_files(self.folder):
            if recorded > step or recorded % self.every:
                try:
                    path.unlink()
                except OSError as error:
                    raise cannot_write(path, error) from error

    def is_due(self, step: int, finished: bool) -> bool:
        """Whether ``step`` has a frame."""
        return self.every is not None and (finished or step % self.every == 0)

    def record(self, step: int) -> NDArray[np.uint8]:
        """Write the frame of ``step``, atomically, and return it, (H, W) or (H, W, 3).

        Raises:
            RunError: it cannot be written.
        """
        spec = self.model.spec
        # The same row at every step: which category is clear changes during training.
        rows = swept_images(self.model, _recorded(spec), COLUMNS, first_categories(spec))
        pixels = plain_pixels(rows)
        save_picture(pixels, self.folder / f"{step:09d}.png")
        return pixels


def frame_files(folder: Path) -> list[tuple[Path, int]]:
    """The frames in a folder with their steps, in order; empty where there are none."""
    named = [(path, path.stem) for path in folder.glob("*.png")]
    return sorted((path, int(stem)) for path, stem in named if stem.isdecimal())


def read_frames(
    folder: Path, img_size: tuple[int, int, int], spec: LatentSpec, max_frames: int = 100
) -> list[Frame]:
    """Read frames, of many an even choice with the first and the last.

    Args:
        folder: as :class:`FrameRecorder` left it.
        img_size, spec: of the model.
        max_frames: at least 2.

    Raises:
        DataError: there are no frames, or one is damaged or of another model.
    """
    files = frame_files(folder)
    if not files:
        raise DataError(
            f"{folder} holds no frames: train with --animate-every STEPS to record them"
        )
    if len(files) > max_frames:
        chosen = np.linspace(0, len(files) - 1, max_frames).round().astype(int)
        files = [files[i] for i in chosen]
    return [Frame(step, _read(path, img_size, spec)) for path, step in files]


def _read(path: Path, img_size: tuple[int, int, int], spec: LatentSpec) -> dict[Latent, Images]:
    from PIL import Image

    channels, height, width = img_size
    latents = _recorded(spec)
    lengths = [len(latent.values(spec, COLUMNS)[1]) for latent in latents]
    wanted = (max(lengths) * width, len(latents) * height)
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            size = picture.size
            pixels = np.asarray(picture) if size == wanted else np.zeros(())
    except Exception as error:  # a damaged file makes Pillow's decoders raise almost anything
        raise DataError(f"{path} cannot be read as a frame: {error}") from error
    if pixels.size != wanted[0] * wanted[1] * channels:
        raise DataError(
            f"{path} is a frame of another model: a picture of {size[0]} x {size[1]} instead of"
            f" {wanted[0]} x {wanted[1]}"
        )
    cells = pixels.reshape(len(latents), height, max(lengths), width, channels)
    images = cells.transpose(0, 2, 4, 1, 3).astype(np.float32) / 255
    return {
        latent: row[:length] for latent, row, length in zip(latents, images, lengths, strict=True)
    }


def _recorded(spec: LatentSpec) -> list[Latent]:
    latents = all_latents(spec)
    return latents[: min(spec.cont, _MOST_UNITS)] + latents[spec.cont :]
