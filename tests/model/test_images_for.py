"""What a model is given in Python, in every form that ``fit`` takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fastjvae import JointVAE, figures, metrics
from fastjvae.data.given import image_data
from fastjvae.errors import ArgumentError, DataError
from fastjvae.model import edit

GREY = JointVAE((1, 16, 16), {"cont": 2, "disc": [3]}).eval()
COLOUR = JointVAE((3, 16, 16), {"cont": 2, "disc": [3]}).eval()
SIGNED = JointVAE((1, 16, 16), {"cont": 2}, likelihood="gaussian", value_range=(-1.0, 1.0)).eval()
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 3, 16, 16), dtype=np.uint8)
ONE = PIXELS[:, 0]

DOORS: dict[str, Callable[[JointVAE, Any], Any]] = {
    "encode_mean": lambda model, images: model.encode_mean(images).numpy(),
    "encode_categories": lambda model, images: model.encode_categories(images).numpy(),
    "edit": lambda model, images: edit(model, images, units={0: 1.0}).numpy(),
    "encode": lambda model, images: metrics.encode(model, images).codes,
    "effect": lambda model, images: metrics.effect_on_images(model, images).cont,
    "overview": lambda model, images: _drawn(figures.overview(model, images, [1.0, 2.0])),
    "reconstructions": lambda model, images: _drawn(figures.reconstructions(model, images)),
    "edits": lambda model, images: _drawn(figures.edits(model, images[:1], unit=0)),
}


def _drawn(figure: Any) -> np.ndarray:
    return np.concatenate([image.get_array().ravel() for ax in figure.axes for image in ax.images])


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
@pytest.mark.parametrize(
    ("model", "images", "expected"),
    [
        (GREY, ONE, ONE[:, None]),
        (GREY, ONE[..., None], ONE[:, None]),
        (GREY, torch.from_numpy(ONE), ONE[:, None]),
        (GREY, ONE.astype(np.int64), ONE[:, None]),
        (GREY, torch.from_numpy(ONE).long(), ONE[:, None]),
        (GREY, ONE > 127, 255 * (ONE > 127)[:, None].astype(np.uint8)),
        (GREY, (ONE > 127).astype(np.uint8), 255 * (ONE > 127)[:, None].astype(np.uint8)),
        (GREY, (ONE / 255).astype(np.float32), (ONE / 255).astype(np.float32)[:, None]),
        (GREY, list(map(Image.fromarray, ONE)), ONE[:, None]),
        (GREY, ONE.tolist(), ONE[:, None]),
        (COLOUR, PIXELS.transpose(0, 2, 3, 1), PIXELS),
        (COLOUR, PIXELS[:, :, ::-1], PIXELS[:, :, ::-1].copy()),
    ],
)
def test_every_form_that_fit_takes_is_the_same_images(
    door: Callable[[JointVAE, Any], Any], model: JointVAE, images: Any, expected: np.ndarray
) -> None:
    np.testing.assert_allclose(
        door(model, images), door(model, torch.from_numpy(expected)), atol=1e-5
    )


def test_image_data_are_images() -> None:
    assert GREY.encode_mean(image_data(ONE)).equal(GREY.encode_mean(ONE))


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
@pytest.mark.parametrize(
    ("model", "images", "sentence"),
    [
        (GREY, ONE * 1.0, "between 0 and 1, got values from 0 to 255: divide 0..255 by 255 or"),
        (GREY, torch.from_numpy(ONE * 1.0), "divide 0..255 by 255 or pass them as uint8"),
        (SIGNED, ONE / 2.0, "between -1 and 1, got values from 0 to 127.5"),
        (GREY, ONE.astype(int) + 1, "values from 0 to 255, got 1 to 256|got 0 to 256"),
        (COLOUR, PIXELS[:, :2], r"shape \(N, 3, 16, 16\) or \(N, 16, 16, 3\), got \(., 2, 16, 16"),
        (GREY, PIXELS[None], r"\(N, 1, 16, 16\), \(N, 16, 16\) or \(N, 16, 16, 1\), got"),
    ],
)
def test_other_images_are_one_sentence(
    door: Callable[[JointVAE, Any], Any], model: JointVAE, images: Any, sentence: str
) -> None:
    with pytest.raises((ArgumentError, DataError), match=sentence) as error:
        door(model, images)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("images", ["images.npy", None, {"images": 1}])
def test_what_is_no_image_at_all_is_named(images: Any) -> None:
    with pytest.raises(DataError, match=r"a path was given|of type"):
        GREY.encode_mean(images)


def test_one_image_needs_its_axis_except_in_a_figure_of_one() -> None:
    with pytest.raises(ArgumentError, match=r"give one image as image\[None\]"):
        COLOUR.encode_mean(PIXELS[0])
    with pytest.raises(ArgumentError, match=r"give one image as image\[None\]"):
        GREY.encode_mean(ONE[0])
    expected = _drawn(figures.edits(GREY, ONE[:1, None], unit=0))
    for image in (ONE[0], ONE[0, ..., None], torch.from_numpy(ONE[0]), [Image.fromarray(ONE[0])]):
        np.testing.assert_array_equal(_drawn(figures.edits(GREY, image, unit=0)), expected)
    np.testing.assert_array_equal(figures.edited_picture(GREY, ONE[0], unit=0).shape, (16, 160))


@pytest.mark.parametrize("given", [ONE[:, None], ONE[:, None].tolist()])
def test_what_passes_gradients_takes_tensors_alone(given: Any) -> None:
    calls: list[Callable[[Any], Any]] = [GREY, GREY.encode, lambda x: GREY.loss(x, 1), GREY.decode]
    for call in calls:
        with pytest.raises(
            ArgumentError, match=f"here, got a value of type {type(given).__name__}"
        ):
            call(given)


def test_a_step_and_forward_do_not_look_at_values() -> None:
    """A look would wait for a GPU."""
    with torch.device("meta"):
        model = JointVAE((1, 16, 16), {"cont": 2, "disc": [3]})
    reconstruction, _ = model(torch.zeros(2, 1, 16, 16, device="meta"))
    assert reconstruction.is_meta
