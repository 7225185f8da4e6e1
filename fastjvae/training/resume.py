"""The state of a training run as its checkpoint keeps it, and a run that goes on from one.

The file itself is written and read by :mod:`fastjvae.model.checkpoint`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastjvae._numbers import shown
from fastjvae.data.batches.order import epoch_seed
from fastjvae.errors import CheckpointError
from fastjvae.model import pretrained
from fastjvae.objectives.base import call_if_offered
from fastjvae.training.settings.difference import difference
from fastjvae.training.settings.run import RUN_SETTINGS, RunConfig
from fastjvae.training.settings.saved import config_from_dict
from fastjvae.training.trained import Trained

_MOMENTS = {"step", "exp_avg", "exp_avg_sq"}  # of Adam, for each parameter that has had a step


def training_state(
    trained: Trained, config: RunConfig, data: dict[str, Any], step: int
) -> dict[str, Any]:
    """The content of a checkpoint; ``data`` has the number of the images and their digest."""
    on_gpu = trained.noise.device.type == "cuda"
    state = {
        "config": config.to_dict(),
        "model_config": pretrained.model_config(trained.model),
        "data": data,
        "step": step,
        "model": trained.model.state_dict(),
        "optimizer": trained.optimizer.state_dict(),
        "rng": {
            "noise": trained.noise.get_state(),
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if on_gpu else [],
        },
        "metrics": trained.recorder.read(),
    }
    if (own := call_if_offered(trained.objective, "state_dict")) is not None:
        state["objective"] = own
    return state


def restore(
    trained: Trained,
    state: dict[str, Any],
    path: Path,
    config: RunConfig,
    data: dict[str, Any],
    *,
    phase_step: int,
) -> None:
    """Take up the state of a checkpoint.

    Args:
        trained: what takes it up.
        state: what ``path`` holds.
        path: of the checkpoint, for messages.
        config, data: as for :func:`training_state`.
        phase_step: steps of ``trained``'s phase that the state has taken. At 0 the state is that
            of the phase before, of which the model and the random numbers alone go on.

    Raises:
        CheckpointError: the checkpoint is of another model, another run or other data.
    """
    ours = pretrained.model_config(trained.model)
    if not pretrained.is_same_model(state["model_config"], ours):
        raise CheckpointError(
            f"{path} is of another model: {state['model_config']}, this run has {ours}"
        )
    of_run = f"in {path.with_name('config.json')}"
    if found := difference(config, config_from_dict(state["config"]), of_run, RUN_SETTINGS):
        raise CheckpointError(f"{path} is of another run: {found}")
    if state["data"]["sha256"] != data["sha256"]:
        raise CheckpointError(
            f"{path} was trained on other images ({state['data']['images']:,} of them then,"
            f" {data['images']:,} of other content now); resume with the data that the run began"
            f" with"
        )
    if state["data"].get("labels") != data.get("labels"):
        raise CheckpointError(
            f"{path} was trained with other labels; resume with those that the run began with"
        )
    trained.model.load_state_dict(state["model"])
    _restore_generators(trained.noise, state["rng"], epoch_seed(config.seed, state["step"]))
    if phase_step == 0 < state["step"]:
        return
    restore_optimizer(trained.optimizer, state["optimizer"])
    if "objective" in state:
        call_if_offered(trained.objective, "load_state_dict", state["objective"])
    trained.count_from(phase_step)
    trained.recorder.restore(state["metrics"], trained.noise.device)


def _restore_generators(noise: torch.Generator, rng: dict[str, Any], seed: int) -> None:
    """Go on with the same random numbers, or with those of a seed after a change of device."""
    torch.set_rng_state(rng["cpu"])
    was_cuda, is_cuda = bool(rng["cuda"]), noise.device.type == "cuda"
    if was_cuda == is_cuda:
        noise.set_state(rng["noise"])
    else:  # the states of a CPU's and of a GPU's generator have nothing in common
        noise.manual_seed(seed)
    if is_cuda and was_cuda:
        # One state for each GPU that there was, of which there may be fewer now.
        for index, state in enumerate(rng["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state, index)
    elif is_cuda:
        torch.cuda.manual_seed_all(seed)


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Take up Adam's moments; its settings stay those of the run, and of its device.

    Raises:
        ValueError, KeyError, ...: it is the state of another optimizer; see
            :func:`fastjvae.model.checkpoint.taking_up`.
    """
    settings = [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]
    groups = [
        {**theirs, **ours} for theirs, ours in zip(state["param_groups"], settings, strict=True)
    ]
    optimizer.load_state_dict({**state, "param_groups": groups})
    for group, before in zip(optimizer.param_groups, settings, strict=True):
        group.update(before)
        for parameter in group["params"]:
            moments = optimizer.state.get(parameter, {})
            if moments and moments.keys() != _MOMENTS:
                raise ValueError(f"Adam has {sorted(_MOMENTS)}, got {sorted(moments)}")
            for name, value in moments.items():
                _check_moment(name, value, parameter)
                if name != "step" and value.stride() != parameter.stride():
                    moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _check_moment(name: str, value: Any, parameter: Tensor) -> None:
    """A kernel that updates all parameters at once does not look at shapes itself."""
    shape = () if name == "step" else tuple(parameter.shape)
    if (
        not isinstance(value, Tensor)
        or tuple(value.shape) != shape
        or not value.is_floating_point()
    ):
        raise ValueError(
            f"the optimizer's {name} must be floating numbers of shape {shape}, got {shown(value)}"
        )
