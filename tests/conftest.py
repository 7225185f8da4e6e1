"""Where optional real data lie, and settings that keep the tests repeatable."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from examples import examples
from hypothesis import settings

from benchmarks import stand_ins

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

# Without a GPU the Triton kernels run in Triton's interpreter, on CPU tensors.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
else:  # what is compared to the last digits is computed in float32, the same way every time
    from fastjvae.training.device import TF32, allow_tf32

    allow_tf32(TF32(matmul=False, cudnn=False))
    torch.backends.cudnn.deterministic = True

settings.register_profile("default", deadline=None, max_examples=examples(50, least=10))
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


# Small tensors gain nothing from threads, and threads that wait for each other on a busy machine
# make a test a hundred times slower. The variable is for the processes that tests start.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _private_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["FASTJVAE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def published_folder() -> Path:
    """Models of the published code: {mnist,chairs,celeba}/{model.pt,specs.json,expected.npz}."""
    return _optional("FASTJVAE_PUBLISHED_DIR", SHARED / "published", "published models")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """MNIST and FashionMNIST in torchvision's layout."""
    return _optional("FASTJVAE_DATA", SHARED / "data", "real data")


def _optional(variable: str, default: Path, what: str) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"no {what} in {folder}; set {variable} to a folder that has them")
    return folder


# --- kernels --------------------------------------------------------------------------------------


class _Counted:
    """A kernel that counts its launches; what the interpreter does inside is not the library's."""

    def __init__(self, kernel: Any, launches: Counter[str]) -> None:
        self.kernel, self.launches = kernel, launches

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def run(*args: Any, **options: Any) -> None:
            self.launches[self.kernel.fn.__name__.removesuffix("_kernel")] += 1
            with torch.utils._python_dispatch._disable_current_modes():
                self.kernel[grid](*args, **options)

        return run


@pytest.fixture
def launches() -> Iterator[Counter[str]]:
    """How often each kernel is launched."""
    counts: Counter[str] = Counter()
    counted = {name: _Counted(kernel, counts) for name, kernel in stand_ins.kernels().items()}
    with stand_ins.replaced(stand_ins.KERNELS, **counted):
        yield counts


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    """Nothing compiled before; compilers warn of much that is not the library's."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:  # a fixture's own filters do not reach the test
        if "fresh_compiler" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.filterwarnings("ignore"))
