"""A study of Optuna's: it stores the trials, draws the settings to try, and says which to leave.

Any number of processes on any number of machines take part in one study. A trial that a signal
stopped, or whose process is gone, is tried again in the same folder, where its runs go on.

Importing this module imports optuna; only the command that needs it does.
"""

import math
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, Trial, TrialState

from fastjvae._system import is_windows
from fastjvae.errors import ArgumentError, FastJVAEError, RunError, first_sentence
from fastjvae.files import cannot_write
from fastjvae.training.tuning.goals import Goal
from fastjvae.training.tuning.trials import Measure, Tried, TuningStopped

JOURNAL = "study.journal"
_HEARTBEAT_S = 60  # of a trial whose study is in a database
_LEAVING_S = 60  # which a process that was stopped may take to leave a trial for another one
_STARTUP = 10  # trials at random before the search begins
_UNPRUNED = 5  # trials before any is left early


class _TrialFailed(Exception):  # noqa: N818  Optuna's study goes on
    """The settings of a trial cannot be trained; its user attribute says why."""


class _NotNeeded(Exception):  # noqa: N818
    """There are as many trials as were asked for."""


class Study:
    """A study in a folder.

    Args:
        folder: of the study and of the runs.
        goal: what settings are compared by.
        about: what all processes of a study have in common, as JSON has it.
        storage: a database's URL; by default the journal in the folder.
        seed: of the draws. What a trial draws depends on it, on the trial's number and on the
            trials that have ended.
        pruning: whether a trial may be left before all its seeds are trained.

    Raises:
        ArgumentError: the storage cannot be used.
        RunError: the study there is another one, or the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        goal: Goal,
        about: Mapping[str, Any],
        *,
        storage: str | None = None,
        seed: int = 0,
        pruning: bool = True,
    ) -> None:
        self.folder, self.goal = folder, goal
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        pruner = optuna.pruners.MedianPruner(_UNPRUNED) if pruning else optuna.pruners.NopPruner()
        with _quiet():
            try:
                self._study = optuna.create_study(
                    storage=_storage(storage, folder),
                    study_name=folder.resolve().name,
                    direction="minimize" if goal.lower_is_better else "maximize",
                    sampler=_SeededSampler(seed),
                    pruner=pruner,
                    load_if_exists=True,
                )
            except Exception as error:  # of the database's driver, which there are many of
                where = storage or folder / JOURNAL
                raise ArgumentError(
                    f"--storage {where} cannot be used: {first_sentence(error)}"
                ) from error
        self._check_about(about)

    def _check_about(self, about: Mapping[str, Any]) -> None:
        before = self._study.user_attrs.get("about")
        if before is None:
            self._study.set_user_attr("about", dict(about))
            return
        names = [*about, *(name for name in before if name not in about)]
        for name in names:
            if before.get(name) != about.get(name):
                raise RunError(
                    f"{self.folder} holds another study ({name} is {before.get(name)!r} there,"
                    f" {about.get(name)!r} here); choose another folder with --out"
                )

    def enqueue(self, setting: str, values: Sequence[str]) -> None:
        """Let these values of one setting be tried, in this order, each once."""
        with _quiet():
            for value in values:
                self._study.enqueue_trial({setting: value}, skip_if_exists=True)

    def run(
        self,
        trials: int,
        suggest: Callable[[Trial], dict[str, Any]],
        measure: Measure,
        say: Callable[[Tried], None],
    ) -> None:
        """Try settings until there are so many trials, those of other processes among them.

        Args:
            trials: of the study.
            suggest: draws the settings of a trial.
            measure: see :data:`Measure`.
            say: gets each trial of this process as it ends.

        Raises:
            TuningStopped: a signal stopped it.
        """
        with _quiet():
            while True:
                self._free_lost()
                if self._taken() >= trials:
                    return
                # Its folder is held until the study knows how it has ended.
                with ExitStack() as held:
                    self._study.optimize(
                        partial(self._try, trials, suggest, measure, held.enter_context),
                        n_trials=1,
                        catch=(_TrialFailed, _NotNeeded),
                        callbacks=[lambda _, trial: say(self._tried(trial))],
                    )

    @property
    def tried(self) -> list[Tried]:
        """The trials that have ended, by number; without those that were stopped."""
        return [self._tried(trial) for trial in self._study.trials if _has_ended(trial)]

    @property
    def running(self) -> int:
        """Trials that other processes are at."""
        return len(self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))

    @property
    def best(self) -> Tried | None:
        """The best trial of which all seeds were trained."""
        whole = [each for each in self.tried if not each.pruned and each.error is None]
        sign = -1 if self.goal.lower_is_better else 1
        return max(whole, key=lambda each: sign * each.score, default=None)

    def importances(self) -> dict[str, float]:
        """The share of each setting in the differences between trials; empty of too few of them."""
        with _quiet():
            warnings.simplefilter("error", UserWarning)  # which says that they are too few
            try:
                return optuna.importance.get_param_importances(self._study)
            except (ValueError, RuntimeError, UserWarning):
                return {}

    # --- a trial ----------------------------------------------------------------------------------

    def _try(
        self,
        trials: int,
        suggest: Callable[[Trial], dict[str, Any]],
        measure: Measure,
        enter: Callable[[AbstractContextManager[None]], None],
        trial: Trial,
    ) -> float:
        """Train a trial in its folder, which is held in the context that ``enter`` enters."""
        if self._taken(before=trial.number) >= trials:  # by processes that began others meanwhile
            raise _NotNeeded
        name = trial.user_attrs.get("goes_on", f"trial{trial.number:04d}")
        path = self.folder / name
        settings = suggest(trial)
        enter(_held(path))
        trial.set_user_attr("folder", name)
        trial.set_user_attr("settings", settings)
        try:
            scores = measure(settings, path, lambda scores: self._report(trial, scores))
        except (TuningStopped, KeyboardInterrupt):
            self._again(trial.params, name)
            raise
        except FastJVAEError as error:
            trial.set_user_attr("error", str(error))
            raise _TrialFailed from error
        trial.set_user_attr("scores", list(scores))
        return statistics.fmean(scores)

    def _report(self, trial: Trial, scores: Sequence[float]) -> None:
        """Say what the first seeds have given; ends the trial if that is below the median."""
        trial.set_user_attr("scores", list(scores))
        trial.report(statistics.fmean(scores), len(scores))
        if trial.should_prune():
            raise optuna.TrialPruned

    def _again(self, params: Mapping[str, Any], folder: str) -> None:
        """Let settings be tried again where their runs lie, before any others."""
        self._study.enqueue_trial(dict(params), user_attrs={"goes_on": folder})

    def _free_lost(self) -> None:
        """Give up the trials whose processes are gone, and let them be tried again, once."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            name = trial.user_attrs.get("folder")
            if name is None or not (self.folder / name).is_dir() or _is_held(self.folder / name):
                continue
            with suppress(ValueError, RuntimeError):  # another process was first
                self._study.tell(trial.number, state=TrialState.FAIL)
                if "goes_on" not in trial.user_attrs:  # else it may be what ends its process
                    self._again(trial.params, name)

    def _taken(self, before: float = math.inf) -> int:
        """Trials below a number that have ended, or that a process is at."""
        return sum(
            trial.number < before and (trial.state == TrialState.RUNNING or _has_ended(trial))
            for trial in self._study.get_trials(deepcopy=False)
        )

    def _tried(self, trial: FrozenTrial) -> Tried:
        attributes = trial.user_attrs
        return Tried(
            trial.number,
            attributes.get("folder", ""),
            {name: _hashable(value) for name, value in attributes.get("settings", {}).items()},
            tuple(attributes.get("scores", ())),
            trial.state == TrialState.PRUNED,
            attributes.get("error"),
        )


