"""Metrics of learned representations: arrays in, or a model and a data set; numbers out."""

from fastjvae.metrics.beta_vae import beta_vae_score
from fastjvae.metrics.clusters import cluster_accuracy
from fastjvae.metrics.dci import DCI, dci
from fastjvae.metrics.effect import Effects, effect_on_images, effect_on_samples
from fastjvae.metrics.factor_vae import factor_vae_score
from fastjvae.metrics.mig import mutual_information_gap
from fastjvae.metrics.sap import sap_score
from fastjvae.metrics.scores import disentanglement_scores, score_model
from fastjvae.metrics.udr import udr
from fastjvae.model.encoding import encode

__all__ = [
    "DCI",
    "Effects",
    "beta_vae_score",
    "cluster_accuracy",
    "dci",
    "disentanglement_scores",
    "effect_on_images",
    "effect_on_samples",
    "encode",
    "factor_vae_score",
    "mutual_information_gap",
    "sap_score",
    "score_model",
    "udr",
]
