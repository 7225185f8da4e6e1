"""Evaluation of a model on a data set: reconstruction, divergences, categories and factors."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastjvae import functional
from fastjvae.data import ImageData
from fastjvae.data.source import check_image_data
from fastjvae.errors import ArgumentError
from fastjvae.functional.checks import ChannelReduction
from fastjvae.metrics._items import COLLAPSED_NATS
from fastjvae.metrics.collapse import (
    constant_of,
    is_collapsed,
    is_too_short,
    mean_image_loss,
)
from fastjvae.metrics.effect import effect_on_images, is_without_effect, percent
from fastjvae.metrics.reconstruction import encode_and_reconstruct, reconstruction_error
from fastjvae.metrics.scores import SCORE_TITLES, Scores, disentanglement_scores
from fastjvae.metrics.variables import (
    Labelled,
    Variable,
    agreement,
    fitting,
    in_words,
    variable_lines,
    variable_of,
)
from fastjvae.model import JointVAE
from fastjvae.model.encoding import Encoding
from fastjvae.model.likelihood import Likelihood

USED_NATS = 0.25  # a unit with more is in use; with less its traversal changes next to nothing
_MOST_IMAGES = 10_000  # of the training images beside held-out ones


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
    # The labels that training saw: their images are none of these. None where it saw no label.
    labelled: Labelled | None = None
    likelihood: Likelihood = "bernoulli"  # of the pixels, of which ``reconstruction`` is -log p
    scale: float | None = None  # standard deviation of a Gaussian, in the unit of the images
    constant: float = 0.0  # nats per image of ``reconstruction`` without any error, of a Gaussian

    @property
    def shows_mean_image(self) -> bool:
        """Whether the reconstructions tell no more of an image than the mean image does."""
        return self.mean_image is not None and is_collapsed(
            self.reconstruction, self.mean_image, self.constant
        )

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
            key=lambda number: agreement(self.variables[number]),
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
        if self.scale is not None:
            lines.append(
                f"    likelihood        Gaussian of scale {self.scale:.4g},"
                f" {self.constant:.2f} nats without any error"
            )
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
                lines.append(f"    not active        {in_words('z', dead)}")
        for number, variable in enumerate(self.variables):
            lines += variable_lines(number, variable)
            if self.labelled is not None and self.labelled.variable == number:
                seen = f"training saw those of {self.labelled.images:,} other images"
                lines.append(f"    labels            {seen}")
        if self.without_effect:
            few = len(self.without_effect) == 1
            lines.append(
                f"  {fitting(self.without_effect, ', ')} {'has' if few else 'have'} KL, but the"
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


@torch.no_grad()
def evaluate(
    model: JointVAE,
    data: ImageData,
    channel_reduction: ChannelReduction = "mean",
    scores: Scores = "fast",
    steps: int | None = None,
    train: Tensor | None = None,
    capacity: float | None = None,
    labelled: Labelled | None = None,
) -> Evaluation:
    """Evaluate a model on every image of a data set whose label did not take part in its training.

    Args:
        model: its mode is restored.
        data: images of the model's size; labels, where there are some, give accuracies, and
            factors give scores. Images with one of its ``known_labels`` are left out.
        channel_reduction: see :func:`fastjvae.functional.bernoulli_reconstruction`.
        scores: which, see :func:`fastjvae.metrics.disentanglement_scores`.
        steps: training steps that the model has taken, if known: after a few it has learned nothing
            yet, which is no collapse.
        train: the training images, where ``data`` are held out of them; up to 10,000, evenly
            spread, are read.
        capacity: nats that the objective allowed all latent variables at the last step, where it
            has capacities: with less than one nat a model shows the mean image and has not
            collapsed.
        labelled: the labels that training saw.

    Raises:
        ArgumentError: the data are no ``ImageData``.
        DataError: training saw the label of every image.
    """
    check_image_data(data)
    data = data.without_known_labels()
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
            variable_of(
                *each,
                labels,
                data.label_names,
                labelled.names if labelled and labelled.variable == number else None,
            )
            for number, each in enumerate(
                zip(
                    kl_disc,
                    imbalance,
                    model.spec.disc,
                    encoding.discrete.T,
                    effects.disc,
                    strict=True,
                )
            )
        ],
        scores=found,
        no_scores=no_scores,
        mean_image=mean_image_loss(data.images, channel_reduction, gaussian=model.gaussian),
        steps=steps,
        effect_cont=effects.cont,
        capacity=capacity,
        reconstruction_train=on_train,
        labelled=labelled,
        likelihood=model.likelihood,
        scale=model.standard_deviation,
        constant=constant_of(model.img_size, channel_reduction, model.gaussian),
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
