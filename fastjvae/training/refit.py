"""The head of the discrete variables, fitted anew to what the encoder has learned.

Categories that have settled early keep what they confuse: two types of image that share a category
and a third that has two is a local optimum that the gradient does not leave, although the encoder's
features tell the types apart by then. A head on features that stand still costs next to nothing, so
many of them are fitted, from random beginnings, and the best takes the place of the model's own,
which k-means does with its restarts. The measure is the objective's; no label takes part.
"""

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from fastjvae import functional
from fastjvae.data.batches.order import epoch_seed
from fastjvae.functional.batch_parts import part_of_batch
from fastjvae.functional.shared import joint_of, shared_by
from fastjvae.model import JointVAE
from fastjvae.objectives.shared import BALANCE
from fastjvae.training.images import as_taken
from fastjvae.training.merging import merged
from fastjvae.training.step import TrainingStep

_HEADS = 30
_STEPS = 200
_LR = 1e-2
_BATCH = 1024  # images of a step
_IMAGES = 20_000  # whose features are taken
_IMAGES_TO_SPREAD = 2_000


class Score(NamedTuple):
    """Shared information less imbalance of one variable's categories, nats."""

    before: float
    after: float


class Head(NamedTuple):
    """A linear head of one variable."""

    weight: Tensor  # (K, F)
    bias: Tensor  # (K,)


def refit_categories(
    model: JointVAE,
    optimizer: torch.optim.Optimizer,
    step: TrainingStep,
    *,
    group: int,
    first: int,
    seed: int,
    further: nn.Linear | None = None,
) -> list[Score]:
    """Fit the rows of the head for each discrete variable anew, in place, where that is better.

    The images are those of the steps from ``first`` on, transformed as they are in training, about
    20,000 of them. Adam forgets the direction of the rows that have changed.

    Args:
        model: with the standard encoder, or one that has ``hidden_features`` and ``head``.
        optimizer: of its parameters.
        step: the training's, for its batches; on several processes every one calls this.
        group: images of a group.
        first: number of the next training step, counted from 0.
        seed: with ``first`` it decides the beginnings.
        further: the head of the overclusters, which, merged, are one more beginning of each
            variable's head, see :mod:`fastjvae.training.merging`.

    Returns:
        A score for each variable.
    """
    features = _features(step, model, first)
    generator = torch.Generator(features.device).manual_seed(epoch_seed(seed, first))
    layer, scores, many = _head_layer(model), [], None
    if further is not None:
        many = F.linear(features, further.weight, further.bias).detach().softmax(dim=-1)
    for rows in model.spec.logits:
        best, score = best_head(features, _head(layer, rows), group, generator, many)
        scores.append(score)
        _replace(layer, rows, best, optimizer, step.processes.world)
    return scores


@torch.no_grad()
def spread_categories(
    model: JointVAE, step: TrainingStep, spread: float, further: nn.Linear | None = None
) -> None:
    """Scale the rows of the heads whose categories are shared to the features that they read.

    The information that two images share is of the fourth order in how far their probabilities
    differ from image to image, so that from small logits it hardly begins to grow.

    Args:
        model: as for :func:`refit_categories`.
        step: the training's, for its first batches; on several processes every one calls this.
        spread: the standard deviation of the logits over the images; their means become 0.
        further: the head of the overclusters.
    """
    features = _features(step, model, 0, _IMAGES_TO_SPREAD)
    mean = features.mean(dim=0)
    heads = [(_head_layer(model), rows) for rows in model.spec.logits]
    if further is not None:
        heads.append((further, slice(0, further.out_features)))
    for layer, rows in heads:
        logits = F.linear(features - mean, layer.weight[rows])
        weight = layer.weight[rows] * (spread / logits.std().clamp_min(1e-12))
        weight = _of_first_process(weight, step.processes.world)
        layer.weight[rows] = weight
        layer.bias[rows] = -weight @ mean


def _head_layer(model: JointVAE) -> nn.Linear:
    encoder: Any = model.encoder
    return encoder.head  # type: ignore[no-any-return]


def _head(layer: nn.Linear, rows: slice) -> Head:
    return Head(layer.weight[rows].detach().clone(), layer.bias[rows].detach().clone())


def _replace(
    layer: nn.Linear, rows: slice, head: Head, optimizer: torch.optim.Optimizer, world: int
) -> None:
    """Give rows of a layer other weights, those of the first process."""
    for parameter, value in zip((layer.weight, layer.bias), head, strict=True):
        value = _of_first_process(value, world)
        if torch.equal(value, parameter[rows]):
            continue
        with torch.no_grad():
            parameter[rows] = value
        if "exp_avg" in (state := optimizer.state[parameter]):
            state["exp_avg"][rows] = 0


