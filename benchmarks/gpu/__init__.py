"""Everything worth doing in minutes on a machine with a GPU: ``python -m benchmarks.gpu``."""
