"""The latent variables in order of what they carry, beside it (paper fig. 7b, c)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fastjvae.figures.image_grid import Block, draw_blocks
from fastjvae.figures.labels import Vector, check_counts, full_title, note_on_start, vector
from fastjvae.figures.page import COLOURS, TEXT, Axes, Figure, add_plot, fit, new_page
from fastjvae.model import JointVAE
from fastjvae.model.latent_moves import Span, all_latents, base_row, swept_images

_KL_WIDTH, _EFFECT_WIDTH = 240, 120  # of the panels of bars, pixels of the page
_BESIDE, _BETWEEN = 16, 80  # from the images to the first panel, and from panel to panel
_THICKNESS = 0.5  # of a row


def ranked_units(
    model: JointVAE,
    kl_cont: Vector,
    kl_disc: Vector = (),
    *,
    effects: Vector | None = None,
    least: bool = False,
    steps: int = 10,
    max_units: int | None = None,
    base: Tensor | None = None,
    span: Span | None = None,
    title: str | None = None,
) -> Figure:
    """Traversals of all latent variables by decreasing KL, with a bar for the KL of each.

    A second bar shows how much of the picture depends on the variable, where that is given.

    Continuous units are swept from the 5 % to the 95 % quantile of their prior, discrete variables
    run through their categories, the first ``steps`` of them.

    Args:
        model: used in evaluation mode; its own mode is restored.
        kl_cont: (Z,) KL per continuous unit in nats, empty for a model without.
        kl_disc: (D,) KL per discrete variable in nats.
        effects: (Z + D,) effect of each unit and then of each discrete variable, from 0, as
            :func:`fastjvae.metrics.effect_on_images` has it.
        least: show those that carry least instead of those that carry most.
        steps: images per row, at least 2.
        max_units: rows at most, by default all.
        base: (L,) sample row that holds the other variables; by default the continuous units are 0
            and discrete variables in the categories from which most is seen, which the title has,
            see :func:`fastjvae.model.latent_moves.telling_categories`.
        span: first and last value of a unit's sweep instead, in standard deviations of its prior,
            in equal steps; the first may be the larger.
        title: above the figure.

    Raises:
        ArgumentError: the number of KLs or of effects or the length of ``base`` does not fit the
            model; ``span`` is no range.
    """
    spec = model.spec
    check_counts(steps=steps, max_units=max_units)
    kl = np.concatenate(
        [
            vector("kl_cont", kl_cont, spec.cont, "one KL in nats per continuous unit"),
            vector("kl_disc", kl_disc, len(spec.disc), "one KL in nats per discrete variable"),
        ]
    )
    order = np.argsort(-kl, kind="stable")
    most = len(order) if max_units is None else max_units
    chosen = (order[-most:] if least else order[:most]).tolist()
    latents = [all_latents(spec)[i] for i in chosen]
    names = [latent.label(spec, steps) for latent in latents]
    row = base_row(model, base)
    block = Block(swept_images(model, latents, steps, row, span), names)
    notes = []
    if len(chosen) < len(kl):
        notes.append(f"the {'least' if least else 'most'} informative {len(chosen)} of {len(kl)}")
    if base is None:
        notes += note_on_start(spec, row, [{latent} for latent in latents])
    figure = new_page()
    boxes = draw_blocks(figure, [block], full_title(title, notes))
    ((images, (_, top, width, height)),) = boxes.items()

    panels = [_Panel("KL (nats)", "{:.2f}", kl, _KL_WIDTH)]
    if effects is not None:
        shares = vector("effects", effects, len(kl), "one effect per latent variable")
        panels.append(_Panel("effect (%)", "{:.1f}", 100 * shares, _EFFECT_WIDTH))
    left = width + _BESIDE
    for panel in panels:
        bars = _bars(figure, images, panel, chosen, _THICKNESS * block.rows[0].shape[2])
        boxes[bars] = (left, top, panel.width, height)
        left += panel.width + _BETWEEN
    fit(figure, boxes)
    return figure


class _Panel(NamedTuple):
    """One number of every latent variable, drawn as bars."""

    label: str
    text: str  # the format of a number
    values: NDArray[np.float64]  # (Z + D,)
    width: int  # pixels of the page


def _bars(figure: Figure, images: Axes, panel: _Panel, chosen: list[int], thickness: float) -> Axes:
    """A bar for each row of images."""
    bars = add_plot(figure)
    rows, values = images.get_yticks(), panel.values[chosen]
    bars.barh(rows, values, thickness, color=COLOURS[0])
    for y, value in zip(rows, values, strict=True):
        place = (np.nan_to_num(value), y)
        text = panel.text.format(value)
        bars.annotate(text, place, (4, 0), textcoords="offset points", va="center", **TEXT)
    bars.set_ylim(images.get_ylim())
    # Of all variables, so that the least look little.
    bars.set_xlim(0, max(float(np.nan_to_num(panel.values).max()), 1e-9))
    bars.set_yticks([])
    bars.spines["left"].set_visible(False)
    bars.set_xlabel(panel.label, **TEXT)
    return bars
