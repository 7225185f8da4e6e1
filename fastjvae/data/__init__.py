"""Every source of images as one object: uint8 pictures in memory, with labels and factors."""

from fastjvae.data.facts import DATASETS, SPLIT_DATASETS, DatasetName
from fastjvae.data.loading import load
from fastjvae.data.source import DataSource, ImageData

__all__ = ["DATASETS", "SPLIT_DATASETS", "DataSource", "DatasetName", "ImageData", "load"]
