"""The last lines of a training, of models that hold much, little and nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from fastjvae.cli.summary import summary
from fastjvae.metrics.evaluation import Evaluation, Variable
from fastjvae.metrics.variables import Labelled
from fastjvae.training.infogan.settings import InfoGANConfig
from fastjvae.training.settings.for_images import for_images
from fastjvae.training.settings.recipes import recipe
from fastjvae.training.settings.run import RunConfig
from fastjvae.training.settings.train import TrainConfig

VARIABLE = Variable(
    kl=1.0,
    information=1.0,
    imbalance=0.0,
    shares=[0.5, 0.0, 0.5],
    unused=[1],
    accuracy_majority=0.875,
    accuracy_one_to_one=0.5,
)
EVALUATION = Evaluation(
    data="things",
    images=1_200,
    reconstruction=12.34,
    channel_reduction="mean",
    kl_cont=[0.25, 1.0, 0.26, 0.0],
    variables=[VARIABLE],
    mean_image=50.0,
)
PLAIN = TrainConfig("digits")


def lines(config: RunConfig = PLAIN, **changes: Any) -> list[str]:
    return summary(dataclasses.replace(EVALUATION, **changes), config).splitlines()


def test_three_lines_say_what_was_learned():
    assert lines() == [
        "types: c0 sorts the images into 2 of 3 categories; each named by its commonest label,"
        " 87.5% of 1,200 images have that label",
        "style: 2 of 4 continuous units hold what varies within a type, the most z1, z2",
        "pictures: the error of a reconstruction is 12.3 nats, that of the mean image 50.0",
    ]


def test_labels_that_training_saw_are_told():
    told = dataclasses.replace(VARIABLE, accuracy_labelled=0.75)
    labelled = Labelled(images=30, variable=0, names=["a", "b", "c"])
    assert lines(variables=[told], labelled=labelled)[0] == (
        "types: c0 sorts the images into 2 of 3 categories; 75.0% of 1,200 images are in that of"
        " their label, of which training saw 30 others"
    )


def test_what_a_recipe_assumes_stands_beside_its_number():
    assumed = " (assumed: neighbouring and moved images show the same type)"
    assert lines(recipe("digits"))[0] == lines()[0] + assumed
    neighbours = " (assumed: neighbouring images show the same type)"
    assert lines(for_images("images"))[0] == lines()[0] + neighbours
    assert lines(recipe("mnist"))[0] == lines()[0]
    assert lines(InfoGANConfig("digits"))[0] == lines()[0]


def test_the_variable_that_agrees_most_is_the_one_that_is_named():
    better = dataclasses.replace(VARIABLE, accuracy_majority=0.9, information=0.1)
    assert lines(variables=[VARIABLE, better])[0].startswith("types: c1 sorts")
    unlabelled = [dataclasses.replace(v, accuracy_majority=None) for v in (better, VARIABLE)]
    line = lines(variables=unlabelled)[0]
    assert line == "types: c1 sorts the images into 2 of 3 categories"


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        ({"variables": []}, "types: none, the model has no discrete variable"),
        (
            {"kl_cont": [0.2, 0.1]},
            "style: none, 0 of 2 continuous units hold more than 0.25 nats",
        ),
        (
            {"reconstruction": 50.1},
            "style: none yet, the pictures are no better than the mean image",
        ),
        ({"kl_cont": []}, "style: none, the model has no continuous units"),
        ({"mean_image": None}, "pictures: the error of a reconstruction is 12.3 nats"),
    ],
)
def test_models_without_one_of_them(changes: dict[str, Any], right: str):
    assert right in lines(**changes)
