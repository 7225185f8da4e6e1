"""Experiments over seeds: ``docs/results.md`` and everything that it is made from."""
