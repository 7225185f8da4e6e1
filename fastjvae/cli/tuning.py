"""One process of a study: trains the seeds of setting after setting, and says what is best."""

import dataclasses
import operator
import shlex
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from fastjvae.cli.training_runs import compared_seeds, evaluation_images
from fastjvae.cli.tune_flags import SEEDS, TRIALS, TuneFlags
from fastjvae.data import load as load_data
from fastjvae.errors import ArgumentError, RunError
from fastjvae.files import write_json
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.seeds import parse_seeds, seed_configs
from fastjvae.training.settings.fields import flag
from fastjvae.training.settings.recipes import RECIPES
from fastjvae.training.settings.run import RUN_SETTINGS
from fastjvae.training.tuning.goals import goal_of
from fastjvae.training.tuning.ladder import LADDER, chosen_rung, paper_nats, rungs, shortened
from fastjvae.training.tuning.search import suggested, words_of
from fastjvae.training.tuning.trials import Tried, TuningStopped

_LENGTH = {"steps", "epochs"}  # of a run, which is a part of what is compared
_OF_TUNING = ("search", "trials", "by", "storage", "seeds", "jobs", "out")


class Tuning:
    """A search or a ladder, from its images to what is said at the end."""

    def __init__(self, flags: TuneFlags, paths: Mapping[str, Any]) -> None:
        from fastjvae.training.tuning.study import Study

        self._flags, self._paths = flags, paths
        self._given = {
            name: (flags.chosen or {}).get(name, operator.attrgetter(name)(flags))
            for name in flags.given or ()
            if name not in _OF_TUNING
        }
        self._goal = goal_of(flags.by)
        self._seeds = parse_seeds(flags.seeds or SEEDS)
        self._data = load_data(dataclasses.replace(flags.config(), **paths).source())
        self._fitted: Any = self._config(flags)
        self._held_out = evaluation_images(self._fitted, self._data)
        self._goal.check(self._held_out)
        self._searched = flags.searched or (rungs(self._fitted),)
        if self._searched[0].name in self._given:
            raise ArgumentError(
                f"tune without --search chooses {flag(self._searched[0].name)}: leave it out"
            )
        self.folder = Path(flags.out or f"runs/{flags.name}-tune")
        if RunFolder(self.folder).is_run():
            raise RunError(f"{self.folder} is a run folder; choose another one with --out")
        settings = {k: v for k, v in self._fitted.flat().items() if k not in RUN_SETTINGS - _LENGTH}
        del settings["seed"]
        self._study: Study = Study(
            self.folder,
            self._goal,
            {
                "by": self._goal.name,
                "seeds": list(self._seeds),
                "search": [str(each) for each in self._searched],
                **{name: _as_json(value) for name, value in settings.items()},
            },
            storage=flags.storage,
            pruning=bool(flags.search),
        )
        self._trials = (flags.trials or TRIALS) if flags.search else len(LADDER)

    def search(self) -> None:
        """Try settings until there are enough trials."""
        if not self._flags.search:
            (rung,) = self._searched
            self._study.enqueue(rung.name, list(rung.values or ()))
        print(
            f"{self._trials} settings, {len(self._seeds)} seeds each, by {self._goal.name}:"
            f" {', '.join(map(str, self._searched))}; in {self.folder}",
            flush=True,
        )
        self._study.run(self._trials, self._suggest, self._measure, self._say)

    def _suggest(self, trial: Any) -> dict[str, Any]:
        settings = suggested(self._searched, trial, self._fitted)
        print(f"trial {trial.number}: {' '.join(words_of(settings))}", flush=True)
        return settings

    def _measure(
        self, settings: dict[str, Any], folder: Path, report: Callable[[Sequence[float]], None]
    ) -> Sequence[float]:
        """Train the seeds of a setting, some at a time; see ``Measure`` of the study."""
        config = self._config(self._flags.choosing({**self._shorter, **settings}))
        at_once = len(self._seeds)
        if self._flags.search:  # a setting may be left after its first seeds; UDR takes two
            at_once = max(self._flags.jobs or 1, 2 if self._goal.name == "udr" else 1)
        scores: list[float] = []
        for end in range(at_once, len(self._seeds) + at_once, at_once):
            seeds = self._seeds[:end]
            with (folder / "trial.log").open("a", encoding="utf-8") as log, redirect_stdout(log):
                code, summary = compared_seeds(
                    config, seeds, folder, self._data, self._held_out, self._flags.jobs
                )
            if code > 128:
                raise TuningStopped(code)
            if code or summary is None:
                raise RunError(f"a seed failed, see {folder}")
            runs = [RunFolder(each.run_folder) for each in seed_configs(config, seeds, folder)]
            scores = self._goal.of_seeds(summary, runs)
            if len(seeds) < len(self._seeds):
                report(scores)
        return scores

    def _config(self, flags: TuneFlags) -> Any:
        """The settings of runs."""
        return dataclasses.replace(flags.fitted(self._data), **self._paths)

    @property
    def _shorter(self) -> dict[str, Any]:
        """What a run of the ladder has beside its capacity."""
        return {} if self._flags.search else shortened(self._fitted, list(self._given))

    # --- what is said -----------------------------------------------------------------------------

    def _say(self, tried: Tried) -> None:
        if tried.error is not None:
            print(f"trial {tried.number}: failed: {tried.error}", flush=True)
        elif tried.pruned:
            print(
                f"trial {tried.number}: left after {len(tried.scores)} seeds, {self._goal.name}"
                f" {_spread(tried.scores)}",
                flush=True,
            )
        elif tried.scores:
            best = self._study.best
            so_far = "" if best is None or best.number != tried.number else ", the best so far"
            print(
                f"trial {tried.number}: {self._goal.name} {_spread(tried.scores)}{so_far}",
                flush=True,
            )

    def conclude(self) -> None:
        """Print what is the best so far, and write the table and the figure of the study."""
        tried = self._study.tried
        best = self._study.best
        if best is None:
            print("no setting is finished")
            return
        chosen = best
        if not self._flags.search:
            chosen = self._on_ladder(tried)
        command = self._command(chosen)
        importances = self._study.importances() if self._flags.search else {}
        for name, share in sorted(importances.items(), key=lambda item: -item[1]):
            print(f"importance of {name}: {share:.2f}")
        print(
            f"{'best' if self._flags.search else 'chosen'}: trial {chosen.number} of"
            f" {len(tried)}, {self._goal.name} {_spread(chosen.scores)}, in"
            f" {self.folder / chosen.folder}"
        )
        print(command)
        if others := self._study.running:
            print(f"{others} more are being tried by other processes")
        write_json(
            self.folder / "study.json",
            {
                "by": self._goal.name,
                "data": self._held_out.name,
                "seeds": list(self._seeds),
                "steps": self._config(self._flags.choosing(self._shorter)).steps,
                "search": [str(each) for each in self._searched],
                "chosen": chosen.number,
                "command": command,
                "importances": importances,
                "trials": [
                    {**dataclasses.asdict(each), "score": each.score if each.scores else None}
                    for each in tried
                ],
            },
        )
        self._draw(tried, chosen, importances)
        print(f"runs, study.json and study.png: {self.folder}")

    def _on_ladder(self, tried: Sequence[Tried]) -> Tried:
        """The rung that is chosen, and a table of all."""
        (rung,) = self._searched
        whole = {float(each.settings[rung.name]): each for each in tried if each.error is None}
        scores = {nats: each.scores for nats, each in whole.items()}
        chosen = chosen_rung(scores, self._goal.lower_is_better)
        print(f"  C_z [nats]  {self._goal.name}, mean and spread of {len(self._seeds)} seeds")
        for nats in sorted(whole):
            mark = "  chosen" if nats == chosen else ""
            print(f"  {nats:10g}  {_spread(scores[nats])}{mark}")
        if (paper := paper_nats(RECIPES[self._flags.dataset])) is not None:
            print(f"  the paper's C_z: {paper:g} nats")
        return whole[chosen]

    def _command(self, tried: Tried) -> str:
        """The command that trains the seeds of a setting, at the length that was asked for."""
        settings = {**self._given, **tried.settings}
        words = ["fastjvae", "train", self._flags.dataset, *words_of(settings)]
        return shlex.join([*words, "--seeds", self._flags.seeds or SEEDS])

    def _draw(self, tried: Sequence[Tried], chosen: Tried, importances: dict[str, float]) -> None:
        from fastjvae.figures.saving import save
        from fastjvae.figures.study import StudyRow, study

        rows = [
            StudyRow(each.settings, each.scores, each.pruned, each.number == chosen.number)
            for each in tried
            if each.scores
        ]
        scales = {each.name: each.log or not self._flags.search for each in self._searched}
        figure = study(rows, scales, by=self._goal.name, importances=importances)
        save(figure, self.folder / "study.png")


def _as_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return list(value) if isinstance(value, tuple) else value


def _spread(scores: Sequence[float]) -> str:
    mean = f"{statistics.fmean(scores):.4f}"
    return mean if len(scores) < 2 else f"{mean} ± {statistics.stdev(scores):.4f}"
