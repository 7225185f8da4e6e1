"""``python -m benchmarks.experiments``; see :mod:`benchmarks.experiments.driver`."""

from benchmarks.experiments.driver import main

if __name__ == "__main__":
    raise SystemExit(main())
