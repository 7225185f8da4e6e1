"""Images above their reconstructions."""

import numpy as np
import pytest
import torch
from figure_checks import (
    cells,
    model_of,
    row_labels,
    title,
)

from fastjvae import figures


@pytest.mark.parametrize("size", [(1, 16, 16), (3, 16, 24)])
@pytest.mark.parametrize("as_bytes", [True, False])
def test_reconstructions_stand_below_their_inputs(
    size: tuple[int, int, int], as_bytes: bool
) -> None:
    model = model_of(3, cont=2, size=size)
    images = torch.randint(0, 256, (13, *size), dtype=torch.uint8)
    unit = images.float() / 255
    figure = figures.reconstructions(model, images if as_bytes else unit, title="Run 7")
    assert title(figure.axes[0]) == "Run 7"
    with torch.no_grad():
        expected = model(images)[0].numpy()
    assert len(figure.axes) == 2  # 7 + 6 images
    for axes, part in zip(figure.axes, (slice(0, 7), slice(7, 13)), strict=True):
        assert row_labels(axes) == ["input", "reconstruction"]
        above, below = cells(axes, size)
        np.testing.assert_allclose(above, unit[part], atol=1e-6)
        np.testing.assert_allclose(below, expected[part], atol=1e-6)


def test_reconstructions_say_how_many_are_shown() -> None:
    images = torch.zeros(40, 1, 16, 16)
    model = model_of(cont=1)
    assert title(figures.reconstructions(model, images).axes[0]) == "32 of 40 images"
    figure = figures.reconstructions(model, images, title="MNIST", max_images=3)
    assert title(figure.axes[0]) == "MNIST (3 of 40 images)"
    assert cells(figure.axes[0]).shape[:2] == (2, 3)


def test_the_images_shown_are_spread_over_the_data_set() -> None:
    levels = torch.arange(40, dtype=torch.uint8)
    images = levels[:, None, None, None].expand(40, 1, 16, 16).contiguous()  # as if sorted by class
    figure = figures.reconstructions(model_of(cont=1), images, max_images=4)
    above = cells(figure.axes[0], (1, 16, 16))[0]
    np.testing.assert_allclose(255 * above.reshape(4, -1)[:, 0], [0, 10, 20, 30], atol=1e-4)
