"""Measurements of a training step, and of training with its loading and log."""
