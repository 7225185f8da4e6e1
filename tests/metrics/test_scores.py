"""What every metric of codes against factors promises, one test for all of them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fastjvae import JointVAE, metrics
from fastjvae.data import ImageData
from fastjvae.errors import ArgumentError
from fastjvae.metrics import (
    _items,
    beta_vae_score,
    dci,
    disentanglement_scores,
    factor_vae_score,
    mutual_information_gap,
    sap_score,
    score_model,
)
from fastjvae.metrics.evaluation import evaluate

Metric = Callable[..., float]


def _dci(*args: Any, **named: Any) -> float:
    """The mean of the three, so that one fit of the trees tests them all."""
    return float(np.mean(dci(*args, num_train=160, num_test=80, **named)[:3]))


METRICS: dict[str, Metric] = {
    "factor_vae": factor_vae_score,
    "factor_vae_kim_mnih": partial(factor_vae_score, protocol="kim_mnih"),
    "beta_vae": partial(beta_vae_score, num_train=600, num_test=600),
    "mig": mutual_information_gap,
    "sap": partial(sap_score, num_train=400, num_test=200),
    "sap_continuous": partial(sap_score, continuous_factors=True),
    "dci": _dci,
}
all_metrics = pytest.mark.parametrize("name", METRICS)

SIZES = (2, 3, 4)
FACTORS = np.indices(SIZES).reshape(3, -1).T.repeat(20, axis=0)  # (480, 3)
# Of codes that say nothing: as often right as a guess, or no gap; the votes of "kim_mnih" judge
# themselves, and the trees' importances of noise are spread, but not evenly.
CHANCE = {
    "factor_vae": 0.40,
    "factor_vae_kim_mnih": 0.45,
    "beta_vae": 0.40,
    "mig": 0.06,
    "sap": 0.1,
    "sap_continuous": 0.02,
    "dci": 0.25,
}


def _identity(seed: int = 0, noise: float = 0.05) -> np.ndarray:
    return FACTORS + noise * np.random.default_rng(seed).normal(size=FACTORS.shape)


def _noise(units: int = 3, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(len(FACTORS), units))


def _turned(codes: np.ndarray) -> np.ndarray:
    """Units 0 and 1, of equal spread, turned by 45 degrees, so that each is half of both."""
    codes = codes / codes.std(axis=0)
    turn = np.array([[1, 1, 0], [1, -1, 0], [0, 0, np.sqrt(2)]]) / np.sqrt(2)
    return codes @ turn


@all_metrics
def test_codes_that_are_the_factors_score_high(name: str):
    perfect = 1 - np.mean([1 / size for size in SIZES]) if name == "sap" else 1.0
    assert METRICS[name](_identity(), FACTORS) == pytest.approx(perfect, abs=0.06)


@all_metrics
def test_random_codes_are_at_chance(name: str):
    scores = [METRICS[name](_noise(seed=seed), FACTORS) for seed in range(3)]
    assert np.mean(scores) <= CHANCE[name]


@all_metrics
def test_constant_codes_are_at_chance(name: str):
    constant = np.full((len(FACTORS), 3), 0.1)
    assert METRICS[name](constant, FACTORS) <= CHANCE[name]
    categories = np.full((len(FACTORS), 2), 7)
    assert METRICS[name](constant, FACTORS, discrete=categories) <= CHANCE[name]


@all_metrics
def test_a_rotated_representation_scores_lower(name: str):
    codes = _identity()
    assert METRICS[name](_turned(codes), FACTORS) < METRICS[name](codes, FACTORS) - 0.1


@all_metrics
def test_the_order_of_units_changes_nothing(name: str):
    codes = np.hstack([_turned(_identity(noise=0.5)), _identity(3)[:, :1]])
    discrete = np.stack([FACTORS[:, 2], FACTORS[:, 1] // 2, FACTORS[:, 1] // 2], axis=1)
    kl = np.array([1, 1, 0.5, 0.001, 1, 1, 1])
    one = METRICS[name](codes, FACTORS, discrete=discrete, kl=kl)
    order, d_order = [2, 0, 3, 1], [1, 2, 0]
    other = METRICS[name](
        codes[:, order],
        FACTORS,
        discrete=discrete[:, d_order],
        kl=np.concatenate([kl[:4][order], kl[4:][d_order]]),
    )
    assert other == pytest.approx(one, abs=1e-12)


@all_metrics
def test_the_names_of_categories_and_of_factor_values_change_nothing(name: str):
    discrete = np.stack([FACTORS[:, 0], (FACTORS[:, 1] + FACTORS[:, 2]) % 4], axis=1)
    codes = _turned(_identity(noise=0.3))[:, :2]
    renamed = np.stack([np.array([9, -4])[discrete[:, 0]], 30 - 7 * discrete[:, 1]], axis=1)
    one = METRICS[name](codes, FACTORS, discrete=discrete)
    assert METRICS[name](codes, FACTORS, discrete=renamed) == one
    assert METRICS[name](codes, 3 * FACTORS - 8, discrete=discrete) == pytest.approx(one)


@all_metrics
def test_discrete_variables_that_are_factors_score_like_units_that_are(name: str):
    """One variable is one unit: a factor's categories are not spread over several."""
    score = METRICS[name](_identity()[:, :1], FACTORS, discrete=FACTORS[:, 1:])
    assert score == pytest.approx(METRICS[name](_identity(), FACTORS), abs=0.05)
    alone = METRICS[name](np.zeros((len(FACTORS), 0)), FACTORS, discrete=FACTORS)
    assert alone == pytest.approx(score, abs=0.05)


