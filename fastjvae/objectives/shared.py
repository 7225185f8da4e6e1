"""The information about an image that c holds and that the other images of its group hold too."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from fastjvae import functional
from fastjvae._numbers import is_integer
from fastjvae.errors import ArgumentError
from fastjvae.functional import Noise, SharedInformation
from fastjvae.functional.capacity import Capacity
from fastjvae.functional.checks import (
    ChannelReduction,
    check_channel_reduction,
    check_seed,
    check_weight,
)
from fastjvae.functional.latents import LatentSpec
from fastjvae.functional.weights import Seeded, he_normal_
from fastjvae.objectives.base import LatentModel, LossOutput, check_model, needed, replaced
from fastjvae.objectives.drawn import with_drawn_information

# Of the imbalance in the penalty. With 1 the categories stay as good as equal for hundreds of steps
# before they begin to tell images apart; with 0 some of them stay empty.
BALANCE = 0.3
HIDDEN_DIM = 256  # features of the standard encoder


class HeadedModel(LatentModel, Protocol):
    """A model whose encoder ends in a linear head, :attr:`encoder.head`."""

    encoder: nn.Module

    def encode_hidden(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> the features (N, F) that the head reads."""
        ...


def shared_information(params: Tensor, spec: LatentSpec, group: int) -> SharedInformation:
    """Mutual information of the categories of two images of one group (Ji et al. 2019, eq. 3).

    c and c' are drawn from the category probabilities of two different images of a group, for all
    such pairs of the batch:

        P(c, c') = mean over pairs of p(c | x) p(c' | x'),  I = sum P log (P / P(c) P(c'))

    It is at most log K, where every group has a category of its own kind and none of its images
    another. What tells the images of a group apart adds nothing to it.

    >>> import torch
    >>> spec = LatentSpec(cont=0, disc=(2,))
    >>> sure = torch.tensor([[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [-9.0, 9.0]])
    >>> round(float(shared_information(sure, spec, 2).information), 3)  # log 2
    0.693
    >>> round(float(shared_information(sure[[0, 2, 1, 3]], spec, 2).imbalance), 3)
    0.0

    Args:
        params: parameter rows (N, P); the images of a group follow one another.
        spec: sizes of the latent variables.
        group: images of a group, at least 2.

    Returns:
        Sums over the categorical variables, scalars.

    Raises:
        ArgumentError: the rows are not a number of whole groups.
    """
    return functional.shared_information(params, spec, group)


