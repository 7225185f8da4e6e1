"""Stand-ins for names of the library, and the list of its Triton kernels.

What is measured without a GPU replaces kernels by objects that record their launches. The names are
looked up in every module of a package, so a kernel or a function may move between its modules.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType
from typing import Any
from unittest.mock import patch

KERNELS = "fastjvae_kernels"  # the package whose modules hold them


@contextmanager
def replaced(package: str, **values: Any) -> Iterator[None]:
    """Inside, each name has its value in every module of ``package`` that knows it.

    Raises:
        LookupError: no module knows one of the names.
    """
    with ExitStack() as stack:
        for name, value in values.items():
            known = [module for module in _modules(package) if name in vars(module)]
            if not known:
                raise LookupError(f"no module of {package} has {name}")
            for module in known:
                stack.enter_context(patch.object(module, name, value))
        yield


def kernels() -> dict[str, Any]:
    """Every Triton kernel by its name, which ends in ``_kernel``."""
    return {
        name: value
        for module in _modules(KERNELS)
        for name, value in sorted(vars(module).items())
        if name.endswith("_kernel")
    }


@cache
def _modules(package: str) -> list[ModuleType]:
    """A package and the modules in it, imported."""
    root = import_module(package)
    names = (found.name for found in walk_packages(root.__path__, f"{package}."))
    return [root, *map(import_module, names)]