@all_metrics
def test_dead_units_never_win(name: str):
    """A constant unit, or one that its KL says is dead, leaves the score as it is."""
    codes = _identity()
    score = METRICS[name](codes, FACTORS)
    dead = np.hstack([np.full((len(codes), 1), 0.1), codes, np.full((len(codes), 1), -3.0)])
    constant = np.zeros((len(codes), 1), dtype=int)
    tolerance = 0.06 if name.startswith("dci") else 0.02  # the trees' entropies have another base
    assert METRICS[name](dead, FACTORS, discrete=constant) == pytest.approx(score, abs=tolerance)
    # A copy of the factors would halve most scores; its KL says that it is the noise of a unit
    # which the prior's would hide.
    shadow = np.hstack([codes, 1e-3 * FACTORS])
    kl = np.array([1.0, 1.0, 1.0, 1e-3, 1e-3, 1e-3])
    assert METRICS[name](shadow, FACTORS, kl=kl) == pytest.approx(score, abs=tolerance)


@all_metrics
def test_a_seed_decides_all(name: str):
    codes = _turned(_identity(noise=1.0))
    first, second = (METRICS[name](codes, FACTORS, seed=4) for _ in range(2))
    assert first == second
    others = {METRICS[name](codes, FACTORS, seed=seed) for seed in range(3)}
    assert len(others) > 1 or name in ("mig", "sap_continuous")  # which look at every item


@all_metrics
def test_any_kind_of_array(name: str):
    score = METRICS[name](FACTORS.astype(np.float64), FACTORS)
    assert type(score) is float
    for codes in (FACTORS, FACTORS.astype(np.float32), torch.from_numpy(FACTORS).float()):
        assert METRICS[name](codes, FACTORS) == score
    half = torch.from_numpy(FACTORS).bfloat16().requires_grad_()
    assert METRICS[name](half, torch.from_numpy(FACTORS)) == score
    assert METRICS[name](FACTORS.tolist(), FACTORS.astype(np.float32)) == score
    assert METRICS[name](np.asfortranarray(FACTORS), FACTORS.astype(np.uint8)) == score


@all_metrics
def test_factors_with_one_value_are_left_out(name: str):
    more = np.hstack([np.full((len(FACTORS), 1), 5), FACTORS])
    codes = _identity()
    assert METRICS[name](codes, more) == METRICS[name](codes, FACTORS)


@all_metrics
def test_inputs_are_left_as_they_are(name: str):
    codes, factors, discrete, kl = _identity(), FACTORS.copy(), FACTORS[:, :1].copy(), np.ones(4)
    kl[1] = 0
    METRICS[name](codes, factors, discrete=discrete, kl=kl)
    assert (codes == _identity()).all()
    assert (factors == FACTORS).all()
    assert (discrete == FACTORS[:, :1]).all()


extremes = st.sampled_from([0.0, -0.0, 0.1, 1.0, -2.5, 1e-300, 5e-324, 3e38, -3e38, 1e10])


@st.composite
def odd_inputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    rows, cont, disc = draw(st.integers(1, 9)), draw(st.integers(0, 3)), draw(st.integers(0, 2))
    small = st.integers(-1, 2)
    factors = draw(arrays(np.int64, (rows, draw(st.integers(1, 3))), elements=small))
    codes = draw(arrays(np.float64, (rows, cont), elements=extremes))
    discrete = draw(arrays(np.int64, (rows, disc), elements=small))
    kl = draw(st.none() | arrays(np.float64, cont + disc, elements=st.sampled_from([0.0, 1.0])))
    return codes, factors, discrete, kl


