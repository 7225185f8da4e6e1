"""The latent variables in order of what they carry, beside it (paper fig. 7b, c)."""

import numpy as np

from fastjvae.figures.image_grid import Block, draw_blocks
from fastjvae.figures.labels import Vector, check_counts, full_title, vector
from fastjvae.figures.page import COLOURS, TEXT, Figure, add_plot, fit, new_page
from fastjvae.model import JointVAE
from fastjvae.model.latent_moves import all_latents, swept_images

_BARS, _BESIDE = 240, 16  # width of the bars' panel and its distance, pixels of the page
_THICKNESS = 0.5  # of a row


def ranked_units(
    model: JointVAE,
    kl_cont: Vector,
    kl_disc: Vector = (),
    *,
    least: bool = False,
    steps: int = 10,
    max_units: int = 10,
    title: str | None = None,
) -> Figure:
    """Traversals of all latent variables by decreasing KL, with a bar for the KL of each.

    Continuous units are swept from the 5 % to the 95 % quantile of their prior, discrete variables
    run through their categories, the first ``steps`` of them.

    Args:
        model: used in evaluation mode; its own mode is restored.
        kl_cont: (Z,) KL per continuous unit in nats, empty for a model without.
        kl_disc: (D,) KL per discrete variable in nats.
        least: show those that carry least instead of those that carry most.
        steps: images per row, at least 2.
        max_units: rows at most.
        title: above the figure.

    Raises:
        ArgumentError: the number of KLs does not fit the model.
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
    chosen = (order[-max_units:] if least else order[:max_units]).tolist()
    latents = [all_latents(spec)[i] for i in chosen]
    names = [latent.label(spec, steps) for latent in latents]
    block = Block(swept_images(model, latents, steps), names)
    notes = []
    if len(chosen) < len(kl):
        notes.append(f"the {'least' if least else 'most'} informative {len(chosen)} of {len(kl)}")
    figure = new_page()
    boxes = draw_blocks(figure, [block], full_title(title, notes))
    ((images, (_, top, width, height)),) = boxes.items()

    bars = add_plot(figure)
    rows = images.get_yticks()
    thickness = _THICKNESS * block.rows[0].shape[2]
    bars.barh(rows, kl[chosen], thickness, color=COLOURS[0])
    for y, nats in zip(rows, kl[chosen], strict=True):
        bars.annotate(
            f"{nats:.2f}", (nats, y), (4, 0), textcoords="offset points", va="center", **TEXT
        )
    bars.set_ylim(images.get_ylim())
    bars.set_xlim(0, max(float(kl.max()), 1e-9))  # of all, so that the least look little
    bars.set_yticks([])
    bars.spines["left"].set_visible(False)
    bars.set_xlabel("KL (nats)", **TEXT)
    boxes[bars] = (width + _BESIDE, top, _BARS, height)
    fit(figure, boxes)
    return figure
