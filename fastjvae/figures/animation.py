"""An animation of the traversals of a model while it trains."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastjvae.errors import ArgumentError
from fastjvae.figures.frames import Frame
from fastjvae.figures.image_grid import Block, draw_blocks, gap_of, mosaic, write_title
from fastjvae.figures.labels import Vector, check_counts, full_title, shown_of, to_array
from fastjvae.figures.page import fit, new_page
from fastjvae.figures.saving import check_dpi
from fastjvae.files import write_bytes

if TYPE_CHECKING:
    from PIL import Image

_SECONDS = 8.0  # of the whole animation, where its frames allow it
_SHORTEST_MS, _LONGEST_MS, _LAST_MS = 60, 500, 2_000


def training_animation(
    frames: Sequence[Frame],
    *,
    kl_cont: Vector | None = None,
    max_units: int = 8,
    title: str | None = None,
    dpi: float | None = None,
) -> list[Image.Image]:
    """Draw each frame as a page of traversals with its training step above.

    Args:
        frames: of one run, as :func:`fastjvae.figures.read_frames` returns them.
        kl_cont: (Z,) KL per continuous unit at the end in nats: the units that carry most are
            shown, in that order. By default the first units.
        max_units: number of units, and of discrete variables, that are shown at most.
        title: above the figure, before the step.
        dpi: dots per inch, from 10 to 2,400, by default 150; images are exact at multiples of that.

    Returns:
        One RGB image per frame, all of one size.

    Raises:
        ArgumentError: there are no frames, or fewer KLs than units in them; another dpi.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    check_counts(max_units=max_units)
    check_dpi(dpi)
    if not frames:
        raise ArgumentError("an animation needs at least one frame, got none")
    units = [latent for latent in frames[0].rows if latent.kind == "z"]
    variables = [latent for latent in frames[0].rows if latent.kind == "c"]
    if kl_cont is not None:
        kl = to_array(kl_cont)
        if kl.ndim != 1 or len(kl) < len(units):
            raise ArgumentError(
                f"kl_cont must hold one KL in nats per continuous unit, at least {len(units)},"
                f" got shape {kl.shape}"
            )
        units.sort(key=lambda latent: -kl[latent.number])
    shown = [*units[:max_units], *variables[:max_units]]
    notes = shown_of(len(shown), len(frames[0].rows), "latent variables")
    width = len(f"{frames[-1].step:,}")

    def heading(frame: Frame) -> str:
        return full_title(title, [f"step {frame.step:>{width},}", *notes])

    figure = new_page()
    last = [frames[-1].rows[latent] for latent in shown]  # its step is the longest: it fits all
    boxes = draw_blocks(figure, [Block(last, list(map(str, shown)))], heading(frames[-1]))
    fit(figure, boxes)
    figure.set_dpi(dpi or figure.get_dpi())
    ((axes, (_, _, across, _)),) = boxes.items()
    gap = gap_of(*last[0].shape[2:])
    pages = []
    for frame in frames:
        axes.images[0].set_data(mosaic([frame.rows[latent] for latent in shown], gap))
        write_title(axes, heading(frame), across)
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[..., :3]
        pages.append(Image.fromarray(np.array(pixels, dtype=np.uint8, order="C")))
    return pages


def save_animation(pages: Sequence[Image.Image], path: str | Path) -> None:
    """Write an animated GIF that repeats and rests on its last page, atomically.

    It takes eight seconds, but no page less than 60 ms or more than half a second.

    Raises:
        ArgumentError: there are no pages.
        RunError: the file cannot be written.
    """
    from PIL import Image

    if not pages:
        raise ArgumentError("an animation needs at least one page, got none")
    # One palette for all pages: what does not change from page to page then takes no space. The
    # octree keeps colours of few pixels, which the median cut merges with others.
    method, plain = Image.Quantize.FASTOCTREE, Image.Dither.NONE
    some = np.unique(np.linspace(0, len(pages) - 1, 10).round().astype(int))
    below_each_other = np.concatenate([np.asarray(pages[i]) for i in some])
    palette = Image.fromarray(below_each_other).quantize(256, method=method, dither=plain)
    pages = [page.quantize(palette=palette, dither=plain) for page in pages]
    each = round(min(max(1000 * _SECONDS / len(pages), _SHORTEST_MS), _LONGEST_MS))
    shown_ms = [each] * (len(pages) - 1) + [_LAST_MS]
    file, rest = io.BytesIO(), pages[1:]
    pages[0].save(file, "gif", save_all=True, append_images=rest, duration=shown_ms, loop=0)
    write_bytes(Path(path), file.getvalue())
