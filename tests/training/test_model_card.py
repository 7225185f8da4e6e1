from __future__ import annotations

import sys
from pathlib import Path

import pytest
from torch import nn

from fastjvae import JointVAE
from fastjvae.training.model_card import model_card
from fastjvae.training.run_folder import RunFolder

_NETS = """
from torch import nn


class Encoder(nn.Sequential):
    def __init__(self, num_params, mark):
        super().__init__(nn.Flatten(), nn.LazyLinear(num_params))
"""


def test_own_networks_are_named_with_how_to_give_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nets_of_card.py").write_text(_NETS)
    monkeypatch.syspath_prepend(tmp_path)
    decoder = nn.Sequential(nn.Linear(2, 16), nn.Unflatten(1, (1, 4, 4)))
    model = JointVAE(
        (1, 4, 4), {"cont": 2}, encoder="nets_of_card:Encoder", encoder_args={"mark": "a|b"},
        decoder=decoder,
    )  # fmt: skip
    monkeypatch.delitem(sys.modules, "nets_of_card")
    card = model_card(model, RunFolder(tmp_path), None, name="own", repository="me/own")
    assert (
        'fastjvae.load("me/own", hub=True, encoder="nets_of_card:Encoder", decoder=decoder)' in card
    )
    assert (
        '| its own encoder | {"import": "nets\\_of\\_card:Encoder", "args": {"mark": "a\\|b"}} |'
        in card
    )
    assert "| its own decoder | {" in card
    assert "The code of its own networks is not in this repository." in card


def test_without_own_networks_nothing_is_said_of_them(tmp_path: Path) -> None:
    card = model_card(JointVAE((1, 16, 16), {"cont": 2}), RunFolder(tmp_path), None, name="a\nb")
    assert 'fastjvae.load("USER/a\\nb", hub=True)' in card
    assert "# a b\n" in card
    assert "own" not in card.replace("known", "")
