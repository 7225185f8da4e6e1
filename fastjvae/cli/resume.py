"""``fastjvae train --resume``: go on with a run."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from fastjvae.cli.command import LoadsModel
from fastjvae.cli.training_runs import train_run
from fastjvae.errors import ArgumentError
from fastjvae.model.networks import checked_img_size
from fastjvae.model.own_networks import NETWORKS, own_networks
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.own_networks import named_networks
from fastjvae.training.settings.run import RunConfig


class Resume(LoadsModel):
    """Go on with a training run as if it had never stopped."""

    resume: Annotated[str, arg(metavar="RUN")]
    """the run folder"""
    steps: int | None = None
    """train to this many steps instead of to where the run was to end; a last phase takes them"""
    data_root: str | None = None
    """where the data lie now, if they were moved"""
    device: str | None = None
    """cpu, cuda, ...; by default the run's own choice"""
    timeout: float | None = None
    """several processes: seconds to wait for one that does not answer"""

    def run(self) -> int:
        run = RunFolder(self.resume)
        changed = ("steps", "data_root", "device", "timeout")
        given = {name: v for name in changed if (v := getattr(self, name)) is not None}
        if "data_root" in given:
            given["data_root"] = str(Path(given["data_root"]).absolute())
        before = run.read_config()
        if (own := run.own_data()) is not None:
            raise ArgumentError(
                f"{run} was trained on images that were given in Python ({own}): go on there, by"
                f" Trainer(config, data, run, resuming=True), or fastjvae.fit as before with more"
                f" steps"
            )
        if "timeout" in given and not hasattr(before, "timeout"):
            raise ArgumentError("--timeout is for several processes, and InfoGAN trains in one")
        steps = given.pop("steps", None)
        config = dataclasses.replace(before, **given)
        config = config if steps is None else config.ending_at(steps)
        return train_run(config, run, resuming=True, networks=self._own_networks(run, config))

    def _own_networks(self, run: RunFolder, config: RunConfig) -> dict[str, Any]:
        """The run's own networks that its settings do not name, made of the flags.

        Raises:
            ArgumentError: the flags do not say that what the run names may be imported.
        """
        saved = run.entry("model")
        named = named_networks(config)
        for which in NETWORKS:
            if which in named:
                saved[which] = {"import": named[which], "args": named[f"{which}_args"]}
        made = self.networks.for_model(saved, run.config_file)
        unnamed = {k: v for k, v in made.items() if "object" in saved[k.removesuffix("_args")]}
        if not unnamed:
            return {}
        sizes = checked_img_size(saved.get("img_size", ()))
        objects = own_networks(sizes, config.spec, **unnamed)
        return {which: getattr(objects, which) for which in objects.entries}
