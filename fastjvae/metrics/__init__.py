"""Metrics of learned representations: arrays in, numbers out."""

from fastjvae.metrics.clusters import cluster_accuracy
from fastjvae.metrics.udr import udr

__all__ = ["cluster_accuracy", "udr"]
