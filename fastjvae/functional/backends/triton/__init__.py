"""The Triton kernels as differentiable operations; imported only where they run."""
