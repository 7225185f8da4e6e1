"""Small folders of pictures, as one has them of one's own: drawn here, a subfolder for each type.

    python -m benchmarks.experiments.drawn_pictures FOLDER

draws every one of :data:`SETS` into ``FOLDER/NAME``. A set that is there already stays.
"""

import argparse
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Picture = tuple[str, Image.Image]  # its type, and its pixels

_COLOURS = {"blue": (60, 90, 255), "green": (40, 220, 60), "red": (255, 60, 40)}
_TURN = 2 * math.pi


def discs(random: np.random.Generator) -> Iterator[Picture]:
    """1,000 discs of three colours at 8 x 8 places, as the tutorial draws them, 128 x 128."""
    for _ in range(1_000):
        colour = str(random.choice(list(_COLOURS)))
        left, top = (20 + 4 * int(place) for place in random.integers(8, size=2))
        picture = Image.new("RGB", (128, 128))
        ImageDraw.Draw(picture).ellipse((left, top, left + 60, top + 60), _COLOURS[colour])
        yield colour, picture


def textures(random: np.random.Generator) -> Iterator[Picture]:
    """1,000 grey textures, stripes, checks and dots, turned by any angle, 32 x 32."""
    down, right = np.mgrid[-15.5:16, -15.5:16] / 32
    for _ in range(1_000):
        kind = str(random.choice(["stripes", "checks", "dots"]))
        angle = random.uniform(0, math.pi)
        u = math.cos(angle) * right + math.sin(angle) * down
        v = math.cos(angle) * down - math.sin(angle) * right
        pattern = {
            "stripes": np.sin(4 * _TURN * u),
            "checks": np.sign(np.sin(3 * _TURN * u) * np.sin(3 * _TURN * v)),
            "dots": 3 * np.cos(4 * _TURN * u) * np.cos(4 * _TURN * v) - 1,
        }[kind]
        yield kind, _grey(0.5 + 0.5 * np.clip(pattern, -1, 1))


def digits(random: np.random.Generator) -> Iterator[Picture]:
    """scikit-learn's 1,797 handwritten digits, 8 x 8, in their own order."""
    from sklearn.datasets import load_digits

    found = load_digits()
    for pixels, digit in zip(found.images, found.target, strict=True):
        yield str(digit), _grey(pixels / 16)


def sprites(random: np.random.Generator) -> Iterator[Picture]:
    """1,000 of fastjvae's sprites, squares, ellipses and hearts of all factors, 64 x 64."""
    from fastjvae.data.datasets.sprites import sprite
    from fastjvae.data.factors import GRID, SHAPES

    for _ in range(1_000):
        shape, scale, orientation, x, y = (int(random.integers(count)) for count in GRID.values())
        canvas = np.zeros((64, 64))
        canvas[y : y + 33, x : x + 33] = sprite(shape, scale, orientation)
        yield SHAPES[shape], _grey(canvas)


def figures(random: np.random.Generator) -> Iterator[Picture]:
    """900 white figures, squares, discs and triangles of many places and sizes, 64 x 64."""
    for _ in range(900):
        kind = str(random.choice(["square", "disc", "triangle"]))
        size = random.uniform(16, 36)
        left, top = random.uniform(2, 62 - size, 2)
        picture = Image.new("L", (64, 64))
        draw, box = ImageDraw.Draw(picture), (left, top, left + size, top + size)
        if kind == "square":
            draw.rectangle(box, 255)
        elif kind == "disc":
            draw.ellipse(box, 255)
        else:
            draw.polygon(
                ((left, top + size), (left + size, top + size), (left + size / 2, top)), 255
            )
        yield kind, picture


def chairs(random: np.random.Generator) -> Iterator[Picture]:
    """1,200 chairs, stools and armchairs from all around and a little above, 64 x 64."""
    boxes = {"stool": _STOOL, "chair": [*_STOOL, _BACK], "armchair": [*_STOOL, _BACK, *_ARMS]}
    for _ in range(1_200):
        kind = str(random.choice(list(boxes)))
        azimuth, elevation = random.uniform(0, _TURN), random.uniform(0.2, 0.5)
        width, height = random.uniform(0.8, 1.2, 2)
        scale = np.array([width, 1.0, height])
        yield kind, _solid([np.array(box) * scale for box in boxes[kind]], azimuth, elevation)


# Boxes as their least and largest corner: right, to the back, up.
_LEGS = [((x, y, -1.0), (x + 0.2, y + 0.2, 0.0)) for x in (-0.7, 0.5) for y in (-0.7, 0.5)]
_STOOL = [((-0.7, -0.7, 0.0), (0.7, 0.7, 0.2)), *_LEGS]
_BACK = ((-0.7, 0.5, 0.2), (0.7, 0.7, 1.4))
_ARMS = [((x, -0.7, 0.2), (x + 0.2, 0.5, 0.8)) for x in (-0.7, 0.5)]


def _solid(
    boxes: list[npt.NDArray[np.float64]], azimuth: float, elevation: float, side: int = 64
) -> Image.Image:
    """Boxes from far away, the near faces over the far ones; each direction has its own grey."""
    cos, sin = math.cos(azimuth), math.sin(azimuth)
    turned = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    cos, sin = math.cos(elevation), math.sin(elevation)
    view = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ turned  # right, away, up
    faces = []
    for box in boxes:
        for axis, end in itertools.product(range(3), range(2)):
            first, second = (other for other in range(3) if other != axis)
            corners = np.empty((4, 3))
            corners[:, axis] = box[end, axis]
            corners[:, first] = box[[0, 1, 1, 0], first]
            corners[:, second] = box[[0, 0, 1, 1], second]
            right, away, up = view @ corners.T
            points = np.stack([side / 2 + side / 4.4 * right, side / 2 - side / 4.4 * up], axis=1)
            faces.append((away.mean(), axis, [(float(x), float(y)) for x, y in points]))
    picture = Image.new("L", (side, side))
    for _, axis, points in sorted(faces, key=lambda face: -face[0]):
        ImageDraw.Draw(picture).polygon(points, fill=(110, 180, 250)[axis])
    return picture


SETS: dict[str, Callable[[np.random.Generator], Iterator[Picture]]] = {
    each.__name__: each for each in (discs, textures, digits, sprites, figures, chairs)
}


def draw(name: str, folder: Path) -> Path:
    """Draws a set into ``folder/NAME`` unless it is there; returns its folder."""
    whole = folder / name
    if whole.exists():
        return whole
    part = folder / f".{name}"
    for number, (kind, picture) in enumerate(SETS[name](np.random.default_rng(0))):
        path = part / kind / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    return part.rename(whole)


def _grey(values: npt.NDArray[np.float64]) -> Image.Image:
    """A picture of values (H, W) from 0 to 1."""
    return Image.fromarray(np.rint(255 * values).astype(np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    for name in SETS:
        print(draw(name, options.folder))


if __name__ == "__main__":
    main()
