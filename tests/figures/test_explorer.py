"""The explorer's page as Python writes it; test_explorer_in_browser.py has what it does."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fastjvae import JointVAE
from fastjvae.errors import ArgumentError
from fastjvae.figures import explorer_page
from fastjvae.metrics.effect import effect_on_samples

SPEC = {"cont": 3, "disc": [4, 2]}


def small(**changes: Any) -> JointVAE:
    return JointVAE(**{"img_size": (1, 16, 16), "latent_spec": SPEC, **changes}).eval()


def facts_of(page: str) -> dict[str, Any]:
    facts = re.search(r'<script type="application/json" id="facts">(.*?)</script>', page)
    assert facts is not None
    content: dict[str, Any] = json.loads(facts[1])
    return content


@pytest.mark.parametrize(
    ("img_size", "spec", "most"),
    [
        ((1, 32, 32), {"cont": 10, "disc": [10]}, 2_000_000),
        ((3, 64, 64), {"cont": 32, "disc": [10]}, 2_500_000),
    ],
)
def test_a_page_is_small(img_size: tuple[int, int, int], spec: dict[str, Any], most: int):
    known = {"effect_cont": [0.1] * spec["cont"], "variables": [{"effect": 0.1}]}
    assert len(explorer_page(JointVAE(img_size, spec), known).encode()) <= most


def test_nothing_in_a_page_is_fetched_and_only_its_own_script_may_run():
    page = explorer_page(small(), title="digits")
    assert re.findall(r"https?:|@import|url\(|//[a-z]+\.[a-z]", page) == []
    assert re.findall(r'(?:src|href)="(?!data:,")', page) == []
    policy = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none';")
    assert "unsafe" not in policy[1]
    for tag in ('<script type="module">', "<style>"):
        content = page.split(tag)[1].split(f"</{tag[1:].split()[0].rstrip('>')}>")[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]
        assert (
            re.findall(r"eval\(|innerHTML|outerHTML|insertAdjacent|document\.write", content) == []
        )


def test_what_an_evaluation_knows_is_in_the_page():
    evaluation = {
        "data": "squares/test",
        "kl_cont": [0.1, 2.0, None],
        "effect_cont": [0.01, 0.2, 0.5],
        "variables": [
            {
                "kl": 1.2,
                "effect": 0.3,
                "shares": [0.5, 0.5, 0.0, 0.0],
                "names": ["a", "b", None, None],
            },
            {"kl": 0.2, "effect": 0.1, "shares": [0.25, 0.75], "names": None},
        ],
    }
    facts = facts_of(explorer_page(small(), evaluation, title="run"))
    assert facts["units"] == [
        {"unit": 2, "kl": None, "effect": 0.5},
        {"unit": 1, "kl": 2.0, "effect": 0.2},
        {"unit": 0, "kl": 0.1, "effect": 0.01},
    ]
    first, second = facts["variables"]
    assert first["categories"][0] == {"share": 0.5, "name": "a"}
    assert first["categories"][3] == {"share": 0.0, "name": None}
    assert second["categories"][1] == {"share": 0.75, "name": None}
    assert (facts["name"], facts["data"]) == ("run", "squares/test")


def test_without_an_evaluation_units_come_by_their_effect_on_samples():
    model = small()
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(2)
        model.decoder.latent_to_features[0].weight[:, 1].mul_(9)
    facts = facts_of(explorer_page(model))
    effects = effect_on_samples(model)
    assert [each["unit"] for each in facts["units"]] == np.argsort(-np.array(effects.cont)).tolist()
    assert facts["units"][0]["unit"] == 1
    assert [each["effect"] for each in facts["variables"]] == effects.disc
    assert {each["kl"] for each in (*facts["units"], *facts["variables"])} == {None}
    assert facts["variables"][0]["categories"] == [{"share": None, "name": None}] * 4
    assert [len(facts["values"]), facts["values"][4]] == [9, 0.0]
    assert facts["values"][-1] == pytest.approx(1.6449, abs=1e-4)


def test_the_range_of_units_can_be_given():
    assert facts_of(explorer_page(small(), span=(2, -2)))["values"] == [*np.linspace(2, -2, 9)]
    with pytest.raises(ArgumentError, match="two different numbers"):
        explorer_page(small(), span=(1, 1))


def test_names_cannot_end_the_elements_that_they_stand_in():
    evil = "</script><script>alert(1)</script>"
    evaluation = {"variables": [{"names": [evil, *"bcd"]}, {}]}
    page = explorer_page(small(), evaluation, title=evil)
    assert page.count("</script>") == 4
    assert facts_of(page)["variables"][0]["categories"][0]["name"] == evil
    assert facts_of(page)["name"] == evil


class Flat(nn.Module):
    """An encoder of somebody's own."""

    def __init__(self, params: int) -> None:
        super().__init__()
        self.layer = nn.Linear(256, params)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layer(images.flatten(1))
        return result


def test_models_that_a_page_cannot_run_are_refused():
    with pytest.raises(ArgumentError, match="its own, Flat and Decoder"):
        explorer_page(small(encoder=Flat(12)))
    with pytest.raises(ArgumentError, match=r"1 channel \(grey\) or 3 \(RGB\), the model's have 2"):
        explorer_page(small(img_size=(2, 16, 16)))
    model = small()
    with torch.no_grad():
        model.encoder.head.bias[0] = 1e6
    with pytest.raises(ArgumentError, match="up to 65504, and this model has one of 1e\\+06"):
        explorer_page(model)


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        ({"variables": [{}]}, "of another model, with 1 discrete variables; this one has 2"),
        ({"kl_cont": [1.0]}, "kl_cont must hold one number per continuous unit"),
        ({"variables": [{"shares": [1.0]}, {}]}, "shares must hold"),
        (
            {"variables": [{"names": ["one"]}, {}]},
            "names must hold one name per category, 4, got 1",
        ),
    ],
)
def test_an_evaluation_of_another_model_is_refused(evaluation: dict[str, Any], message: str):
    with pytest.raises(ArgumentError, match=message):
        explorer_page(small(), evaluation)
