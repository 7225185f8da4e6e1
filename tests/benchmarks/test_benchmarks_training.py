"""The training benchmarks: fair baselines, turns that alternate, no number that nobody measured."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import Tensor

import fastjvae
from benchmarks import layers, quick, report
from benchmarks.training import agreement
from benchmarks.training.agreement import DisagreementError, check_agreement
from benchmarks.training.baselines import PublishedTraining, TunedTraining, published_loader
from benchmarks.training.problems import batch_of, flops_per_image, mnist_like, pictures, problem_of
from benchmarks.training.processes import (
    Measured,
    Task,
    Turns,
    WorkerError,
    alternate,
    ratio,
    spread,
)
from benchmarks.training.rows import MATMUL, rate_share
from fastjvae.model import published
from fastjvae.training.objective_settings import build_objective
from fastjvae.training.settings import build_model

# --- baselines ------------------------------------------------------------------------------------


def _rounded(dtype: torch.dtype) -> dict[str, float]:
    return {"rtol": 1e-8, "atol": 1e-10} if dtype == torch.float64 else {"rtol": 2e-5, "atol": 2e-5}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", ["32x32x1", "64x64x3"])
@pytest.mark.parametrize("way", [PublishedTraining, TunedTraining])
def test_a_baseline_has_the_losses_and_gradients_of_the_reference(
    way: Any, size: str, dtype: torch.dtype
):
    config, img_size = problem_of(size, batch_size=3)
    config = dataclasses.replace(config, cont=4, disc=(3, 5))
    images = batch_of(problem_of(size, batch_size=3))
    normal = torch.randn(3, 4, dtype=dtype)
    uniform = torch.rand(3, 8, dtype=dtype).clamp_min(1e-3)
    model = build_model(config, img_size).to(dtype).train()
    training = way(config, img_size, "cpu", dtype)
    training.load(model)

    losses = training.step(training.prepare(images), normal, uniform)
    with fastjvae.backend("reference"):
        exact = model.loss(images, 1, build_objective(config), normal=normal, uniform=uniform)
    exact.loss.backward()
    for ours, theirs in zip(losses, exact, strict=False):  # loss, reconstruction, KL of the units
        ours = torch.as_tensor(ours, dtype=dtype)
        torch.testing.assert_close(ours, theirs.detach(), **_rounded(dtype))

    gradients: dict[str, Tensor] = {n: p.grad for n, p in model.named_parameters()}
    if way is PublishedTraining:
        gradients = published.to_published(gradients, model.spec)
    own = {name: p.grad for name, p in training.model.named_parameters()}
    assert own.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(own[name], gradient, **_rounded(dtype), msg=name)


@pytest.mark.parametrize("way", [PublishedTraining, TunedTraining])
def test_a_baseline_draws_its_noise_and_learns(way: Any):
    config, img_size = problem_of("32x32x1", batch_size=8)
    training = way(config, img_size, "cpu")
    images = training.prepare(batch_of(problem_of("32x32x1", batch_size=8)))
    losses = [float(training.step(images).reconstruction) for _ in range(30)]
    assert all(map(math.isfinite, losses))
    assert losses[-1] < 0.95 * losses[0]


def test_the_published_loader_gives_the_images_that_fastjvae_prepares():
    given, _ = next(iter(published_loader(pictures(12), 12)))
    prepared = mnist_like(12) / 255

    def in_order(images: Tensor) -> list[list[float]]:
        return sorted(images.flatten(1).tolist())

    assert given.shape == (12, 1, 32, 32)
    assert in_order(given) == in_order(prepared)


@pytest.mark.parametrize(("size", "million"), [("32x32x1", 32.8), ("64x64x3", 107.1)])
def test_operations_are_those_of_the_architecture(size: str, million: float):
    assert flops_per_image(problem_of(size, 2)) == pytest.approx(1e6 * million, rel=2e-3)


# --- agreement ------------------------------------------------------------------------------------


def _outcome(**changes: Any) -> dict[str, Any]:
    return {
        "steps": 3, "loss": 200.0, "reconstruction": 150.0,
        "kl_cont": [0.5, 0.25], "kl_disc": [0.125], **changes,
    }  # fmt: skip


def test_agreement_is_measured_in_what_is_allowed():
    assert check_agreement("x", _outcome(), _outcome()) == 0.0
    half = 0.5 * 1e-4 * 200.0
    assert check_agreement("x", _outcome(loss=200.0 + half), _outcome()) == pytest.approx(0.5, 0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": 200.1}, "x disagrees with the reference after 3 steps: loss is 200.1 and should"),
        ({"kl_cont": [0.5, 0.26]}, r"kl_cont is \[0.5, 0.26\] and should be \[0.5, 0.25\]"),
        ({"kl_disc": [float("nan")]}, "kl_disc is .nan. and should be .0.125."),
        ({"steps": 4}, "x took 4 steps and the reference 3"),
    ],
)
def test_disagreement_is_an_error(change: dict[str, Any], message: str):
    with pytest.raises(DisagreementError, match=message):
        check_agreement("x", _outcome(**change), _outcome())


def test_the_tolerance_covers_every_loss():
    assert agreement.ALLOWED.keys() == _outcome().keys() - {"steps"}


# --- turns ----------------------------------------------------------------------------------------


def _write_name(turns: Turns, folder: Path, name: str, fails_at: int = -1, how: str = "") -> None:
    """Write the name at every step; fail at one of them."""
    (folder / f"{name}.pid").write_text(str(os.getpid()))
    turns.facts["name"] = name
    for step in range(100):
        if step == fails_at and how == "error":
            raise ArithmeticError(f"{name} cannot go on")
        if step == fails_at:
            os._exit(7)
        if not turns.wait():
            break
        with (folder / "order").open("a") as file:
            file.write(name)


def _all_have_ended(folder: Path) -> bool:
    for path in folder.glob("*.pid"):
        try:
            os.kill(int(path.read_text()), 0)
        except ProcessLookupError:
            continue
        return False
    return True


def test_blocks_alternate_and_every_other_round_goes_backwards(tmp_path: Path):
    seen = []
    measured = alternate(
        {
            "a": Task(_write_name, (tmp_path, "a"), steps=2, untimed=1),
            "b": Task(_write_name, (tmp_path, "b"), steps=3, untimed=0),
        },
        rounds=3,
        check=lambda name, facts: seen.append((name, facts["name"])),
    )
    assert seen == [("a", "a"), ("b", "b")]
    # At first one step and two, with the untimed ones, in which the length of a step is found.
    assert (tmp_path / "order").read_text() == "aaaaa" + "bbb" + "aaabbb" + "bbbaaa" + "aaabbb"
    for name, steps in (("a", 2), ("b", 3)):
        assert len(measured[name].seconds) == 3
        assert min(measured[name].seconds) > 0
        assert measured[name].steps == steps
        assert measured[name].facts == {"name": name}
        if sys.platform == "linux":
            assert measured[name].peak_mib >= measured[name].imports_mib > 10
    assert _all_have_ended(tmp_path)


@pytest.mark.parametrize(
    ("fails_at", "how", "message"),
    [
        (0, "error", r"b failed:\nTraceback (.|\n)*in _write_name(.|\n)*b cannot go on"),
        (5, "error", r"b failed:\nTraceback (.|\n)*ArithmeticError: b cannot go on"),
        (0, "exit", "b ended with exit code 7"),
        (5, "exit", "b ended with exit code 7"),
    ],
)
def test_a_process_that_fails_ends_all(tmp_path: Path, fails_at: int, how: str, message: str):
    tasks = {
        "a": Task(_write_name, (tmp_path, "a"), steps=1),
        "b": Task(_write_name, (tmp_path, "b", fails_at, how), steps=1),
    }
    with pytest.raises(WorkerError, match=message):
        alternate(tasks, rounds=9)
    assert _all_have_ended(tmp_path)


def test_a_failed_check_ends_all_before_anything_is_timed(tmp_path: Path):
    def check(name: str, facts: dict[str, Any]) -> None:
        raise DisagreementError(f"{name} is wrong")

    with pytest.raises(DisagreementError, match="a is wrong"):
        alternate({"a": Task(_write_name, (tmp_path, "a"))}, rounds=1, check=check)
    assert not (tmp_path / "order").exists()
    assert _all_have_ended(tmp_path)


def test_medians_quartiles_and_ratios_within_rounds():
    assert spread([5.0, 1.0, 2.0, 4.0, 3.0]) == (3.0, 2.0, 4.0)
    assert spread([2.0]) == (2.0, 2.0, 2.0)
    assert ratio([2.0, 40.0, 600.0], [1.0, 10.0, 100.0]) == (4.0, 3.0, 5.0)
    own, matmul = (Measured([s], 1, {}, None, None) for s in (0.5, 0.25))
    assert rate_share(own, 4.0, matmul, 8.0).median == 0.25  # 8 of 32 operations a second


# --- quick ----------------------------------------------------------------------------------------

KEYS = {
    "end_to_end_vs_published_way",
    "step_share_of_matmul_32",
    "step_share_of_matmul_64",
    "step_vs_tuned_eager",
    "step_vs_tuned_eager_same_allocator",
}


def test_quick_prints_a_table_and_writes_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    tiny = {"rounds": 2, "steps": 1, "images": 8, "batch_size": 2, "matmul_side": 64}
    monkeypatch.setattr(quick, "measure", partial(quick.measure, **tiny, block_s=0.01))
    quick.main(["--json", str(tmp_path / "q.json"), "--about", str(tmp_path / "about.json")])
    written = json.loads((tmp_path / "q.json").read_text())
    assert written.keys() == KEYS
    for value in written.values():
        assert value.keys() == {"median", "iqr"}
        assert 0 < value["iqr"][0] <= value["median"] <= value["iqr"][1]
    assert json.loads((tmp_path / "about.json").read_text())["torch"] == torch.__version__
    printed = capsys.readouterr().out
    assert f"torch {torch.__version__}" in printed
    assert all(label in printed for label in quick.LABELS.values())


def test_quick_takes_ratios_of_what_they_are_called():
    seconds = {
        "published loop": 8.0, "fastjvae loop": 2.0, "tuned": 3.0, "tuned, same allocator": 1.5,
        "fastjvae 32": 1.0, "fastjvae 64": 4.0, MATMUL: 0.5,
    }  # fmt: skip
    measured = {name: Measured([s, s], 1, {}, None, None) for name, s in seconds.items()}
    flops = {"fastjvae 32": 10.0, "fastjvae 64": 60.0, MATMUL: 10.0}
    found = {key: value.median for key, value in quick.results(measured, flops).items()}
    assert found == {
        "end_to_end_vs_published_way": 4.0,
        "step_share_of_matmul_32": 0.5,
        "step_share_of_matmul_64": 0.75,
        "step_vs_tuned_eager": 3.0,
        "step_vs_tuned_eager_same_allocator": 1.5,
    }


# --- layers ---------------------------------------------------------------------------------------


def test_every_pass_of_every_convolution_is_measured():
    found = layers.measure(rows=2, rounds=1, side=64)
    assert len(found) == 2 * (3 * 3 - 1) + 1 + 2 * 3 * 4 - 1
    assert len(layers.table(found)) == 2 + len(found)
    assert all(row["limit_ms"] > 0 for row in found)
    forward = sum(layer.flops for layer in layers.layers((1, 32, 32)))
    assert 0.8 < 3 * forward / flops_per_image(problem_of("32x32x1", 2)) < 1.0  # the rest is linear


# --- report ---------------------------------------------------------------------------------------

ABOUT = {"processor": "some CPU", "threads": 2, "python": "3.11", "torch": "2.9", "fastjvae": "1.0"}


def _row(provider: str, ms: float, **extra: Any) -> dict[str, Any]:
    return {
        "extra_info": {
            "provider": provider, "problem": "32x32x1, B = 64", "images_per_s": 64e3 / ms,
            "peak_mib": 700.4, "imports_mib": 300.0, "environment": ABOUT,
            "outcome": _outcome(), "reference": _outcome(loss=200.001), **extra,
        },
        "stats": {"median": ms / 1e3, "q1": 0.9 * ms / 1e3, "q3": 1.1 * ms / 1e3, "rounds": 20},
    }  # fmt: skip


def _ratio(median: float) -> dict[str, Any]:
    return {"median": median, "iqr": [0.99 * median, 1.01 * median]}


def _write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    commit = {"id": "0123456789abcdef", "dirty": False}
    content = {"benchmarks": rows, "commit_info": commit}
    (folder / f"{name}.json").write_text(json.dumps(content))


def _report(folder: Path) -> str:
    report.main(["--results", str(folder), "--out", str(folder / "README.md")])
    return (folder / "README.md").read_text()


def test_what_was_not_measured_is_called_so_and_has_no_numbers(tmp_path: Path):
    page = _report(tmp_path)
    assert page.count("not measured.") == 5
    measured = page[page.index("## On one machine") :]
    assert not re.search(r"\d", measured)
    assert not list(tmp_path.glob("*.png"))


def test_a_page_of_all_results(tmp_path: Path):
    rate = {"gflops": 50.0, "matmul_gflops": 100.0, "share_of_matmul": _ratio(0.5)}
    _write(
        tmp_path,
        "step",
        [
            _row("fastjvae", 10.0, **rate),
            _row("tuned", 15.0, times_fastjvae=_ratio(1.4), **rate),
            _row("published", 30.0, times_fastjvae=_ratio(3.0), **rate),
        ],
    )
    loop = {"measurement": "end to end", "images": 60_000}
    size = {"measurement": "data set size", "speed_to_smallest": _ratio(0.98)}
    share = {"loading_and_logging_share": _ratio(0.03), "checkpoint_s": 0.025}
    _write(
        tmp_path,
        "epoch",
        [
            _row("published", 40.0, times_fastjvae=_ratio(4.0), **loop),
            _row("fastjvae", 10.0, **loop, **share),
            _row("fastjvae", 10.0, **size, **{"images": 10_000, "outcome": None}),
            _row("fastjvae", 10.4, **size, **{"images": 100_000, "outcome": None}),
        ],
    )
    (tmp_path / "quick.json").write_text(json.dumps({"step_vs_tuned_eager": _ratio(1.25)}))
    by_way = {"pytorch_ms": _ratio(2.0), "fastjvae_ms": _ratio(1.0), "limit_ms": 0.5}
    layer = {"size": "32x32x1", "layer": "encoder 1", "pass": "forward", "shape": "1 -> 32, 32x32"}
    content = {"environment": ABOUT, "rows": [{**layer, **by_way}]}
    (tmp_path / "layers.json").write_text(json.dumps(content))

    page = _report(tmp_path)
    assert "- Machine: some CPU, threads: 2\n- Versions: python 3.11, torch 2.9, fastjvae" in page
    assert "`benchmarks/training/bench_step.py`, 20 blocks of each, commit 0123456789ab\n" in page
    # The weaker ratio comes first.
    assert "fastjvae's: tuned 1.40 (1.39 - 1.41); published 3.00 (2.97 - 3.03)." in page
    assert (
        "| tuned | 15.00 (13.50 - 16.50) | 4,267 | 50 | 50.0 % (49.5 - 50.5) | 700 | 3 | 200.00"
        " | 0.75000 | 0.12500 | 200.00 | 0.75000 | 0.12500 |"
    ) in page
    of_step = page[page.index("## A step alone") :]
    assert re.findall(r"^\| (published|tuned|fastjvae) \|", of_step, flags=re.MULTILINE) == [
        "published", "tuned", "fastjvae",
    ]  # fmt: skip
    assert "`make gpu`: not measured." in page
    assert "- Loading and logging in a step of fastjvae: 3.0 % (3.0 - 3.0).\n" in page
    assert "- A checkpoint of fastjvae takes 25 ms (one run).\n" in page
    assert "60,000 images, published: 700 MiB, 300 of them before it began" in page
    assert "| 100,000 | 10.40 (9.36 - 11.44) | 6,154 | 0.980 (0.970 - 0.990) | 700 |" in page
    assert "The fastest is 4.0 % faster than the slowest." in page
    assert "| step, tuned eager / fastjvae | 1.25 (1.24 - 1.26) |" in page
    assert "| end to end, published way / fastjvae | not measured |" in page
    assert "the machine was not recorded" in page
    assert "| encoder 1 | 1 -> 32, 32x32 | forward | 2.000 | 1.000 | 0.500 | 50 |" in page
    for name in ("step", "epoch"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("content", ["{", "[]", '{"benchmarks": []}', '{"benchmarks": [{}]}'])
def test_a_foreign_file_is_one_sentence(tmp_path: Path, content: str):
    (tmp_path / "step.json").write_text(content)
    with pytest.raises(SystemExit, match=r"step.json") as raised:
        _report(tmp_path)
    assert "\n" not in str(raised.value)


# --- all together ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["step", "epoch"])
def test_a_timed_run_can_be_reported(tmp_path: Path, name: str):
    # pytest-benchmark reads from pytest's variables whether it is a worker of a parallel run.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    script = f"benchmarks/training/bench_{name}.py"
    command = [sys.executable, "-m", "pytest", script, "--sizes=smallest"]
    result = subprocess.run(
        [*command, f"--benchmark-json={tmp_path / name}.json", "-p", "no:cacheprovider"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    rows = json.loads((tmp_path / f"{name}.json").read_text())["benchmarks"]
    for row in rows:
        assert row["stats"]["rounds"] == row["extra_info"]["blocks"] == 3
        seconds = row["extra_info"]["batch_size"] / row["extra_info"]["images_per_s"]
        assert row["stats"]["median"] == pytest.approx(seconds)
    assert "| published |" in _report(tmp_path)
