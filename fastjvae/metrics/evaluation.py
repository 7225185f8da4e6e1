"""Evaluation of a model on a data set: reconstruction, divergences, categories and factors."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastjvae import functional
from fastjvae.data import ImageData
from fastjvae.data.source import check_image_data
from fastjvae.errors import ArgumentError
from fastjvae.functional.checks import ChannelReduction
from fastjvae.metrics._items import COLLAPSED_NATS, Integers
from fastjvae.metrics.clusters import cluster_accuracy, commonest_labels
from fastjvae.metrics.collapse import is_collapsed, is_too_short, mean_image_loss
from fastjvae.metrics.effect import effect_on_images, is_without_effect, percent
from fastjvae.metrics.reconstruction import encode_and_reconstruct, reconstruction_error
from fastjvae.metrics.scores import SCORE_TITLES, Scores, disentanglement_scores
from fastjvae.model import JointVAE
from fastjvae.model.encoding import Encoding

USED_NATS = 0.25  # a unit with more is in use; with less its traversal changes next to nothing
_MOST_IMAGES = 10_000  # of the training images beside held-out ones
_LONGEST = 56  # characters of what may be long in a line of the table


@dataclass(frozen=True)
class Variable:
    """One categorical variable on a data set."""

    kl: float  # nats; information + imbalance
    information: float  # H(category mean) - mean H(p), nats: tells images apart
    imbalance: float  # KL(category mean || uniform), nats
    shares: list[float]  # of the images whose most probable category is this one
    unused: list[int]  # categories that are most probable for no image
    accuracy_majority: float | None  # of argmax alpha as a classifier; None without labels
    accuracy_one_to_one: float | None
    names: list[str | None] | None = None  # the commonest label of each category, with labels
    effect: float | None = None  # share of the decoded image that depends on it


@dataclass(frozen=True)
class Evaluation:
    """A model on a data set, in evaluation mode (means and one-hot categories)."""

    data: str
    images: int
    reconstruction: float  # nats per image
    channel_reduction: ChannelReduction  # of the cross-entropy in ``reconstruction``
    kl_cont: list[float]  # nats per continuous unit
    variables: list[Variable]
    scores: dict[str, float] | None = None  # against the data's factors; None without any
    no_scores: str | None = None  # why there are none although there are factors
    mean_image: float | None = None  # nats per image that the mean image of the data has
    steps: int | None = None  # training steps that were taken, where that is known
    effect_cont: list[float] | None = None  # share of the decoded image, per continuous unit
    capacity: float | None = None  # nats that the last step allowed, where capacities grow
    # Nats per image of the training images, where the data are held out of training.
    reconstruction_train: float | None = None

    @property
    def shows_mean_image(self) -> bool:
        """Whether the reconstructions tell no more of an image than the mean image does."""
        return self.mean_image is not None and is_collapsed(self.reconstruction, self.mean_image)

    @property
    def collapsed(self) -> bool:
        """Whether they do so although the training, as far as known, let them tell more."""
        too_short = self.steps is not None and is_too_short(self.steps)
        return self.shows_mean_image and not (too_short or self._held_back)

    @property
    def _held_back(self) -> bool:
        """Whether the capacities had hardly grown."""
        return self.capacity is not None and self.capacity < 1

    @property
    def ranked_units(self) -> list[int]:
        """Continuous units by decreasing KL."""
        return sorted(range(len(self.kl_cont)), key=lambda unit: -self.kl_cont[unit])

    @property
    def active_units(self) -> list[int]:
        """Continuous units with more than 0.01 nats, by decreasing KL."""
        return [unit for unit in self.ranked_units if self.kl_cont[unit] > COLLAPSED_NATS]

    @property
    def most_telling(self) -> int | None:
        """The discrete variable that agrees most with the labels, or without labels tells most."""
        return max(
            range(len(self.variables)),
            key=lambda number: _agreement(self.variables[number]),
            default=None,
        )

    @property
    def used_units(self) -> list[int]:
        """Continuous units with more than 0.25 nats, by decreasing KL."""
        return [unit for unit in self.ranked_units if self.kl_cont[unit] > USED_NATS]

    @property
    def without_effect(self) -> list[str]:
        """Variables that tell of an image and that the decoder ignores, such as z3 or c0."""
        units = zip(self.kl_cont, self.effect_cont or [], strict=False)
        names = [f"z{unit}" for unit, each in enumerate(units) if is_without_effect(*each)]
        return names + [
            f"c{number}"
            for number, variable in enumerate(self.variables)
            if is_without_effect(variable.kl, variable.effect)
        ]

    def to_dict(self) -> dict[str, Any]:
        """JSON form, with the sums and rankings that the table shows."""
        return {
            **dataclasses.asdict(self),
            "kl_cont_sum": sum(self.kl_cont),
            "kl_disc_sum": sum(variable.kl for variable in self.variables),
            "ranked_units": self.ranked_units,
            "active_units": self.active_units,
            "used_units": self.used_units,
            "without_effect": self.without_effect,
            "collapsed": self.collapsed,
        }

    def table(self) -> str:
        """The content of :meth:`to_dict` as text for a terminal."""
        lines = [
            f"{self.data}: {self.images:,} images",
            f"  reconstruction      {self.reconstruction:.2f} nats per image"
            + (", summed over channels" if self.channel_reduction == "sum" else ""),
        ]
        if self.reconstruction_train is not None:
            lines.append(f"    training images   {self.reconstruction_train:.2f}")
        if self.shows_mean_image:
            if self.steps is None:
                reason = "the model has collapsed, or has hardly been trained"
            elif self.collapsed:
                reason = "the model has collapsed"
            elif self._held_back:
                reason = f"the capacities had only grown to {self.capacity:.2f} nats"
            else:
                reason = f"the training was too short, {self.steps:,} steps"
            lines.append(f"    no better than the mean image, {self.mean_image:.2f}: {reason}")
        if self.kl_cont:
            lines.append(
                f"  KL of z             {sum(self.kl_cont):.3f} nats,"
                f" {len(self.active_units)} of {len(self.kl_cont)} units active"
                f" (above {COLLAPSED_NATS} nats)"
            )
            dead = [unit for unit, kl in enumerate(self.kl_cont) if kl <= COLLAPSED_NATS]
            lines += [
                f"    z{unit:<4} {self.kl_cont[unit]:8.3f} nats{self._effect_of(unit)}"
                for unit in self.ranked_units
                if unit not in dead
            ]
            if dead:
                lines.append(f"    not active        {_numbers('z', dead)}")
        for number, variable in enumerate(self.variables):
            lines += variable_lines(number, variable)
        if self.without_effect:
            few = len(self.without_effect) == 1
            lines.append(
                f"  {_fitting(self.without_effect, ', ')} {'has' if few else 'have'} KL, but the"
                f" picture hardly depends on {'it' if few else 'them'}"
            )
        if self.scores:
            lines.append("  scores against the factors, from 0 to 1")
            lines += [
                f"    {score:.4f}  {SCORE_TITLES[name]}" for name, score in self.scores.items()
            ]
        if self.no_scores:
            lines.append(f"  scores: n/a, {self.no_scores}")
        return "\n".join(lines)

    def _effect_of(self, unit: int) -> str:
        """The effect of a unit as the table has it behind its KL."""
        return "" if self.effect_cont is None else f", effect {percent(self.effect_cont[unit])}"


def _agreement(variable: Variable) -> float:
    agreeing = variable.accuracy_majority
    return variable.information if agreeing is None else agreeing


def variable_lines(number: int, variable: Variable) -> list[str]:
    """Describe one categorical variable in a few lines of text."""
    lines = [
        f"  c{number}, {len(variable.shares)} categories",
        f"    KL                {variable.kl:.3f} nats = {variable.information:.3f} information"
        f" + {variable.imbalance:.3f} imbalance",
        "    share of images   " + _fitting([f"{100 * s:.0f}%" for s in variable.shares], " "),
        f"    unused categories {_numbers('', variable.unused)}",
    ]
    if variable.effect is not None:
        lines.append(f"    effect            {percent(variable.effect)} of the picture")
    if variable.accuracy_majority is not None:
        lines.append(
            f"    accuracy          {variable.accuracy_majority:.4f} majority,"
            f" {variable.accuracy_one_to_one:.4f} one-to-one"
        )
    return lines


def _numbers(prefix: str, numbers: Sequence[int]) -> str:
    """Numbers in ascending order, those that follow one another as a range; as many as fit a line.

    >>> _numbers("z", [0, 1, 2, 5, 8, 9])
    'z0..z2, z5, z8, z9'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts: list[str] = []
    for run in runs:
        names = [f"{prefix}{number}" for number in run]
        parts += names if len(run) < 3 else [f"{names[0]}..{names[-1]}"]
    return _fitting(parts, ", ") or "none"