ODD: dict[str, Metric] = {
    "factor_vae": partial(factor_vae_score, observations=3),
    "factor_vae_kim_mnih": partial(factor_vae_score, protocol="kim_mnih", observations=2),
    "beta_vae": partial(beta_vae_score, observations=2, num_train=20, num_test=10),
    "mig": mutual_information_gap,
    "mig_drawn": partial(mutual_information_gap, num_train=2),
    "sap": partial(sap_score, num_train=4, num_test=2),
    "sap_svm": partial(sap_score, classifier="svm"),
    "sap_continuous": partial(sap_score, continuous_factors=True),
    "dci": lambda *args, **named: max(dci(*args, **named)),
}


@pytest.mark.parametrize("name", ODD)
@settings(max_examples=examples(25, least=5))
@given(odd_inputs())
def test_odd_inputs_give_a_number_or_a_sentence(name: str, inputs: tuple[Any, ...]):
    codes, factors, discrete, kl = inputs
    counts = [np.unique(each, return_counts=True)[1] for each in factors.T]
    usable = [each for each in counts if len(each) > 1 and ("vae" not in name or each.max() > 1)]
    if usable and codes.shape[1] + discrete.shape[1]:
        score = ODD[name](codes, factors, discrete=discrete, kl=kl)
        assert math.isfinite(score)
        assert -1e-9 <= score <= 1 + 1e-9
    else:
        with pytest.raises(ArgumentError, match=r"^[^\n]+$"):
            ODD[name](codes, factors, discrete=discrete, kl=kl)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codes": [1.0, 2.0]}, r"codes must have shape \(M, Z\), got \(2,\)"),
        ({"codes": [[1.0], [math.inf]]}, "codes must be finite, got 1 numbers that are not"),
        ({"codes": [[math.nan], [math.nan]]}, "codes must be finite, got 2 numbers"),
        ({"codes": [[1e39], [0]]}, "range of float32, got 1 numbers"),
        ({"codes": [["a"], ["b"]]}, r"codes must be \(M, Z\) numbers"),
        ({"codes": [[1.0]] * 3}, "one row per item and at least 1, got 3, 2 and no discrete rows"),
        ({"codes": np.zeros((0, 1)), "factors": np.zeros((0, 1), int)}, "at least 1, got 0, 0"),
        ({"codes": np.zeros((2, 0))}, r"at least 1 unit, got codes of shape \(2, 0\)"),
        ({"factors": [0, 1]}, r"factors must have shape \(M, F\), got \(2,\)"),
        ({"factors": [[0.5], [1]]}, "factors must be integers, got float64"),
        ({"factors": [["a"], ["b"]]}, "factors must be integers"),
        ({"factors": [[1, 2], [1, 2]]}, r"2 different values or more, got factors of shape \(2, 2"),
        ({"factors": np.zeros((2, 0), int)}, "2 different values or more"),
        ({"discrete": [0, 1]}, r"discrete must have shape \(M, D\)"),
        ({"discrete": [[0]]}, "got 2, 2 and 1 rows"),
        ({"discrete": [[0.5], [1]]}, "discrete must be integers"),
        ({"kl": [1.0, 2.0]}, "got 2 for 1 continuous units and 0 discrete variables"),
        ({"kl": [math.nan]}, "kl must be finite"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"seed": 0.5}, "seed must be an integer of at least 0, got 0.5"),
    ],
)
@all_metrics
def test_bad_arguments(name: str, changes: dict[str, Any], message: str):
    named: dict[str, Any] = {"codes": [[1.0], [2.0]], "factors": [[0], [1]], **changes}
    with pytest.raises(ArgumentError, match=message):
        METRICS[name](named.pop("codes"), named.pop("factors"), **named)


@pytest.mark.parametrize("metric", [beta_vae_score, sap_score, dci, mutual_information_gap])
def test_numbers_of_items_are_checked(metric: Callable[..., Any]):
    with pytest.raises(ArgumentError, match="num_train must be an integer of at least 1, got 0"):
        metric(_identity(), FACTORS, num_train=0)


# --- all of them at once --------------------------------------------------------------------------


FAST = ["factor_vae", "factor_vae_kim_mnih", "beta_vae", "mig", "sap"]
SLOW = ["dci_disentanglement", "dci_completeness", "dci_informativeness"]


def test_every_score_is_that_of_its_function():
    codes, factors = _turned(_identity())[::3], FACTORS[::3]
    scores = disentanglement_scores(codes, factors, scores="all", seed=3)
    assert list(scores) == FAST + SLOW
    assert scores["factor_vae"] == factor_vae_score(codes, factors, seed=3)
    assert scores["factor_vae_kim_mnih"] == factor_vae_score(
        codes, factors, protocol="kim_mnih", seed=3
    )
    assert scores["beta_vae"] == beta_vae_score(codes, factors, seed=3)
    assert scores["mig"] == mutual_information_gap(codes, factors)
    assert scores["sap"] == sap_score(codes, factors, seed=3)
    assert scores["dci_completeness"] == dci(codes, factors, seed=3).completeness
    assert disentanglement_scores(codes, factors, scores="none") == {}
    with pytest.raises(ArgumentError, match="'none', 'fast' or 'all', got 'some'"):
        disentanglement_scores(codes, factors, scores="some")  # type: ignore[arg-type]


