"""The sections of ``docs/results.md``: the lines of their tables and their pictures."""

from dataclasses import dataclass
from typing import Literal

from benchmarks.experiments import texts
from benchmarks.experiments.catalogue import CATEGORIES, OWN


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    experiment: str
    label: str


@dataclass(frozen=True)
class Glance:
    """One line of the table that the page begins with.

    Attributes:
        experiment: whose results the line has.
        assumes: what the training takes for granted.
        picture: whether the picture of everything is shown.
    """

    data: str
    command: str
    experiment: str
    assumes: str = "-"
    picture: bool = False


_ASSUMED = "neighbours, moved"
GLANCE: tuple[Glance, ...] = (
    Glance("digits, 1,497", "`fastjvae train digits`", "digits", _ASSUMED, picture=True),
    Glance("", "k-means on the pixels", "digits-kmeans"),
    Glance("MNIST, 10,000", "`train mnist --recipe fast`", "mnist-fast", _ASSUMED, picture=True),
    Glance("", "its first phase alone", "mnist-types", _ASSUMED),
    Glance("", "`train mnist --recipe best`", "mnist-best", _ASSUMED, picture=True),
    Glance(
        "",
        "`train mnist --recipe fast --steps 1450 --labelled 100`",
        "mnist-100-labels",
        f"100 labels, {_ASSUMED}",
        picture=True,
    ),
    Glance("", "`train mnist --steps 30000`, the paper's objective", "mnist-joint"),
    Glance("MNIST, 60,000", "the authors' model; the paper says 0.887", "mnist-published"),
    Glance("MNIST, 10,000", "k-means on the pixels", "mnist-kmeans-10"),
    Glance(
        "FashionMNIST, 60,000",
        "`train fashion-mnist --recipe fast`",
        "fashion-fast",
        _ASSUMED,
        picture=True,
    ),
    Glance("", "`train fashion-mnist --steps 60000`, the paper's objective", "fashion-joint"),
    Glance("", "k-means on the pixels", "fashion-kmeans"),
)


@dataclass(frozen=True)
class Picture:
    """A figure of a trained experiment, ``docs/results/EXPERIMENT-KIND.png``."""

    experiment: str
    kind: Literal["traversals", "failures", "categories", "overview"]
    caption: str

    @property
    def file(self) -> str:
        return f"{self.experiment}-{self.kind}.png"


# Below the table that the page begins with.
OVERVIEWS = tuple(
    Picture(
        line.experiment,
        "overview",
        f"{line.command}: categories by their commonest label, units by a traversal, and"
        f" reconstructions, as `fastjvae figures overview` draws them",
    )
    for line in GLANCE
    if line.picture
)


@dataclass(frozen=True)
class Section:
    """The tables and pictures of some experiments.

    Attributes:
        text: what they are about and how they differ from the paper, Markdown.
        kmeans: experiments of k-means that are further lines of the first table.
        pictures: those that have been drawn are shown below.
        silent_units: whether a table says how much of the encoder no image turns on.
        as_accurate_as: an experiment, and another whose accuracy at its end it is timed by.
        objective_of: the experiment of another section whose objective the lines are compared by.
    """

    title: str
    text: str
    rows: tuple[Row, ...]
    kmeans: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    silent_units: bool = False
    as_accurate_as: tuple[str, str] | None = None
    objective_of: str | None = None