def _fitting(parts: Sequence[str], separator: str) -> str:
    """The first parts that fit the rest of a line, and dots where there are more."""
    text = ""
    for part in parts:
        longer = f"{text}{separator}{part}" if text else part
        if len(longer) > _LONGEST:
            return f"{text}{separator}..."
        text = longer
    return text


@torch.no_grad()
def evaluate(
    model: JointVAE,
    data: ImageData,
    channel_reduction: ChannelReduction = "mean",
    scores: Scores = "fast",
    steps: int | None = None,
    train: Tensor | None = None,
    capacity: float | None = None,
) -> Evaluation:
    """Evaluate a model on every image of a data set.

    Args:
        model: its mode is restored.
        data: images of the model's size; labels, where there are some, give accuracies, and
            factors give scores.
        channel_reduction: see :func:`fastjvae.functional.bernoulli_reconstruction`.
        scores: which, see :func:`fastjvae.metrics.disentanglement_scores`.
        steps: training steps that the model has taken, if known: after a few it has learned nothing
            yet, which is no collapse.
        train: the training images, where ``data`` are held out of them; up to 10,000, evenly
            spread, are read.
        capacity: nats that the objective allowed all latent variables at the last step, where it
            has capacities: with less than one nat a model shows the mean image and has not
            collapsed.

    Raises:
        ArgumentError: the data are no ``ImageData``.
    """
    check_image_data(data)
    encoding, reconstruction = encode_and_reconstruct(model, data.images, channel_reduction)
    on_train = None
    if train is not None:
        on_train = reconstruction_error(model, train, channel_reduction, _MOST_IMAGES)
    imbalance = functional.category_imbalance(
        torch.from_numpy(encoding.category_mean), model.spec
    ).tolist()
    kl: list[float] = encoding.kl.tolist()
    kl_cont, kl_disc = kl[: model.spec.cont], kl[model.spec.cont :]
    labels = None if data.labels is None else data.labels.numpy()
    found, no_scores = _scores(encoding, data, scores)
    effects = effect_on_images(model, data.images)
    return Evaluation(
        data=data.name,
        images=len(data),
        reconstruction=reconstruction,
        channel_reduction=channel_reduction,
        kl_cont=kl_cont,
        variables=[
            _variable(*each, labels, data.label_names)
            for each in zip(
                kl_disc,
                imbalance,
                model.spec.disc,
                encoding.discrete.T,
                effects.disc,
                strict=True,
            )
        ],
        scores=found,
        no_scores=no_scores,
        mean_image=mean_image_loss(data.images, channel_reduction),
        steps=steps,
        effect_cont=effects.cont,
        capacity=capacity,
        reconstruction_train=on_train,
    )


