"""Measurements of single operations and their kernels."""
