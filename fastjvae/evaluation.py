"""What a trained model has learned: reconstruction, divergences and the use of its categories."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastjvae import functional
from fastjvae.checks import ChannelReduction
from fastjvae.data import ImageData
from fastjvae.metrics import cluster_accuracy
from fastjvae.model import JointVAE

# A unit below this many nats carries nothing one could see in a traversal; Kim & Mnih (2018) prune
# latent dimensions at the same value.
ACTIVE_NATS = 0.01
_BATCH = 512


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


@dataclass(frozen=True)
class Evaluation:
    """A model on a data set, in evaluation mode (means and one-hot categories)."""

    data: str
    images: int
    reconstruction: float  # nats per image
    channel_reduction: ChannelReduction  # of the cross-entropy in ``reconstruction``
    kl_cont: list[float]  # nats per continuous unit
    variables: list[Variable]

    @property
    def ranked_units(self) -> list[int]:
        """Continuous units by decreasing KL."""
        return sorted(range(len(self.kl_cont)), key=lambda unit: -self.kl_cont[unit])

    @property
    def active_units(self) -> list[int]:
        """Continuous units with more than 0.01 nats, by decreasing KL."""
        return [unit for unit in self.ranked_units if self.kl_cont[unit] > ACTIVE_NATS]

    def to_dict(self) -> dict[str, Any]:
        """JSON form, with the sums and rankings that the table shows."""
        return {
            **dataclasses.asdict(self),
            "kl_cont_sum": sum(self.kl_cont),
            "kl_disc_sum": sum(variable.kl for variable in self.variables),
            "ranked_units": self.ranked_units,
            "active_units": self.active_units,
        }

    def table(self) -> str:
        """Return what :meth:`to_dict` holds as text for a terminal."""
        lines = [
            f"{self.data}: {self.images:,} images",
            f"  reconstruction      {self.reconstruction:.2f} nats per image"
            + (", summed over channels" if self.channel_reduction == "sum" else ""),
        ]
        if self.kl_cont:
            lines.append(
                f"  KL of z             {sum(self.kl_cont):.3f} nats,"
                f" {len(self.active_units)} of {len(self.kl_cont)} units active"
                f" (above {ACTIVE_NATS} nats)"
            )
            lines += [
                f"    z{unit:<4} {self.kl_cont[unit]:8.3f} nats" for unit in self.ranked_units
            ]
        for number, variable in enumerate(self.variables):
            lines += variable_lines(number, variable)
        return "\n".join(lines)


def variable_lines(number: int, variable: Variable) -> list[str]:
    """Describe one categorical variable in a few lines of text."""
    unused = ", ".join(map(str, variable.unused)) or "none"
    lines = [
        f"  c{number}, {len(variable.shares)} categories",
        f"    KL                {variable.kl:.3f} nats = {variable.information:.3f} information"
        f" + {variable.imbalance:.3f} imbalance",
        "    share of images   " + " ".join(f"{100 * s:.0f}%" for s in variable.shares[:32]),
        f"    unused categories {unused}",
    ]
    if variable.accuracy_majority is not None:
        lines.append(
            f"    accuracy          {variable.accuracy_majority:.4f} majority,"
            f" {variable.accuracy_one_to_one:.4f} one-to-one"
        )
    return lines


@torch.no_grad()
def evaluate(
    model: JointVAE, data: ImageData, channel_reduction: ChannelReduction = "mean"
) -> Evaluation:
    """Evaluate a model on every image of a data set.

    Args:
        model: its mode is restored.
        data: images of the model's size; labels, where there are some, give accuracies.
        channel_reduction: see :func:`fastjvae.functional.bernoulli_reconstruction`.
    """
    was_training = model.training
    model.eval()
    device = model.device
    total, kl_cont, kl_disc, category_mean = 0.0, [], [], []
    categories: list[Tensor] = []
    for images in torch.split(data.images, _BATCH):
        images = images.to(device)
        params = model.encode_params(images)
        latent = functional.joint_latent(params, model.spec, model.temperature, training=False)
        logits = model.decode_logits(latent.sample)
        loss = functional.bernoulli_reconstruction(logits, images, channel_reduction)
        weight = len(images) / len(data)
        total += weight * float(loss)
        kl_cont.append(weight * latent.kl_cont.double())
        kl_disc.append(weight * latent.kl_disc.double())
        category_mean.append(weight * latent.category_mean.double())
        categories.append(
            torch.stack([params[:, rows].argmax(dim=1) for rows in model.spec.logits], dim=1)
            if model.spec.disc
            else torch.zeros(len(images), 0)
        )
    model.train(was_training)
    imbalance = functional.category_imbalance(
        torch.stack(category_mean).sum(dim=0), model.spec
    ).tolist()
    kls = torch.stack(kl_disc).sum(dim=0).tolist()
    assignments = torch.cat(categories).cpu()
    return Evaluation(
        data=data.name,
        images=len(data),
        reconstruction=total,
        channel_reduction=channel_reduction,
        kl_cont=torch.stack(kl_cont).sum(dim=0).tolist(),
        variables=[
            _variable(kl, loss, size, assignments[:, d], data.labels)
            for d, (kl, loss, size) in enumerate(zip(kls, imbalance, model.spec.disc, strict=True))
        ],
    )


def _variable(
    kl: float, imbalance: float, size: int, assignments: Tensor, labels: Tensor | None
) -> Variable:
    counts = torch.bincount(assignments, minlength=size)
    majority, one_to_one = None, None
    if labels is not None:
        majority = cluster_accuracy(assignments.numpy(), labels.numpy())
        one_to_one = cluster_accuracy(assignments.numpy(), labels.numpy(), "one-to-one")
    return Variable(
        kl=kl,
        information=kl - imbalance,
        imbalance=imbalance,
        shares=(counts / len(assignments)).tolist(),
        unused=(counts == 0).nonzero().flatten().tolist(),
        accuracy_majority=majority,
        accuracy_one_to_one=one_to_one,
    )
