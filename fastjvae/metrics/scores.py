"""Every score at once: of arrays, or of a model and a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from fastjvae.data.source import check_image_data
from fastjvae.errors import ArgumentError
from fastjvae.metrics._items import check_items
from fastjvae.metrics._votes import ItemsByValue
from fastjvae.metrics.beta_vae import beta_vae_of_items
from fastjvae.metrics.dci import dci_of_items
from fastjvae.metrics.factor_vae import factor_vae_of_items
from fastjvae.metrics.mig import mig_of_items
from fastjvae.metrics.sap import sap_of_items
from fastjvae.model.encoding import encode

if TYPE_CHECKING:
    from fastjvae.data import ImageData
    from fastjvae.model import JointVAE

Scores = Literal["none", "fast", "all"]

# The names of the scores, and what a table calls them.
SCORE_TITLES = {
    "factor_vae": "Kim & Mnih, as in disentanglement_lib",
    "factor_vae_kim_mnih": "Kim & Mnih, as in their paper",
    "beta_vae": "beta-VAE metric",
    "mig": "MIG",
    "sap": "SAP",
    "dci_disentanglement": "DCI disentanglement",
    "dci_completeness": "DCI completeness",
    "dci_informativeness": "DCI informativeness",
}


def disentanglement_scores(
    codes: Any,
    factors: Any,
    *,
    discrete: Any = None,
    kl: Any = None,
    scores: Scores = "fast",
    seed: int = 0,
) -> dict[str, float]:
    """The scores of codes against factors by name, each as its own function gives it.

    >>> import numpy as np
    >>> factors = np.indices((3, 4, 5)).reshape(3, -1).T
    >>> {name: round(score, 2) for name, score in disentanglement_scores(factors, factors).items()}
    {'factor_vae': 1.0, 'factor_vae_kim_mnih': 1.0, 'beta_vae': 1.0, 'mig': 1.0, 'sap': ...}

    Args:
        codes, factors, discrete, kl: as of :func:`fastjvae.metrics.factor_vae_score`.
        scores: "fast": Kim & Mnih's in both protocols, the beta-VAE metric, MIG and SAP; "all":
            also DCI, which grows 100 trees for each value of each factor; "none": an empty dict.
        seed: of all draws.

    Returns:
        By the names above, and "dci_disentanglement", "dci_completeness" and
        "dci_informativeness". Where a single factor varies, Kim & Mnih's score, the beta-VAE metric
        and DCI's disentanglement are left out: which factor it is, and whether a unit mixes
        several, is then known whatever was learned.

    Raises:
        ArgumentError: as of :func:`fastjvae.metrics.factor_vae_score`.
    """
    if scores not in get_args(Scores):
        raise ArgumentError(f"scores must be 'none', 'fast' or 'all', got {scores!r}")
    if scores == "none":
        return {}
    items = check_items(codes, factors, discrete, kl)
    several = ItemsByValue(items.factors).factors > 1
    result = {}
    if several:
        result["factor_vae"] = factor_vae_of_items(items, seed=seed)
        result["factor_vae_kim_mnih"] = factor_vae_of_items(items, "kim_mnih", seed=seed)
        result["beta_vae"] = beta_vae_of_items(items, seed=seed)
    result["mig"] = mig_of_items(items, seed=seed)
    result["sap"] = sap_of_items(items, seed=seed)
    if scores == "all":
        trees = dci_of_items(items, seed=seed)
        if several:
            result["dci_disentanglement"] = trees.disentanglement
        result["dci_completeness"] = trees.completeness
        result["dci_informativeness"] = trees.informativeness
    return result


def score_model(
    model: JointVAE, data: ImageData, *, scores: Scores = "fast", seed: int = 0
) -> dict[str, float]:
    """The scores of a model on a data set that has factors.

    Every image is encoded once: its means are the codes, its most probable categories the discrete
    ones, and the KL of each unit says which of them count.

    Args:
        model: its mode is restored.
        data: images of the model's size, and their factors.
        scores, seed: as of :func:`disentanglement_scores`.

    Raises:
        ArgumentError: the data set has no factors, or as of :func:`disentanglement_scores`.
    """
    check_image_data(data)
    if data.factors is None:
        raise ArgumentError(f"scores need ground-truth factors, {data.name} has none")
    encoding = encode(model, data.images)
    return disentanglement_scores(
        encoding.codes,
        data.factors,
        discrete=encoding.discrete,
        kl=encoding.kl,
        scores=scores,
        seed=seed,
    )
