"""Metrics of learned representations: arrays in, Python numbers out."""

from fastjvae.metrics.clusters import cluster_accuracy

__all__ = ["cluster_accuracy"]
