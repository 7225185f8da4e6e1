"""The run folder: its files, configuration, metrics and lock."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastjvae._numbers import is_integer, is_real, shown
from fastjvae._system import NOT_OFFERED
from fastjvae.data import ImageData
from fastjvae.errors import ArgumentError, CheckpointError, RunError
from fastjvae.files import (
    cannot_write,
    parse_json,
    read_json,
    to_json,
    write_bytes,
    write_json,
)
from fastjvae.training.settings.difference import difference
from fastjvae.training.settings.run import RunConfig
from fastjvae.training.settings.saved import config_from_dict, unknown_settings


class RunFolder:
    """A folder with ``config.json``, ``metrics.jsonl``, checkpoints, the model and ``figures/``.

    Args:
        path: the folder; made by :meth:`create`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_file = self.path / "config.json"
        self.metrics_file = self.path / "metrics.jsonl"
        self.evaluation_file = self.path / "evaluation.json"
        self.figures = self.path / "figures"
        self.frames = self.path / "frames"
        self.tensorboard = self.path / "tensorboard"

    def __str__(self) -> str:
        return str(self.path)

    def check(self, config: RunConfig) -> None:
        """Refuse a folder in which this run can be neither begun nor found; makes nothing.

        Raises:
            RunError: the folder holds another configuration or other files, or is none.
        """
        if self.config_file.exists():
            self._check_same(config)
            return
        try:
            foreign = sorted(p.name for p in self.path.iterdir() if not p.name.startswith("."))
        except FileNotFoundError:
            return
        except OSError as error:
            raise cannot_write(self.path, error) from error
        if foreign:
            raise RunError(
                f"{self} exists and is no run folder (it holds {', '.join(foreign[:3])});"
                " choose another one with --out"
            )

    def create(self, config: RunConfig, about: dict[str, Any]) -> None:
        """Start a run here, or find the same run already here.

        Args:
            config: the run's settings.
            about: the model's configuration and the versions, for the reader of config.json.

        Raises:
            RunError: the folder holds another configuration or other files, or is not writable.
        """
        self.check(config)
        if self.config_file.exists():
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        write_json(self.config_file, {**about, **_entries(config.to_dict())})

    def description(self, config: RunConfig, about: Mapping[str, Any]) -> dict[str, Any]:
        """The new content of config.json, with whatever somebody else has written there."""
        whole = read_json(self.config_file, RunError)
        unknown = unknown_settings(_settings(whole))
        return {**whole, **about, **_entries(merged(config.to_dict(), unknown))}

    def change_config(self, config: RunConfig) -> None:
        """Replace the settings of the run that is here; the rest of config.json stays."""
        before = self.read_config()
        if config.differing(before) is None:
            return
        whole = self.description(config, {})
        if config.steps != before.steps:
            whole.setdefault("begun", {"steps": before.steps})
        write_json(self.config_file, whole)

    def check_is_there(self) -> None:
        """Refuse to go on in a folder that was deleted; writing would make half of it again.

        Raises:
            RunError: the folder holds no configuration any more.
        """
        if not self.config_file.exists():
            raise RunError(
                f"{self} was deleted, moved or emptied while its run was training, so that nothing"
                f" more can be kept of it; begin the run again"
            )

    def is_run(self) -> bool:
        """Whether the folder holds the configuration of a training run."""
        try:
            whole = read_json(self.config_file, RunError)
        except RunError:
            return False
        return isinstance(whole, dict) and "training" in whole

    def read_config(self) -> RunConfig:
        """Return the settings of the run that is here; a trainer of them imports what they name.

        Raises:
            RunError: there is no run here, or its config.json cannot be read.

        Warns:
            UserWarning: the file has settings that this version does not know.
        """
        if not self.config_file.is_file():
            raise RunError(f"{self} is no run folder: {self.config_file} is missing")
        try:
            whole = parse_json(self.config_file.read_bytes())
            if not isinstance(whole, dict):
                raise ArgumentError(f"it must be a JSON object, got {shown(whole)}")
            settings = _settings(whole)
            config, unknown = config_from_dict(settings), unknown_settings(settings)
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.config_file} is not the configuration of a training run: {error}"
            ) from error
        if unknown:
            warnings.warn(
                f"{self.config_file} has settings that this version does not know, and leaves as"
                f" they are: {', '.join(sorted(unknown))}",
                stacklevel=1,
            )
        return config

    def own_data(self) -> str | None:
        """The name of the images if they were given in Python, which no setting can load again."""
        data = self.entry("data")
        return str(data["name"]) if data.get("given_in_python") and "name" in data else None

    def trained_on(self, images: ImageData) -> bool:
        """Whether these are the training images of the run, whose images were divided for it."""
        return self.entry("data").get("sha256") == images.digest()

    def entry(self, name: str) -> dict[str, Any]:
        """An entry of config.json beside the settings; runs of before may have none."""
        try:
            entry = parse_json(self.config_file.read_bytes())[name]
        except (OSError, ValueError, TypeError, KeyError):
            return {}
        return entry if isinstance(entry, dict) else {}

    def _check_same(self, config: RunConfig) -> None:
        if found := difference(config, self.read_config()):
            raise self.other_run(found)

    def other_run(self, found: str) -> RunError:
        """The error of a folder that holds another run, which differs in what was found."""
        go_on = "" if self.own_data() else f", or go on with that run: --resume {self}"
        return RunError(
            f"{self} holds a run with another configuration ({found});"
            f" choose another folder with --out{go_on}"
        )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder against a second training process; released even by ``kill -9``.

        Where the file system has no locks, a warning says so and the folder is not held.

        Raises:
            RunError: another process holds it, or it cannot be written.
        """
        from filelock import FileLock, Timeout

        # A lock of the operating system alone: what stands in for it would outlive a kill.
        lock = FileLock(self.path / ".lock", timeout=0, fallback_to_soft=False)
        try:
            lock.acquire()
        except Timeout:
            raise RunError(f"another process is training in {self}") from None
        except OSError as error:
            if error.errno not in NOT_OFFERED:
                raise cannot_write(self.path, error) from error
            warnings.warn(
                f"the file system of {self} has no locks ({error.strerror}): nothing keeps a second"
                f" process from training there",
                stacklevel=1,
            )
        try:
            yield
        finally:
            lock.release()


def run_of(path: str | Path) -> RunFolder:
    """The run folder that a model's path names: the path itself, or where its file lies."""
    path = Path(path)
    return RunFolder(path.parent if path.is_file() else path)


