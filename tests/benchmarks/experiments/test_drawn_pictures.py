"""Folders of pictures that are drawn, and the settings of the experiments on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.experiments import drawn_pictures
from benchmarks.experiments.catalogue import EXPERIMENTS, OWN
from benchmarks.experiments.drawn_pictures import SETS, draw
from benchmarks.experiments.driver import Unit, config_of
from fastjvae.data import DataSource, load
from fastjvae.functional.latents import LatentSpec
from fastjvae.training.settings.for_images import Images, for_images


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_the_same_whenever_it_is_drawn(name: str) -> None:
    def first() -> list[tuple[str, bytes]]:
        drawn = SETS[name](np.random.default_rng(0))
        return [(kind, picture.tobytes()) for kind, picture in (next(drawn) for _ in range(40))]

    assert first() == first()
    assert len({kind for kind, _ in first()}) == {**OWN, "chairs": 3}[name]
    assert len({pixels for _, pixels in first()}) > 30


def test_experiments_have_the_settings_that_the_command_line_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTJVAE_RUNS", str(tmp_path))
    some = list(SETS["figures"](np.random.default_rng(0)))[:200]
    monkeypatch.setitem(drawn_pictures.SETS, "figures", lambda random: iter(some))
    config = config_of(Unit("own-figures", EXPERIMENTS["own-figures"], 3), None)
    root = tmp_path / "pictures" / "figures"
    made = for_images("images", Images(180, 32 * 32), LatentSpec(10, (3,)))
    assert (config.seed, config.data_root) == (3, str(root))
    assert config.phases == made.phases
    assert (config.steps, config.cont_capacity) == (made.steps, made.cont_capacity)
    assert draw("figures", tmp_path / "pictures") == root  # as it is
    assert len(load(DataSource("images", root=str(root), image_size=(32, 32)))) == 200
