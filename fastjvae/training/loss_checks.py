"""Ends a run whose losses or parameters cannot be right, before any of them is saved."""

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from fastjvae.errors import DataError, NonFiniteLossError
from fastjvae.model import JointVAE
from fastjvae.model.checkpoint import find_checkpoint
from fastjvae.objectives.base import call_if_offered
from fastjvae.training.recorder import Recorder
from fastjvae.training.run_folder import RunFolder


def read_checked(
    recorder: Recorder, model: JointVAE, objective: Any, step: int, run: RunFolder | None
) -> Tensor:
    """The losses of the last steps, once they and the parameters they led to can be right.

    Losses and the parameters' norms come from the device in one copy.

    Args:
        recorder: has the rows of the steps up to ``step``.
        model, objective: checked too; an objective may offer ``named_parameters()``.
        run: the error names its last checkpoint; None where none is kept.

    Returns:
        (steps, columns), oldest first, on the CPU.

    Raises:
        NonFiniteLossError: a number or a parameter is not finite.
        DataError: a reconstruction is below 0.
    """
    own: Any = call_if_offered(objective, "named_parameters") or ()
    parameters = {name: p.detach() for name, p in (*model.named_parameters(), *own)}
    norms = torch._foreach_norm(list(parameters.values()))
    rows, read = recorder.read_with(norms)
    names, first = recorder.names, step - len(rows) + 1
    if len(bad := (~rows.isfinite()).any(dim=1).nonzero()):
        row = int(bad[0])
        finite = rows[row].isfinite().tolist()
        wrong = [name for name, ok in zip(names, finite, strict=True) if not ok]
        _fail(f"the loss is not finite at step {first + row}: {_first_of(wrong)}", run)
    # A norm also overflows where the numbers are large, which is no error.
    suspects = [name for name, norm in zip(parameters, read, strict=True) if not norm.isfinite()]
    if wrong := [name for name in suspects if not parameters[name].isfinite().all()]:
        _fail(f"parameters are not finite after step {step}: {_first_of(wrong)}", run)
    # A density may be above 1.
    if len(rows) and "reconstruction" in names and model.gaussian is None:
        reconstruction = rows[:, names.index("reconstruction")]
        if len(below := (reconstruction < 0).nonzero()):
            row = int(below[0])
            raise DataError(
                f"the reconstruction at step {first + row} is {float(reconstruction[row]):.4g}"
                f" nats, which no image between 0 and 1 can have: divide 0..255 by 255 or give"
                f" uint8 images, and do not normalise"
            )
    return rows


def _fail(reason: str, run: RunFolder | None) -> NoReturn:
    last = None if run is None else find_checkpoint(run.path)
    hint = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
    raise NonFiniteLossError(f"{reason}; {hint}")


def _first_of(names: Sequence[str], most: int = 3) -> str:
    """A few names, and how many there are beside them.

    >>> _first_of(["loss", "kl_cont[0]", "kl_cont[1]", "kl_cont[2]", "kl_cont[3]"])
    'loss, kl_cont[0], kl_cont[1] and 2 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
