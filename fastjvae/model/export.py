"""Writing a model in the forms of other programs: the published code and ``torch.export``."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastjvae.errors import ArgumentError, first_sentence
from fastjvae.files import write_bytes, write_json
from fastjvae.model.cpu_convolutions import layout_kept
from fastjvae.model.jointvae import JointVAE
from fastjvae.model.pretrained import model_config
from fastjvae.model.published import PUBLISHED_WEIGHTS, SPECS
from fastjvae.model.torch_files import serialised

PROGRAMS = ("encoder.pt2", "decoder.pt2")


def save_published(model: JointVAE, directory: str | Path, specs: Mapping[str, Any]) -> None:
    """Write ``model.pt`` and ``specs.json`` as the published code does.

    Args:
        model: a model with the standard encoder and decoder.
        directory: made if it does not exist.
        specs: training settings for ``specs.json``; the model's own entries are added.
    """
    directory = Path(directory)
    state = {key: tensor.cpu() for key, tensor in model.published_state_dict().items()}
    write_bytes(directory / PUBLISHED_WEIGHTS, serialised(torch.save, state))
    write_json(directory / SPECS, {**specs, **model_config(model)})


def save_exported(model: JointVAE, directory: str | Path) -> None:
    """Write ``encoder.pt2`` and ``decoder.pt2``, programs of ``torch.export`` for any batch size.

    The encoder maps images (N, C, H, W) in [0, 1] to parameter rows (N, P), the decoder sample rows
    (N, L) to images, both in the model's value range, [0, 1] unless its likelihood is Gaussian.

    Raises:
        ArgumentError: torch.export cannot follow a network of the model's own.
        RunError: the folder cannot be written.
    """
    directory = Path(directory)
    model = to_export(model)
    images, sample = examples(model)
    programs = (
        traced("encoder", model.encoder, model.encoder, images),
        traced("decoder", model.decoder, ImageDecoder(model), sample),
    )
    for name, program in zip(PROGRAMS, programs, strict=True):
        write_bytes(directory / name, serialised(torch.export.save, program))


def to_export(model: JointVAE) -> JointVAE:
    """A copy of a model in evaluation mode, whose weights are contiguous.

    ``torch.export.save`` warns of weights in channels_last, and may lose part of them.
    """
    return copy.deepcopy(model).to(memory_format=torch.contiguous_format).eval()


def examples(model: JointVAE) -> tuple[Tensor, Tensor]:
    """Images (2, C, H, W) and sample rows (2, L); of one, torch.export keeps the number."""
    images = torch.zeros(2, *model.img_size, device=model.device, dtype=model.dtype)
    sample = torch.zeros(2, model.latent_dim, device=model.device, dtype=model.dtype)
    return images, sample


def traced(
    role: str, network: nn.Module, module: nn.Module, example: Tensor
) -> torch.export.ExportedProgram:
    """What a module computes of batches of any size, as a program.

    Args:
        role: encoder or decoder, for messages.
        network: of the model, for messages.
        module: calls it.
        example: a batch (2, ...).

    Raises:
        ArgumentError: torch.export cannot follow it.
    """
    batch = {0: torch.export.Dim("batch", min=1)}
    try:
        # A program would keep the strides of another layout as a gather.
        with torch.no_grad(), layout_kept():
            return torch.export.export(module, (example,), dynamic_shapes=(batch,))
    except Exception as error:  # of a network that anybody may have written
        raise ArgumentError(
            f"torch.export cannot follow the {role} ({type(network).__name__}) for batches of any"
            f" size: {first_sentence(error)}"
        ) from error


class ImageDecoder(nn.Module):
    """Sample rows (N, L) -> images (N, C, H, W), as :meth:`JointVAE.decode` gives them."""

    def __init__(self, model: JointVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, sample: Tensor) -> Tensor:
        return self.model.decode(sample)
