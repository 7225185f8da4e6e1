"""The choice of a backend, and what is said where one cannot run."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

import fastjvae
from fastjvae import functional
from fastjvae.errors import ArgumentError, BackendError
from fastjvae.functional.backends import choice


def test_asking_for_triton_where_it_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fastjvae.functional.backends.choice.interpreted", lambda: False)
    logits = torch.randn(2, 3)
    with fastjvae.backend("triton"), pytest.raises(BackendError, match="this one is on cpu"):
        functional.kl_categorical(logits)
    functional.kl_categorical(logits)  # the choice ends with the block


class OnGPU:
    """What the choice of a backend looks at."""

    device, dtype = torch.device("cuda", 0), torch.float32


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """A machine with a GPU; the devices on which the small launch is tried."""
    found: list[torch.device] = []
    monkeypatch.setattr(choice, "_launch_failures", {})
    monkeypatch.setattr(choice, "_try_a_launch", found.append)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    return found


def test_a_gpu_is_tried_once(launched: list[torch.device]):
    assert all(choice.use_triton(OnGPU()) for _ in range(3))  # type: ignore[arg-type]
    assert launched == [OnGPU.device]


def test_where_triton_fails_the_reference_runs_with_one_line(
    launched: list[torch.device], monkeypatch: pytest.MonkeyPatch
):
    reason = "Failed to find C compiler. Please specify via CC environment variable"

    def fails(*_: Any) -> None:
        raise RuntimeError(f"{reason}\nand more")

    monkeypatch.undo()
    monkeypatch.setattr(choice, "_launch_failures", {})
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr("fastjvae_kernels.column_sums.column_sums", fails)
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: None)
    with pytest.warns(UserWarning, match=reason) as warned:
        assert not any(choice.use_triton(OnGPU()) for _ in range(3))  # type: ignore[arg-type]
    assert [str(warning.message) for warning in warned] == [
        f"the reference takes the place of the Triton kernels, which fail on cuda:0: {reason}"
    ]
    text = warnings.formatwarning(
        warned[0].message, warned[0].category, warned[0].filename, warned[0].lineno
    )
    assert text.count("\n") == 1
    with fastjvae.backend("triton"), pytest.raises(BackendError, match=f"cuda:0: {reason}"):
        choice.use_triton(OnGPU())  # type: ignore[arg-type]


def test_backend_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fastjvae.functional.backends.choice.interpreted", lambda: False)
    monkeypatch.setenv("FASTJVAE_BACKEND", "triton")
    with pytest.raises(BackendError):
        functional.kl_categorical(torch.randn(2, 3))
    for name in ("reference", "cpu"):  # the context manager is the nearer wish
        with fastjvae.backend(name):
            functional.kl_categorical(torch.randn(2, 3))
    monkeypatch.setenv("FASTJVAE_BACKEND", "cuda")
    with pytest.raises(ArgumentError, match=r"FASTJVAE_BACKEND must be .* got 'cuda'"):
        functional.kl_categorical(torch.randn(2, 3))


def test_the_cpu_backend_takes_tensors_of_a_cpu():
    with fastjvae.backend("cpu"), pytest.raises(BackendError, match=r"CPU tensors .* on meta"):
        functional.kl_categorical(torch.empty(2, 3, device="meta"))


def test_unknown_backend():
    with pytest.raises(ArgumentError, match="got 'numpy'"), fastjvae.backend("numpy"):  # type: ignore[arg-type]
        pass