def test_a_single_factor_has_no_score_that_asks_which_factor_it_is():
    codes, factors = _identity()[::3], FACTORS[::3, :1]
    assert list(disentanglement_scores(codes, factors)) == ["mig", "sap"]
    assert list(disentanglement_scores(codes, factors, scores="all")) == [
        "mig", "sap", "dci_completeness", "dci_informativeness",
    ]  # fmt: skip


# --- a model and a data set -----------------------------------------------------------------------


def _model() -> JointVAE:
    return JointVAE((1, 16, 16), {"cont": 3, "disc": [4, 3]}).eval()


def _squares(factors: np.ndarray | None = None) -> ImageData:
    """A bright 8x8 square in one of 4 x 4 places, of one of 5 brightnesses."""
    places = np.indices((4, 4, 5)).reshape(3, -1).T.copy()
    pixels = np.zeros((len(places), 1, 16, 16), dtype=np.uint8)
    for image, (row, column, light) in zip(pixels, places, strict=True):
        image[0, 2 * row : 2 * row + 8, 2 * column : 2 * column + 8] = 50 * light + 55
    chosen = torch.from_numpy(places if factors is None else factors)
    return ImageData("squares", torch.from_numpy(pixels), factors=chosen)


def test_a_model_is_scored_by_its_means_its_categories_and_its_kl():
    model, data = _model(), _squares()
    encoding = metrics.encode(model, data.images)
    expected = disentanglement_scores(
        encoding.codes, data.factors, discrete=encoding.discrete, kl=encoding.kl, seed=1
    )
    assert score_model(model, data, seed=1) == expected
    with pytest.raises(ArgumentError, match="squares has none"):
        score_model(model, ImageData("squares", data.images))


def test_the_arrays_of_all_scores_are_checked_once(monkeypatch: pytest.MonkeyPatch):
    calls = []

    def counted(*arrays: Any) -> _items.Items:
        calls.append(arrays)
        return check(*arrays)

    check = _items.check_items
    for name, module in sys.modules.items():
        if name.startswith("fastjvae.metrics.") and hasattr(module, "check_items"):
            monkeypatch.setattr(module, "check_items", counted)
    assert list(score_model(_model(), _squares(), scores="all")) == FAST + SLOW
    assert len(calls) == 1


def test_an_evaluation_has_the_scores_where_there_are_factors():
    model, data = _model(), _squares()
    evaluation = evaluate(model, data)
    assert evaluation.scores == score_model(model, data)
    assert evaluation.to_dict()["scores"] == evaluation.scores
    assert f"{evaluation.scores['mig']:.4f}  MIG" in evaluation.table()
    assert list(evaluate(model, data, scores="all").scores or {}) == FAST + SLOW
    for without in (
        evaluate(model, data, scores="none"),
        evaluate(model, ImageData("squares", data.images)),
    ):
        assert without.scores is None
        assert without.no_scores is None
        assert "MIG" not in without.table()


def test_an_evaluation_says_why_it_has_no_scores():
    model = _model()
    evaluation = evaluate(model, _squares(np.ones((80, 2), dtype=np.int64)))
    assert evaluation.scores is None
    assert "scores: n/a, at least 1 factor must have 2 different values" in evaluation.table()
    with torch.no_grad():
        model.encoder.head.bias.fill_(math.nan)  # type: ignore[union-attr]
    assert "codes must be finite" in str(evaluate(model, _squares()).no_scores)


def test_the_command_line_takes_which_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    from fastjvae.cli import main

    data = _squares()
    assert data.factors is not None
    file = tmp_path / "squares.npz"
    np.savez(file, images=data.images.numpy(), factors=data.factors.numpy())
    _model().save_pretrained(tmp_path / "model")
    command = ["evaluate", str(tmp_path / "model"), "arrays", "--data-root", str(file)]
    assert main(command) == 0
    assert "Kim & Mnih, as in disentanglement_lib" in capsys.readouterr().out
    assert main([*command, "--scores", "none"]) == 0
    assert "Kim & Mnih" not in capsys.readouterr().out
    monkeypatch.setattr("fastjvae.metrics.evaluation.disentanglement_scores", _only_which)
    assert main([*command, "--scores", "all"]) == 0
    assert "1.0000  DCI completeness" in capsys.readouterr().out


def _only_which(*args: Any, scores: str, **named: Any) -> dict[str, float]:
    return {"dci_completeness": 1.0} if scores == "all" else {}
