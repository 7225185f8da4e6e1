"""``fastjvae tune``: a search for settings, or a ladder for the capacity of the units."""

import dataclasses
import os
from collections.abc import Collection
from importlib.util import find_spec
from typing import Any

from typing_extensions import Self

from fastjvae.cli.train import Train
from fastjvae.cli.tune_flags import SEEDS, TuneFlags
from fastjvae.cli.tuning import Tuning
from fastjvae.data import DatasetName
from fastjvae.errors import ArgumentError
from fastjvae.training.tuning.trials import TuningStopped


class Tune(Train):
    """Search settings with Optuna, or choose the capacity of the units, by models of a few seeds.

    To search: fastjvae tune DATASET --search cont_capacity.hi=5..50:log lr=1e-4..2e-3:log

    To choose the capacity C_z: fastjvae tune DATASET

    The same command again goes on, and joins from any other process or machine.
    """

    @classmethod
    def flags(cls) -> type:
        return TuneFlags

    @classmethod
    def defaults(cls, dataset: DatasetName, recipe_name: str | None, is_named: bool) -> Any:
        flags = super().defaults(dataset, recipe_name, is_named)
        return dataclasses.replace(flags, seeds=SEEDS, figures=False)

    def settled(self, given: Collection[str]) -> Self:
        if "--seed" in given:
            raise ArgumentError(
                "tune trains several seeds of each setting: give --seeds instead of --seed"
            )
        flags = [word for word in given if word.startswith("--")]  # lr=1e-4..2e-3 is a value
        return super().settled(flags)

    def run(self) -> int:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ArgumentError(
                "tune is one process without torchrun; start the same command again for another one"
            )
        if find_spec("optuna") is None:
            raise ArgumentError("tune needs the extra: pip install 'fastjvae[tune]'")
        tuning = Tuning(self.config, self.paths())
        code = 0
        try:
            tuning.search()
        except TuningStopped as stop:
            code = stop.code
        tuning.conclude()
        if code:
            print("stopped; go on with the same command again")
        return code