class SharedObjective(nn.Module):
    """reconstruction + gamma_z |KL_z - C_z(t)| + gamma_c (|I - C_c(t)| + 0.3 B).

    I is :func:`shared_information` of the groups that a batch is made of, and B = KL(category mean
    || uniform) holds the categories equally frequent. Everything else is JointVAE's objective,
    :class:`JointObjective`.

    A further head of the encoder can have a variable of its own with more categories, which is
    "overclustering" (Ji et al. 2019, section 4.1): gamma_c (log K' - I' + 0.3 B') is added to the
    loss. What two types of image that share a category of c differ in stays in the encoder's
    features then, and c can still be told of it. The head is trained with the model but is no part
    of it, of its samples or of what is saved as the model.

    ``extra`` has ``shared_information`` and ``imbalance``, and with a further head
    ``overclustered_information``, its I', all in nats. ``kl_disc`` is the paper's.

    >>> import torch
    >>> from fastjvae import Capacity, JointVAE
    >>> model = JointVAE((1, 32, 32), {"cont": 4, "disc": [3]})
    >>> objective = SharedObjective(
    ...     model.spec,
    ...     cont=Capacity(0.0, 5.0, 1_000, 30.0),
    ...     disc=Capacity(2.0, 2.0, 1, 300.0),
    ...     group=2,
    ...     overclusters=9,
    ... )
    >>> out = model.loss(torch.rand(8, 1, 32, 32), 1, objective)
    >>> out.loss.backward()
    >>> sorted(out.extra)
    ['imbalance', 'overclustered_information', 'shared_information']

    In a loop of one's own, the optimizer gets ``objective.parameter_groups()`` as well.

    Args:
        spec: latent variables of the model, at least one of them categorical.
        cont: capacity of all continuous units together; needed if there are any.
        disc: capacity of the shared information of all categorical variables together; C_c(t) never
            exceeds sum log K, the largest that there can be.
        group: images of a group, at least 2; a batch is groups one after the other.
        overclusters: categories of the further head, which needs ``model.encode_hidden``; 0 for
            none.
        features: what the model's own head reads of an image, and the further head too.
        drawn_gamma: see :class:`fastjvae.JointObjective`.
        channel_reduction: see :func:`fastjvae.functional.bernoulli_reconstruction`.
        seed: of the further head's initialisation, from 0 to 2^31 - 1.

    Raises:
        ArgumentError: a setting is out of range; from ``loss``, the batch is not a number of whole
            groups, or the model is another one.
    """

    def __init__(
        self,
        spec: LatentSpec | Mapping[str, Any],
        *,
        cont: Capacity | None = None,
        disc: Capacity | None = None,
        group: int,
        overclusters: int = 0,
        features: int = HIDDEN_DIM,
        drawn_gamma: float = 0.0,
        channel_reduction: ChannelReduction = "mean",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.spec = LatentSpec.from_dict(spec)
        check_channel_reduction(channel_reduction)
        check_seed(seed)
        if not self.spec.disc:
            raise ArgumentError(
                f"shared information needs categorical variables, got {self.spec.to_dict()}"
            )
        if not is_integer(group) or group < 2:
            raise ArgumentError(
                f"information can be shared in groups of at least 2 images, got groups of {group!r}"
            )
        if not is_integer(overclusters) or overclusters < 0 or overclusters == 1:
            raise ArgumentError(
                f"overclusters must be 0 or at least 2 categories, got {overclusters!r}"
            )
        self.cont = needed(cont, self.spec.cont, "cont", f"{self.spec.cont} continuous units")
        disc = needed(disc, len(self.spec.disc), "disc", f"discrete variables {self.spec.disc}")
        assert disc is not None
        check_weight("drawn_gamma", drawn_gamma)
        self.disc, self.group, self.channel_reduction = disc, group, channel_reduction
        self.drawn_gamma = drawn_gamma
        self.further = LatentSpec(0, (overclusters,)) if overclusters else None
        self.head = _further_head(features, overclusters, seed) if overclusters else None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The further head's parameters for Adam, with the settings of the model's."""
        parameters = list(self.parameters())
        return [{"params": parameters}] if parameters else []

    def encode_rows(self, model: HeadedModel, x: Tensor) -> tuple[Tensor, ...]:
        """Parameter rows (N, P), and with a further head its logits (N, overclusters)."""
        if self.head is None:
            return (model.encode_params(x),)
        hidden = model.encode_hidden(x)
        return model.encoder.head(hidden), self.head(hidden)  # type: ignore[operator]

    def loss(self, model: HeadedModel, x: Tensor, step: int | Tensor, noise: Noise) -> LossOutput:
        check_model(model, self.spec)
        params, *further_logits = self.encode_rows(model, x)
        block = functional.latent_block(
            params, self.spec, model.temperature, noise, training=model.training
        )
        terms = functional.joint_loss(
            model.decode_logits(block.sample),
            x,
            block,
            self.spec,
            step,
            cont=self.cont,
            disc=None,
            channel_reduction=self.channel_reduction,
            gaussian=model.gaussian,
        )
        rows, _, *further_rows = functional.batch_rows(params, block.sample, *further_logits)
        shared = functional.shared_loss(
            terms.loss,
            rows,
            self.spec,
            step,
            disc=self.disc,
            group=self.group,
            pixels=model.num_pixels,
            balance=BALANCE,
            further=further_rows[0] if self.further else None,
        )
        extra = {"shared_information": shared.information, "imbalance": shared.imbalance}
        if self.further:
            extra["overclustered_information"] = shared.overclustered_information
        capacity = shared.capacity.to(terms.capacity_disc.dtype)
        out = replaced(LossOutput(*terms, extra=extra), loss=shared.loss, capacity_disc=capacity)
        return with_drawn_information(out, model, block.sample, step, self.drawn_gamma)


def _further_head(features: int, categories: int, seed: int) -> nn.Linear:
    with Seeded(seed):
        head = nn.Linear(features, categories)
        he_normal_(head)
    return head
