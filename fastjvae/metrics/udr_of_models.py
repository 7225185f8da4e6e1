"""UDR of trained models: their codes of the same images, compared without any label."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastjvae.errors import ArgumentError
from fastjvae.functional import kl_gaussian
from fastjvae.metrics._items import Floats
from fastjvae.metrics.udr import INFORMATIVE_NATS, udr
from fastjvae.model import JointVAE, load
from fastjvae.model.encoding import encoded_batches, evenly_spread

_MOST_IMAGES = 10_000  # the standard error of a rank correlation of as many is 0.01


def udr_of_runs(
    runs: Sequence[str | Path], images: Tensor, device: torch.device | str = "cpu", **networks: Any
) -> tuple[Floats | None, str | None]:
    """UDR of the models of runs, see :func:`comparable_units`; or why there is none.

    Args:
        runs: whatever :func:`fastjvae.load` takes, such as run folders, of one data set.
        images: (N, C, H, W); up to 10,000, evenly spread, are compared.
        device: where to encode them.
        networks: their own networks, see :func:`fastjvae.load`.
    """
    chosen = images[evenly_spread(len(images), _MOST_IMAGES)]
    if len(runs) < 2 or len(chosen) < 2:
        return None, "which compares at least 2 finished seeds on at least 2 images"
    units = [comparable_units(load(run, **networks).to(device), chosen) for run in runs]
    if all((kl <= INFORMATIVE_NATS).all() for _, kl in units):
        return None, (
            f"there is nothing to compare: no unit or category of any seed carries more than"
            f" {INFORMATIVE_NATS} nats"
        )
    try:
        return udr([codes for codes, _ in units], [kl for _, kl in units]), None
    except ArgumentError as error:  # of a model that has diverged
        return None, str(error)


@torch.no_grad()
def comparable_units(model: JointVAE, images: Tensor) -> tuple[Floats, Floats]:
    """The codes (N, Z + sum K) that UDR compares and the nats (Z + sum K,) that each carries.

    UDR is defined on continuous units: their means and KL. A discrete variable, which the paper's
    models have not, enters as one unit per category, its probability p_k. Such a unit carries its
    share E[p_k log p_k] - E[p_k] log E[p_k] of the variable's information; the shares add up to
    I = H(E[p]) - E[H(p)]. So neither an unused category nor a variable that says the same of every
    image counts, whose KL would be all imbalance.
    """
    spec = model.spec
    params = torch.cat([rows.cpu() for _, rows in encoded_batches(model, images)]).double()
    codes = [params[:, spec.mean]]
    nats = [kl_gaussian(params[:, spec.mean], params[:, spec.logvar])]
    for logits in spec.logits:
        p = params[:, logits].softmax(dim=1)
        codes.append(p)
        nats.append(torch.xlogy(p, p).mean(dim=0) - torch.xlogy(p.mean(dim=0), p.mean(dim=0)))
    return torch.cat(codes, dim=1).numpy(), torch.cat(nats).numpy()
