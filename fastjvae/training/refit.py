"""The head of the discrete variables, fitted anew to what the encoder has learned.

Categories that have settled early keep what they confuse: two types of image that share a category
and a third that has two is a local optimum that the gradient does not leave, although the encoder's
features tell the types apart by then. A head on features that stand still costs next to nothing, so
many of them are fitted, from random beginnings, and the best takes the place of the model's own,
which k-means does with its restarts. The measure is the objective's; no label takes part.
"""

from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from fastjvae import functional
from fastjvae.data.batches.order import epoch_seed
from fastjvae.functional.batch_parts import part_of_batch
from fastjvae.model import Encoder, JointVAE
from fastjvae.objectives.shared import BALANCE, shared_by
from fastjvae.training.step import TrainingStep

_HEADS = 30
_STEPS = 200
_LR = 1e-2
_BATCH = 1024  # images of a step
_IMAGES = 20_000  # whose features are taken


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
) -> list[Score]:
    """Fit the rows of the head for each discrete variable anew, in place, where that is better.

    The images are those of the steps from ``first`` on, transformed as they are in training, about
    20,000 of them. Adam forgets the direction of the rows that have changed.

    Args:
        model: with the standard encoder.
        optimizer: of its parameters.
        step: the training's, for its batches; on several processes every one calls this.
        group: images of a group.
        first: number of the next training step, counted from 0.
        seed: with ``first`` it decides the beginnings.

    Returns:
        A score for each variable.
    """
    assert isinstance(model.encoder, Encoder)
    features = _features(step, model, first)
    generator = torch.Generator(features.device).manual_seed(epoch_seed(seed, first))
    layer, scores = model.encoder.head, []
    for rows in model.spec.logits:
        own = Head(layer.weight[rows].detach().clone(), layer.bias[rows].detach().clone())
        best, score = best_head(features, own, group, generator)
        scores.append(score)
        for parameter, value in zip((layer.weight, layer.bias), best, strict=True):
            value = _of_first_process(value, step.processes.world)
            if torch.equal(value, parameter[rows]):
                continue
            with torch.no_grad():
                parameter[rows] = value
            if "exp_avg" in (state := optimizer.state[parameter]):
                state["exp_avg"][rows] = 0
    return scores


def best_head(
    features: Tensor, own: Head, group: int, generator: torch.Generator
) -> tuple[Head, Score]:
    """The best of many heads that are fitted to features, and of the one that there is.

    A head is fitted to the objective's I - 0.3 B (see :class:`fastjvae.objectives.SharedObjective`)
    and judged by I - B of all images, of which a head that leaves categories empty has little.

    Args:
        features: (N, F); the images of a group follow one another.
        own: the head there is.
        group: images of a group.
        generator: of the beginnings and of the batches, on the features' device.
    """
    size = (len(own.bias), features.shape[1])
    mean, spread = features.mean(dim=0), features.std(dim=0).mean().clamp_min(1e-12)
    features = (features - mean) / spread
    with torch.enable_grad():
        weights, biases = _fitted(features, group, size, generator)
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
    if best == _HEADS:
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


def _score(features: Tensor, weight: Tensor, bias: Tensor, group: int) -> Tensor:
    shared = shared_by(F.linear(features, weight, bias).softmax(dim=-1), group)
    return shared.information - shared.imbalance


@torch.no_grad()
def _features(step: TrainingStep, model: JointVAE, first: int) -> Tensor:
    """(N, F) of the next training images of all processes, float32."""
    found, images = [], 0
    wanted = min(_IMAGES, 2 * step.batches.images)
    number = first
    while images < wanted:
        whole = step.batches.whole(number)
        batch = step.augmented(step.batches.gather(step.batches.select(number)), whole)
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
