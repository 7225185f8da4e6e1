"""Damaged copies of what a run and a model leave behind are read, or refused in one sentence."""

from __future__ import annotations

import dataclasses
import io
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from examples import examples
from mutations import assert_read_or_refused, mutated
from tiny_runs import tiny_config, write_arrays

from fastjvae import load, load_published
from fastjvae.data import load as load_data
from fastjvae.figures import kl_growth
from fastjvae.figures.metrics import read_score
from fastjvae.files import write_json
from fastjvae.metrics.evaluation import evaluate
from fastjvae.model.export import save_published
from fastjvae.training.run_folder import MetricsLog, RunFolder, read_metrics
from fastjvae.training.seeds_table import read_evaluation
from fastjvae.training.trainer import Trainer

MANY = 100_000  # of all readers together, on demand
_EDGE = 8192  # bytes


class Reader(NamedTuple):
    """A file of a folder that has it intact, what reads it, and how it is damaged."""

    file: str
    read: Callable[[Path], object]
    damage: Callable[[bytes, int], bytes] = mutated


def _repacked(data: bytes, seed: int) -> bytes:
    """An archive of torch.save with a damaged pickle and a checksum that fits it."""
    archive, packed = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as changed:
        for name in archive.namelist():
            content = archive.read(name)
            changed.writestr(name, mutated(content, seed) if name.endswith("data.pkl") else content)
    return packed.getvalue()


def _edges(data: bytes, seed: int) -> bytes:
    """Damage where the headers of a large file are, at its beginning or at its end."""
    if seed % 2:
        return mutated(data[:_EDGE], seed) + data[_EDGE:]
    return data[:-_EDGE] + mutated(data[-_EDGE:], seed)


def _lines(data: bytes, seed: int) -> bytes:
    """A damaged line among intact ones."""
    first, *rest = data.splitlines(keepends=True)
    return b"".join([mutated(first, seed), *rest])


def _config(folder: Path) -> None:
    RunFolder(folder).read_config()
    load(folder)


def _metrics(folder: Path) -> None:
    run = RunFolder(folder)
    read_metrics(run)
    MetricsLog(run, step=100).close()


def _resume(folder: Path) -> None:
    config = dataclasses.replace(RunFolder(folder).read_config(), steps=4)
    Trainer(config, load_data(config.source()), RunFolder(folder), resuming=True)


READERS = {
    "config.json": Reader("config.json", _config),
    "specs.json": Reader("specs.json", lambda folder: load_published(folder / "model.pt")),
    "evaluation.json": Reader(
        "evaluation.json", lambda folder: read_evaluation(folder / "evaluation.json")
    ),
    "metrics.jsonl": Reader("metrics.jsonl", _metrics, _lines),
    "seeds.json": Reader(
        "seeds.json", lambda folder: read_score(folder / "seeds.json", "seeds.0.images")
    ),
    "model.safetensors": Reader("model.safetensors", load, _edges),
    "model.pt": Reader("model.pt", lambda folder: load_published(folder / "model.pt"), _edges),
    "model.pt, repacked": Reader(
        "model.pt", lambda folder: load_published(folder / "model.pt"), _repacked
    ),
    "checkpoint.pt": Reader("checkpoint.pt", lambda folder: load(folder / "checkpoint.pt"), _edges),
    "checkpoint.pt, resumed": Reader("checkpoint.pt", _resume, _repacked),
}


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every file."""
    folder = tmp_path_factory.mktemp("intact")
    config = tiny_config(write_arrays(folder), steps=2, cont=2, disc=(2,), log_every=1)
    data = load_data(config.source())
    run = RunFolder(folder / "run")
    trainer = Trainer(config, data, run)
    assert trainer.train()
    evaluation = evaluate(trainer.model, data).to_dict()
    write_json(run.evaluation_file, evaluation)
    write_json(run.path / "seeds.json", {"images": 40, "seeds": [evaluation], "no_udr": None})
    save_published(trainer.model, run.path, {"dataset": "arrays"})
    (run.path / "checkpoint.previous.pt").unlink(missing_ok=True)
    return run.path


def _fuzz(reader: Reader, intact: Path, tmp_path: Path, seeds: Iterable[int]) -> int:
    """How many damaged files were refused."""
    folder = tmp_path / "run"
    shutil.copytree(intact, folder)
    path, valid, refused = folder / reader.file, (intact / reader.file).read_bytes(), 0
    for seed in seeds:
        path.write_bytes(reader.damage(valid, seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of settings that a damaged file has made unknown
            refused += not assert_read_or_refused(lambda: reader.read(folder), path, folder)
    return refused


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
def test_a_damaged_file_is_read_or_refused(reader: Reader, intact: Path, tmp_path: Path):
    reader.read(intact)
    assert _fuzz(reader, intact, tmp_path, range(examples(300, least=30))) > 0


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
def test_many_damaged_files(reader: Reader, intact: Path, tmp_path: Path):
    seeds = range(1_000, 1_000 + MANY // len(READERS))
    assert _fuzz(reader, intact, tmp_path, seeds) > 0


@pytest.mark.parametrize("seed", range(examples(60)))
def test_records_that_are_read_are_drawn_or_refused(seed: int):
    """What the lines of metrics.jsonl hold may be of any length and kind."""
    from random import Random

    random = Random(seed)
    values: list[Any] = [None, 1.0, "x", [], [1.0], [None, 2.0], [1.0, "x"], 10**400]
    records = [
        {"step": step, **{n: random.choice(values) for n in ("kl_cont", "kl_disc", "information")}}
        for step in (1, 2)
    ]
    assert_read_or_refused(lambda: kl_growth(records), "record", "kl_", "information")
