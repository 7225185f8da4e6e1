"""Imports that the contracts in pyproject.toml cannot express; `make lint` checks the others."""

from __future__ import annotations

import sys
from graphlib import TopologicalSorter

import pytest

grimp = pytest.importorskip("grimp", reason="needs the dev extra's import-linter")


def test_no_file_imports_itself_through_others():
    """A package's ``__init__`` counts as a file, which the contract on siblings leaves out."""
    graph = grimp.build_graph("fastjvae", "fastjvae_kernels", cache_dir=None)
    imported = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    TopologicalSorter(imported).prepare()  # raises CycleError, which names a circle


def test_kernels_import_only_torch_and_triton():
    graph = grimp.build_graph("fastjvae_kernels", include_external_packages=True, cache_dir=None)
    packages = {name.partition(".")[0] for name in graph.modules}
    assert packages - sys.stdlib_module_names == {"fastjvae_kernels", "torch", "triton"}
