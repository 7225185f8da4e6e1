"""Every source of images as one object: uint8 pictures in memory, with labels and factors."""

from fastjvae.data.loading import load
from fastjvae.data.source import DATASETS, DataSource, ImageData

__all__ = ["DATASETS", "DataSource", "ImageData", "load"]
