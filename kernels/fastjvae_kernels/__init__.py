"""Triton kernels of fastjvae and their launchers: tensors in, tensors out.

This package imports nothing but torch and triton, holds no autograd and no ``nn.Module``.
The operations' mathematics and their plain PyTorch form live in
:mod:`fastjvae.functional.backends.reference`.
"""