def _scores(
    encoding: Encoding, data: ImageData, scores: Scores
) -> tuple[dict[str, float] | None, str | None]:
    if data.factors is None or scores == "none":
        return None, None
    try:
        found = disentanglement_scores(
            encoding.codes,
            data.factors,
            discrete=encoding.discrete,
            kl=encoding.kl,
            scores=scores,
        )
    except ArgumentError as error:  # of the data or of a model that has diverged
        return None, str(error)
    return found, None


def _variable(
    kl: float,
    imbalance: float,
    size: int,
    categories: Integers,
    effect: float,
    labels: Integers | None,
    label_names: Sequence[str] | None,
) -> Variable:
    counts = np.bincount(categories, minlength=size)
    majority, one_to_one, names = None, None, None
    if labels is not None:
        majority = cluster_accuracy(categories, labels)
        one_to_one = cluster_accuracy(categories, labels, "one-to-one")
        names = commonest_labels(categories, labels, size, label_names)
    return Variable(
        kl=kl,
        information=kl - imbalance,
        imbalance=imbalance,
        shares=(counts / len(categories)).tolist(),
        unused=np.flatnonzero(counts == 0).tolist(),
        accuracy_majority=majority,
        accuracy_one_to_one=one_to_one,
        names=names,
        effect=effect,
    )
