"""State dicts of a model under the published code's names, beside its own."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fastjvae.errors import ArgumentError, CheckpointError
from fastjvae.functional.latents import LatentSpec
from fastjvae.model import published
from fastjvae.model.likelihood import Likelihood


class PublishedNames(nn.Module):
    """A model whose state dict is read and given under the published code's names, too."""

    spec: LatentSpec
    likelihood: Likelihood
    has_own_modules: bool

    def published_state_dict(self) -> dict[str, Tensor]:
        """Return copies of the parameters under the published code's names, contiguous.

        Raises:
            ArgumentError: the model has its own encoder or decoder, which that code does not know.
        """
        if self.has_own_modules:
            raise ArgumentError(
                "a model with its own encoder or decoder has no published form;"
                " use state_dict() instead"
            )
        if self.likelihood != "bernoulli":
            raise ArgumentError(
                "a model with a Gaussian likelihood has no published form, whose decoder gives"
                " Bernoulli probabilities; use save_pretrained instead"
            )
        state = published.to_published(self.state_dict(), self.spec)
        return {
            key: tensor.detach().clone(memory_format=torch.contiguous_format)
            for key, tensor in state.items()
        }

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load parameters under our names or under the published code's.

        What DataParallel and torch.compile put before the names does not count.

        Raises:
            CheckpointError: a published state dict lacks keys, has others, or other shapes.
            RuntimeError: the same for a state dict under our names.
        """
        if not self.has_own_modules:
            state_dict = published.without_prefixes(state_dict)
        if not published.is_published(state_dict) or self.has_own_modules:
            return super().load_state_dict(state_dict, strict=strict, assign=assign)
        ours, missing, unexpected = published.from_published(
            state_dict, self.state_dict(), self.spec
        )
        if strict and (missing or unexpected):
            raise CheckpointError(
                f"the published state dict does not fit the model with {self.spec.to_dict()}:"
                f" missing {missing or 'nothing'}, unexpected {unexpected or 'nothing'}"
            )
        super().load_state_dict(ours, strict=True, assign=assign)
        return nn.modules.module._IncompatibleKeys(missing, unexpected)
