"""JointVAE (continuous and discrete factors of variation, learned without labels), made fast.

>>> import torch
>>> from fastjvae import JointVAE
>>> model = JointVAE(img_size=(1, 32, 32), latent_spec={"cont": 10, "disc": [10]})
>>> model.sample(4).shape
torch.Size([4, 1, 32, 32])

What is named here is loaded when it is first asked for, so that the command line answers at once
where it needs no torch, and while torch is loaded.
"""

from typing import TYPE_CHECKING

from fastjvae._version import __version__

if TYPE_CHECKING:
    from fastjvae import errors, functional, metrics, objectives
    from fastjvae.errors import FastJVAEError
    from fastjvae.functional import Capacity, LatentSpec, backend
    from fastjvae.model import Decoder, Encoder, JointVAE, load, load_published
    from fastjvae.objectives import (
        BetaObjective,
        BetaTCObjective,
        CCBetaObjective,
        FactorObjective,
        JointObjective,
        LossOutput,
        SharedObjective,
    )
    from fastjvae.training import Fit, fit
else:
    from importlib import import_module as _import_module
    from importlib.util import find_spec as _find_spec

    _NAMES = {
        "errors": ("FastJVAEError",),
        "functional": ("Capacity", "LatentSpec", "backend"),
        "model": ("Decoder", "Encoder", "JointVAE", "load", "load_published"),
        "objectives": (
            "BetaObjective",
            "BetaTCObjective",
            "CCBetaObjective",
            "FactorObjective",
            "JointObjective",
            "LossOutput",
            "SharedObjective",
        ),
        "training": ("Fit", "fit"),
    }

    def __getattr__(name):
        for module, names in _NAMES.items():
            if name in names:
                globals()[name] = getattr(_import_module(f"{__name__}.{module}"), name)
                return globals()[name]
        if not name.startswith("_") and _find_spec(f"{__name__}.{name}"):
            return _import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "BetaObjective",
    "BetaTCObjective",
    "CCBetaObjective",
    "Capacity",
    "Decoder",
    "Encoder",
    "FactorObjective",
    "FastJVAEError",
    "Fit",
    "JointObjective",
    "JointVAE",
    "LatentSpec",
    "LossOutput",
    "SharedObjective",
    "__version__",
    "backend",
    "errors",
    "fit",
    "functional",
    "load",
    "load_published",
    "metrics",
    "objectives",
]
