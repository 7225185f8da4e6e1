"""Models for figures, and what a figure shows."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from torch import Tensor

from fastjvae import JointVAE

MINUS = "\N{MINUS SIGN}"
QUANTILES = [NormalDist().inv_cdf(0.05 + 0.9 * i / 9) for i in range(10)]


def model_of(*disc: int, cont: int = 0, size: tuple[int, int, int] = (1, 16, 16)) -> JointVAE:
    """An untrained model whose images depend visibly on every latent variable."""
    torch.manual_seed(0)
    model = JointVAE(size, {"cont": cont, "disc": list(disc)})
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(3)
    return model.eval()


def record(step: int, cont: list[float], disc: list[float], **entries: Any) -> dict[str, Any]:
    """A record of metrics.jsonl."""
    capacities = {"capacity_cont": 0.01 * step, "capacity_disc": 0.005 * step}
    return {"step": step, "kl_cont": cont, "kl_disc": disc, **capacities, **entries}


def growth(cont: int, disc: int, n: int = 5, **entries: Any) -> list[dict[str, Any]]:
    """Records of a training in which every KL grows."""
    return [
        record(
            100 * t,
            [t * (1 + i % 7) / 7 for i in range(cont)],
            [t / (d + 2) for d in range(disc)],
            **{name: [0.9 * t / (d + 2) for d in range(disc)] for name in entries},
        )
        for t in range(1, n + 1)
    ]


def cells(axes: Axes, size: tuple[int, int, int] = (1, 16, 16)) -> np.ndarray:
    """The images (rows, columns, C, H, W) of a block; the gap is 1 pixel below 42x54."""
    picture = np.asarray(axes.images[0].get_array())
    picture = picture.reshape(*picture.shape[:2], size[0])
    rows = range(0, picture.shape[0], size[1] + 1)
    columns = range(0, picture.shape[1], size[2] + 1)
    grid = [[picture[y : y + size[1], x : x + size[2]] for x in columns] for y in rows]
    return np.asarray(grid).transpose(0, 1, 4, 2, 3)


def decoded(model: JointVAE, rows: Tensor) -> np.ndarray:
    with torch.no_grad():
        return model.decode(rows).numpy()


def row_labels(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def column_labels(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def title(axes: Axes) -> str:
    return axes.get_title(loc="left")


def assert_texts_apart(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text of the figure lies on its page, and over no other."""
    drawn: list[Text] = []  # matplotlib keeps ticks outside the limits, but does not draw them
    draw = Text.draw
    monkeypatch.setattr(Text, "draw", lambda text, _: (drawn.append(text), draw(text, _)))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    seen = [text for text in drawn if text.get_visible() and text.get_text()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in seen]
    assert len(boxes) >= 3
    for i, (text, box) in enumerate(boxes):
        assert min(box.x0, box.y0) >= 0, text
        assert box.x1 <= width, text
        assert box.y1 <= height, text
        over = [other for other, second in boxes[i + 1 :] if box.overlaps(second)]
        assert not over, (text, over)