SECTIONS: tuple[Section, ...] = (
    Section(
        "MNIST",
        texts.MNIST,
        (
            Row("mnist-joint", "JointVAE"),
            Row("mnist-fast", "JointVAE, `--recipe fast`"),
            Row("mnist-fast-bf16", "JointVAE, `--recipe fast --precision bf16`"),
            Row("mnist-types", "JointVAE, its phase types alone"),
            Row("mnist-best", "JointVAE, `--recipe best`"),
            Row("mnist-100-labels", "JointVAE, `--recipe fast --steps 1450 --labelled 100`"),
            Row("mnist-beta", "beta-VAE, beta = 4"),
            Row("mnist-cc-beta", "CC-beta-VAE"),
            Row("mnist-published", "JointVAE, the authors' model"),
        ),
        kmeans=("mnist-kmeans-10",),
        as_accurate_as=("mnist-types", "mnist-joint"),
        pictures=(
            Picture("mnist-joint", "traversals", "JointVAE, as in figure 3 of the paper"),
            Picture(
                "mnist-types", "traversals", "JointVAE, the phase types of `--recipe fast` alone"
            ),
            Picture("mnist-beta", "traversals", "beta-VAE with the same latent variables"),
            Picture("mnist-cc-beta", "traversals", "CC-beta-VAE with the same latent variables"),
            Picture(
                "mnist-joint",
                "failures",
                "Failures, as in figure 9 of the paper, by rule. Test images of the category whose"
                " commonest digit has the smallest share of it, those of the digit whose commonest"
                " category has the smallest share of it, and the unit that moves the digit most,"
                " where a category should have settled it: between the images of a category below"
                " and above the unit's median so large a share of the digits differs",
            ),
        ),
    ),
    Section(
        "Collapse to the mean image",
        texts.COLLAPSE,
        (
            Row("collapse-5e-4", "learning rate 0.0005"),
            Row("collapse-1e-3", "0.001"),
            Row("collapse-1e-3-warmup", "0.001, `--warmup 300`"),
            Row("collapse-1e-3-he", "0.001, `--initialisation he`"),
            Row("collapse-2e-3", "0.002"),
            Row("collapse-2e-3-warmup", "0.002, `--warmup 300`"),
            Row("collapse-2e-3-he", "0.002, `--initialisation he`"),
        ),
        kmeans=("mnist-kmeans-10",),
        silent_units=True,
    ),
    Section(
        "Why less than the paper says",
        texts.LESS,
        (
            Row("mnist-2500-digits", "2,500 digits"),
            Row("mnist-20000-digits", "20,000 digits, 10,000 of them the test images"),
            Row("mnist-10-information", "10,000 digits, `--disc-measure information`"),
            Row("mnist-from-published", "10,000 digits, from the authors' model"),
            Row("mnist-from-fast", "10,000 digits, from the model of the phase types"),
        ),
        kmeans=("mnist-kmeans-10",),
        objective_of="mnist-joint",
    ),
    Section(
        "FashionMNIST",
        texts.FASHION,
        (
            Row("fashion-joint", "JointVAE"),
            Row("fashion-fast", "JointVAE, `--recipe fast`"),
            Row("fashion-published-way", "JointVAE, the published way of training"),
        ),
        kmeans=("fashion-kmeans",),
        pictures=(Picture("fashion-joint", "traversals", "JointVAE"),),
    ),
    Section(
        "Number of categories",
        texts.NUMBERS,
        tuple(Row(f"mnist-{number}-categories", f"{number} categories") for number in CATEGORIES),
        kmeans=tuple(f"mnist-kmeans-{number}" for number in CATEGORIES),
        pictures=(
            Picture(
                "mnist-5-categories",
                "categories",
                "Samples of 5 categories, with the share of the test images for which each is the"
                " most probable and which digits these are, from a tenth of them on",
            ),
            Picture("mnist-20-categories", "categories", "The same of 20 categories"),
        ),
    ),
    Section(
        "Sprites",
        texts.SPRITES,
        (
            Row("sprites-joint", "JointVAE, 6 units and a variable of 3 categories"),
            Row("sprites-joint-150", "JointVAE, gamma = 150"),
            Row("sprites-joint-information", "JointVAE, `--disc-measure information`"),
            Row("sprites-beta", "beta-VAE, beta = 4, 10 units"),
            Row("sprites-factor", "FactorVAE, gamma = 35, 10 units"),
        ),
        kmeans=("sprites-kmeans",),
        pictures=tuple(
            Picture(f"sprites-{name}", "traversals", label)
            for name, label in (
                ("joint", "JointVAE"),
                ("joint-information", "JointVAE, `--disc-measure information`"),
                ("beta", "beta-VAE"),
                ("factor", "FactorVAE"),
            )
        ),
    ),
    Section(
        "What the decoder does with c",
        texts.DRAWN,
        (
            Row("sprites-short", "sprites, JointVAE"),
            Row("sprites-drawn", "sprites, `--drawn-gamma 10`"),
            Row("mnist-short", "MNIST, JointVAE"),
            Row("mnist-drawn", "MNIST, `--drawn-gamma 10`"),
        ),
    ),
    Section(
        "Digits",
        texts.DIGITS,
        (
            Row("digits", "JointVAE"),
            Row("digits-bf16", "JointVAE, `--precision bf16`"),
            Row("digits-types", "types alone, 5 neighbours, units from half of the steps on"),
        ),
        kmeans=("digits-kmeans",),
    ),
    Section(
        "Pictures of your own",
        texts.OWN_PICTURES,
        tuple(Row(f"own-{name}", name) for name in OWN),
        kmeans=tuple(f"own-{name}-kmeans" for name in OWN),
    ),
)
