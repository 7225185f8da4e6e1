"""Writing a model in the forms of other programs: the published code and ``torch.export``."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastjvae.files import write_bytes, write_json
from fastjvae.model.jointvae import JointVAE
from fastjvae.model.pretrained import model_config
from fastjvae.model.published import PUBLISHED_WEIGHTS, SPECS
from fastjvae.model.torch_files import serialised


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
    (N, L) to images in [0, 1].
    """
    directory = Path(directory)
    # torch.export specialises a dimension of size 1, so the example batch has two images.
    images = torch.zeros(2, *model.img_size, device=model.device, dtype=model.dtype)
    sample = torch.zeros(2, model.latent_dim, device=model.device, dtype=model.dtype)
    batch = {0: torch.export.Dim("batch", min=1)}
    # A copy with contiguous weights: torch.export.save warns of channels_last ones, and may lose
    # part of them.
    model = copy.deepcopy(model).to(memory_format=torch.contiguous_format).eval()
    for name, module, example in (
        ("encoder.pt2", model.encoder, images),
        ("decoder.pt2", _ImageDecoder(model), sample),
    ):
        program = torch.export.export(module, (example,), dynamic_shapes=(batch,))
        write_bytes(directory / name, serialised(torch.export.save, program))


class _ImageDecoder(torch.nn.Module):
    def __init__(self, model: JointVAE) -> None:
        super().__init__()
        self.decoder = model.decoder

    def forward(self, sample: Tensor) -> Tensor:
        images: Tensor = self.decoder(sample).sigmoid().contiguous()
        return images
