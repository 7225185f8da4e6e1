from __future__ import annotations

from typing import Any

import pytest

from fastjvae.errors import ArgumentError
from fastjvae.training.settings.recipes import recipe
from fastjvae.training.tuning.search import parse_search, suggested, words_of


class _Trial:
    """Stands for a trial of Optuna's: draws the first choice and the given share of a range."""

    def __init__(self, share: float = 0.0) -> None:
        self.share = share
        self.asked: list[tuple[Any, ...]] = []

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        self.asked.append((name, *choices))
        return choices[-1 if self.share else 0]

    def suggest_int(self, name: str, low: int, high: int, log: bool) -> int:
        self.asked.append((name, low, high, log))
        return low + round(self.share * (high - low))

    def suggest_float(self, name: str, low: float, high: float, log: bool) -> float:
        self.asked.append((name, low, high, log))
        return low + self.share * (high - low)


@pytest.mark.parametrize(
    ("word", "asked", "value"),
    [
        ("lr=1e-4..2e-3:log", ("lr", 1e-4, 2e-3, True), 1e-4),
        ("--cont-capacity.hi=5..50", ("cont_capacity.hi", 5.0, 50.0, False), 5.0),
        ("cont=2..20", ("cont", 2, 20, False), 2),
        ("batch_size=16..256:log", ("batch_size", 16, 256, True), 16),
        ("batch_size=32, 64", ("batch_size", "32", "64"), 32),
        ("disc=10,10x10,20", ("disc", "10", "10x10", "20"), (10,)),
        ("initialisation=torch,he", ("initialisation", "torch", "he"), "torch"),
        ("merge=true,false", ("merge", "true", "false"), True),
        ("types.lr=1e-4..1e-3", ("types.lr", 1e-4, 1e-3, False), 1e-4),
        ("style.cont-capacity.iters=10..90", ("style.cont_capacity.iters", 10, 90, False), 10),
        ("temperature=0.5", ("temperature", "0.5"), 0.5),
    ],
)
def test_what_is_searched(word: str, asked: tuple[Any, ...], value: Any):
    (searched,) = parse_search([word], ["types", "style"])
    trial = _Trial()
    assert searched.suggest(trial) == value
    assert type(searched.suggest(trial)) is type(value)
    assert trial.asked[0] == asked
    assert parse_search([str(searched)], ["types", "style"]) == (searched,)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["lr"], "NAME=A..B, NAME=A..B:log or NAME=A,B,C, such as .* got 'lr'"),
        (["lr="], "got 'lr='"),
        (["=1..2"], "got '=1..2'"),
        (["lear=1..2"], "there is no setting 'lear'"),
        (["batchsize=1,2"], r"no setting 'batchsize' \(did you mean batch_size\?\)"),
        (["type.lr=1e-3..1e-2"], r"\(did you mean types.lr\?\)"),
        (["types.cont=1..2"], "there is no setting 'types.cont'"),
        (["cont_capacity=1..2"], "has parts: name one of cont-capacity.lo, cont-capacity.hi"),
        (["seed=1..5"], "--seed cannot be searched, it is the same in all runs"),
        (["device=cpu,cuda"], "--device cannot be searched"),
        (["lr=2..1"], "a range goes from a smaller number to a larger one, got 'lr=2..1'"),
        (["lr=1..1"], "from a smaller number"),
        (["lr=0..1"], "--lr must be a finite number above 0, got 0.0"),
        (["cont=0..5:log"], "a range with :log begins above 0"),
        (["lr=1e-4..1e-3:lin"], "behind a range there may be :log, got :lin"),
        (["lr=1e-4,1e-3:log"], ":log is for a range"),
        (["lr=a..b"], "lr takes a number, got 'a'"),
        (["lr=nan,1"], "lr takes a number, got 'nan'"),
        (["cont=1.5..3"], "cont takes a whole number, got '1.5'"),
        (["disc=2..10"], "a range is for numbers, give values as disc=A,B"),
        (["objective=joint,jont"], "objective takes joint, beta, cc-beta, factor, beta-tc"),
        (["merge=yes,no"], "--merge must be true or false, got 'yes'"),
        (["lr=1e-3,1e-3"], "each value must be named once"),
        (["lr=1e-4..1e-3", "--lr=1,2"], "each setting once, got lr twice"),
        (["batch_size=0..10"], "--batch-size must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_searched(words: list[str], sentence: str):
    with pytest.raises(ArgumentError, match=sentence) as error:
        parse_search(words, ["types", "style"])
    assert "\n" not in str(error.value)


def test_numbers_are_such_as_one_would_type_and_stay_within_their_range():
    (searched,) = parse_search(["lr=0.00011111..0.00098889"])
    assert searched.suggest(_Trial(0.5)) == 0.00055
    assert searched.suggest(_Trial(0.0)) == 0.00011111
    assert searched.suggest(_Trial(1.0)) == 0.00098889


def test_settings_that_do_not_count_are_not_drawn():
    searched = parse_search(["beta=1..16:log", "objective=joint,beta", "lr=1e-4..1e-3"])
    config = recipe("mnist", "paper")
    assert suggested(searched, _Trial(0.0), config) == {"objective": "joint", "lr": 1e-4}
    assert suggested(searched, _Trial(1.0), config) == {
        "objective": "beta",
        "beta": 16.0,
        "lr": 1e-3,
    }


def test_words_of_a_command():
    assert words_of({"types.lr": 1e-4, "disc": (), "cont": 3, "merge": False}) == [
        "--types.lr", "0.0001", "--disc", "--cont", "3", "--no-merge",
    ]  # fmt: skip


def test_a_scale_is_a_number_or_a_word() -> None:
    (found,) = parse_search(["scale=0.01..1:log"])
    assert (found.low, found.high, found.log) == (0.01, 1.0, True)
    (found,) = parse_search(["scale=learned,0.1"])
    assert found.values == {"learned": "learned", "0.1": 0.1}
    with pytest.raises(ArgumentError, match="takes a number, got 'big'"):
        parse_search(["scale=big,0.1"])
