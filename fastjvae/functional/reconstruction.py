"""The reconstruction loss."""

from __future__ import annotations

from torch import Tensor

from fastjvae.functional.backends import reference
from fastjvae.functional.backends.choice import use_triton
from fastjvae.functional.batch_parts import Part, enclosing_part, whole_reconstruction
from fastjvae.functional.checks import ChannelReduction, check_channel_reduction, check_images


def bernoulli_reconstruction(
    logits: Tensor,
    target: Tensor,
    channel_reduction: ChannelReduction = "mean",
    *,
    part: Part | None = None,
) -> Tensor:
    """Cross-entropy of the target's pixels under Bernoulli(sigmoid(logits)), nats per image.

    Args:
        logits: (N, C, H, W).
        target: the same shape; uint8 0..255, or floats 0..1.
        channel_reduction: the sum over pixels is averaged over channels ("mean", as the published
            code has it and its gammas are tuned to) or summed over them ("sum").
        part: the part of a batch that these images are; by default that of the enclosing
            :func:`part_of_batch`, if there is one.

    Returns:
        Scalar batch mean, float32 (float64 for float64 logits).

    Raises:
        ArgumentError: shapes differ, or the target has another integer dtype.
    """
    check_images(logits, target)
    check_channel_reduction(channel_reduction)
    part = part or enclosing_part()
    images = part.images if part else None
    if use_triton(logits, target=target):
        from fastjvae.functional.backends.triton import reconstruction

        divisor = reference.divisor(logits, channel_reduction, images)
        share = reconstruction.bernoulli_reconstruction(logits, target, divisor)
    else:
        share = reference.bernoulli_reconstruction(logits, target, channel_reduction, images)
    return whole_reconstruction(part, share) if part else share
