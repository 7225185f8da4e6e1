"""The backends of the operations: PyTorch reference, CPU, Triton, and the choice of one."""
