"""A provider that computes something else than the reference is an error."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.training import agreement
from benchmarks.training.agreement import DisagreementError, check_agreement


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
