"""A training run's batches: images on the device, images on disk, or a DataLoader's.

The seed and the step's number alone decide which images a step gets. A resumed run finds its place
by asking for it, and several processes can each take a part of the same batch.
"""

from fastjvae.data.batches.base import Batches
from fastjvae.data.batches.images import ResidentBatches, StreamedBatches, batches_of
from fastjvae.data.batches.loader import LoaderBatches

__all__ = ["Batches", "LoaderBatches", "ResidentBatches", "StreamedBatches", "batches_of"]
