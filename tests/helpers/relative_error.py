"""How far gradients are from others."""

from __future__ import annotations

from torch import Tensor


def relative(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest error as a share of the largest gradient of its tensor."""
    assert len(ours) == len(theirs)
    return max(
        float((a - b).abs().max() / b.abs().max().clamp_min(1e-30))
        for a, b in zip(ours, theirs, strict=True)
    )