class _SeededSampler(optuna.samplers.BaseSampler):
    """Optuna's TPE, whose draws for a trial depend on the trial's number and on those before it.

    So processes that begin at the same moment draw different settings, and a study of one process
    can be repeated.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._sampler = self._of(0)

    def _of(self, number: int) -> optuna.samplers.TPESampler:
        seed = (self._seed * 1_000_003 + number) % 2**32
        with _quiet():
            return optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=_STARTUP, multivariate=False, constant_liar=True
            )

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._sampler = self._of(trial.number)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Any:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Any) -> Any:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)


def _storage(url: str | None, folder: Path) -> Any:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if url is None:
        journal = str(folder / JOURNAL)
        # By default it is a symbolic link, which users of Windows may not make.
        lock = JournalFileOpenLock(journal) if is_windows() else None
        return JournalStorage(JournalFileBackend(journal, lock))
    return RDBStorage(url, heartbeat_interval=_HEARTBEAT_S)


def _has_ended(trial: FrozenTrial) -> bool:
    """Whether a trial counts as one of the study: stopped and lost ones are tried again."""
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or "error" in trial.user_attrs


def _hashable(value: Any) -> Any:
    """JSON's list as the tuple that settings have."""
    return tuple(value) if isinstance(value, list) else value


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold the folder of a trial, until even ``kill -9`` ends this process."""
    lock = _lock(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=_LEAVING_S)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield
    finally:
        lock.release()


def _is_held(path: Path) -> bool:
    from filelock import Timeout

    lock = _lock(path)
    try:
        lock.acquire()
    except (Timeout, OSError):
        return True
    lock.release()
    return False


def _lock(path: Path) -> Any:
    from filelock import FileLock

    return FileLock(path / ".lock", timeout=0, fallback_to_soft=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's warnings that a feature is new."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
