"""The precision of a run: TF32, a switch of the whole process, and autocast."""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch

from fastjvae.errors import ArgumentError
from fastjvae.training.settings.run import Precision


class TF32(NamedTuple):
    """The operations of a GPU that round float32 to 10 bits of mantissa."""

    matmul: bool  # matrix products
    cudnn: bool  # convolutions


def tf32() -> TF32:
    """The operations that are allowed TF32 now."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # versions between 2.9 and 2.14 call the switches old
        return TF32(torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)


def allow_tf32(where: TF32) -> None:
    """Allow TF32 in these operations and in no others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.backends.cuda.matmul.allow_tf32 = where.matmul
        torch.backends.cudnn.allow_tf32 = where.cudnn


def set_precision(
    precision: Precision, device: torch.device, say: Callable[[str], None]
) -> Precision:
    """Set the process' switches for TF32 as a run on ``device`` asks; the precision that it gets.

    Args:
        precision: what is asked for.
        device: of the run.
        say: tells the user in a sentence that the CPU has no bfloat16 and fp32 runs.

    Raises:
        ArgumentError: TF32 on a device that has none.
    """
    wanted = precision == "tf32"
    if device.type == "cuda":
        allow_tf32(TF32(wanted, wanted))
    elif wanted:
        raise ArgumentError(f"--precision tf32 needs a GPU, this run is on {device}")
    if precision == "bf16" and device.type == "cpu" and not cpu_has_bfloat16():
        say("this CPU has neither AVX512-BF16 nor AMX: instead of --precision bf16 fp32 runs")
        return "fp32"
    return precision


def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 itself; PyTorch emulates it elsewhere, slowly."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # of PyTorch 2.8 to 2.14
    in_use = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return in_use and any(getattr(torch.cpu, name, lambda: False)() for name in names)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """The context that the networks of a run compute in."""
    if precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()