def best_head(
    features: Tensor,
    own: Head,
    group: int,
    generator: torch.Generator,
    many: Tensor | None = None,
) -> tuple[Head, Score]:
    """The best of many heads that are fitted to features, and of the one that there is.

    A head is fitted to the objective's I - 0.3 B (see :class:`fastjvae.objectives.SharedObjective`)
    and judged by I - B of all images, of which a head that leaves categories empty has little.

    Args:
        features: (N, F); the images of a group follow one another.
        own: the head there is.
        group: images of a group.
        generator: of the beginnings and of the batches, on the features' device.
        many: (N, K') probabilities of more categories, which are merged for one more head.
    """
    size = (len(own.bias), features.shape[1])
    mean, spread = features.mean(dim=0), features.std(dim=0).mean().clamp_min(1e-12)
    features = (features - mean) / spread
    with torch.enable_grad():
        weights, biases = _fitted(features, group, size, generator)
        if many is not None and many.shape[1] > size[0]:
            weight, bias = _fitted_to_merged(features, many, group, size, generator)
            weights, biases = torch.cat([weight[None], weights]), torch.cat([bias[None], biases])
    bias = own.bias + own.weight @ mean
    weights = torch.cat([weights, (own.weight * spread)[None]])
    biases = torch.cat([biases, bias[None]])
    scores = torch.stack(
        [
            _score(features, head, bias, group)
            for head, bias in zip(weights, biases, strict=True)  # one at a time: N may be large
        ]
    )
    best = int(scores.argmax())
    score = Score(float(scores[-1]), float(scores[best]))
    if best == len(scores) - 1:
        return own, score
    weight = weights[best] / spread
    return Head(weight, biases[best] - weight @ mean), score


def _fitted(
    features: Tensor, group: int, size: tuple[int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(heads, K, F) weights and (heads, K) biases."""
    weights = torch.randn(_HEADS, *size, generator=generator, device=features.device)
    weights = (weights / size[1] ** 0.5).requires_grad_()
    biases = weights.new_zeros(_HEADS, size[0]).requires_grad_()
    adam = torch.optim.Adam([weights, biases], lr=_LR)
    groups = features.view(-1, group, size[1])
    drawn = min(len(groups), max(1, _BATCH // group))
    for _ in range(_STEPS):
        chosen = torch.randint(len(groups), (drawn,), generator=generator, device=features.device)
        rows = groups[chosen].flatten(0, 1)
        logits = torch.einsum("nf,hkf->hnk", rows, weights) + biases[:, None]
        shared = shared_by(logits.softmax(dim=-1), group)
        adam.zero_grad()
        loss = (BALANCE * shared.imbalance - shared.information).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    return weights.detach(), biases.detach()


def _fitted_to_merged(
    features: Tensor,
    many: Tensor,
    group: int,
    size: tuple[int, int],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """(K, F) weights and (K,) biases of a head that tells what merged categories tell."""
    groups = merged(joint_of(many, group), size[0]).to(many.device)
    target = many.new_zeros(len(many), size[0]).index_add_(1, groups, many)
    weight = features.new_zeros(size).requires_grad_()
    bias = features.new_zeros(size[0]).requires_grad_()
    adam = torch.optim.Adam([weight, bias], lr=_LR)
    for _ in range(_STEPS):
        rows = torch.randint(len(features), (_BATCH,), generator=generator, device=features.device)
        adam.zero_grad()
        loss = F.cross_entropy(F.linear(features[rows], weight, bias), target[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    return weight.detach(), bias.detach()


def _score(features: Tensor, weight: Tensor, bias: Tensor, group: int) -> Tensor:
    shared = shared_by(F.linear(features, weight, bias).softmax(dim=-1), group)
    return shared.information - shared.imbalance


@torch.no_grad()
def _features(step: TrainingStep, model: JointVAE, first: int, most: int = _IMAGES) -> Tensor:
    """(N, F) of the next training images of all processes, float32."""
    found, images = [], 0
    wanted = min(most, 2 * step.batches.images)
    number = first
    while images < wanted:
        whole = step.batches.whole(number)
        selected = step.batches.select(number)
        batch = as_taken(model, step.augmented(step.batches.gather(selected), whole), selected)
        with step.autocast():
            hidden = model.encode_hidden(batch)
        with part_of_batch(whole) as part:
            (rows,) = functional.batch_rows(hidden, part=part)
        found.append(rows)
        images += whole
        number += 1
    return torch.cat(found)


def _of_first_process(tensor: Tensor, world: int) -> Tensor:
    if world > 1:
        tensor = tensor.contiguous()
        dist.broadcast(tensor, src=0)
    return tensor