class MetricsLog:
    """Appends records to ``metrics.jsonl`` and, if asked, to TensorBoard.

    Args:
        run: the run folder.
        step: records after this step are dropped: they are of a run that went on after the
            checkpoint it is resumed from.
        tensorboard: write for TensorBoard as well.
    """

    def __init__(self, run: RunFolder, step: int, tensorboard: bool = False) -> None:
        self._run, self.path = run, run.metrics_file
        self._writer: Any = None
        kept = [record for record in read_metrics(run) if record["step"] <= step]
        if tensorboard:
            try:
                from torch.utils.tensorboard.writer import SummaryWriter
            except ImportError:
                raise ArgumentError(
                    "--tensorboard needs the extra: pip install 'fastjvae[tensorboard]'"
                ) from None
        write_bytes(self.path, "".join(to_json(record) + "\n" for record in kept).encode())
        if tensorboard:
            self._writer = SummaryWriter(str(run.tensorboard), purge_step=step + 1)

    def append(self, record: dict[str, Any]) -> None:
        """Write one record; a list becomes one TensorBoard scalar per element."""
        try:
            with self.path.open("ab") as file:  # as bytes: the lines end alike on every system
                file.write(f"{to_json(record)}\n".encode())
        except OSError as error:
            self._run.check_is_there()
            raise cannot_write(self.path, error) from error
        if self._writer is not None:
            for name, value in _scalars(record):
                self._writer.add_scalar(name, value, record["step"])

    def show(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Give TensorBoard a picture, (H, W) or (H, W, 3), where it is written for."""
        if self._writer is not None:
            form = "HW" if pixels.ndim == 2 else "HWC"
            self._writer.add_image(name, pixels, step, dataformats=form)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def read_metrics(run: RunFolder) -> list[dict[str, Any]]:
    """Return the records of ``metrics.jsonl``, without a last line that a kill cut short."""
    if not run.metrics_file.is_file():
        return []
    lines = run.metrics_file.read_bytes().splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = parse_json(line)
        except ValueError:
            record = None
        if not _is_record(record):
            if number < len(lines):
                raise CheckpointError(
                    f"{run.metrics_file} is damaged: line {number} is no record of a step"
                )
        else:
            records.append(record)
    return records


def last_record(run: RunFolder) -> dict[str, Any] | None:
    """The last record of ``metrics.jsonl``; None where there is none to be read."""
    try:
        records = read_metrics(run)
    except (CheckpointError, OSError):
        return None
    return records[-1] if records else None


def capacity_of(record: Mapping[str, Any]) -> float | None:
    """The nats that a record's capacities allow together; None where there are none."""
    both = (record.get(f"capacity_{of}") for of in ("cont", "disc"))
    return sum(nats for nats in both if is_real(nats)) or None  # without capacities it has 0


def merged(values: Mapping[str, Any], beside: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of both, nested as they are; ``values`` wins where both have an entry.

    >>> merged({"lr": 1.0, "capacity": {"hi": 5.0}}, {"capacity": {"colour": "red"}, "mood": 3})
    {'lr': 1.0, 'capacity': {'hi': 5.0, 'colour': 'red'}, 'mood': 3}
    """
    found = {**beside, **values}
    for name in values.keys() & beside.keys():
        if isinstance(values[name], Mapping) and isinstance(beside[name], Mapping):
            found[name] = merged(values[name], beside[name])
    return {name: found[name] for name in dict.fromkeys((*values, *beside))}


def _entries(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as config.json has them: the phases beside the others, where there are some."""
    training = dict(settings)
    phases = training.pop("phases", None)
    return {"training": training, **({"phases": phases} if phases else {})}


def _settings(whole: Mapping[str, Any]) -> Any:
    """The settings in the content of config.json, in one value."""
    training = whole.get("training")
    if "phases" in whole and isinstance(training, dict):
        return {**training, "phases": whole["phases"]}
    return training


def _is_record(record: Any) -> bool:
    """Whether a line of the log can be ours: a step, and numbers and lists of numbers by name."""
    if not isinstance(record, dict) or not is_integer(record.get("step")) or record["step"] < 0:
        return False
    values = [each for v in record.values() for each in (v if isinstance(v, list) else [v])]
    return all(value is None or isinstance(value, str) or is_real(value) for value in values)


def _scalars(record: dict[str, Any]) -> Iterable[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, list):
            yield from ((f"{name}/{i}", element) for i, element in enumerate(value))
        elif name != "step" and not isinstance(value, str):
            yield name, value
