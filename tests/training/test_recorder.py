from __future__ import annotations

import pytest
import torch

from fastjvae import JointVAE
from fastjvae.functional import category_imbalance
from fastjvae.training.recorder import loss_numbers, loss_recorder


@pytest.mark.parametrize("spec", [{"cont": 3, "disc": [4, 2]}, {"cont": 3}, {"disc": [4]}])
def test_a_record_is_the_mean_of_the_steps(spec: dict):
    model = JointVAE((1, 16, 16), spec)
    recorder = loss_recorder(model.spec)
    outs = [model.loss(torch.rand(6, 1, 16, 16), step) for step in (1, 500)]
    for out in outs:
        recorder.append(loss_numbers(out), factors={"loss": model.num_pixels})
    rows = recorder.read()
    assert rows.shape == (2, len(recorder.names))
    record = recorder.record(rows)

    def mean(values: list[torch.Tensor]) -> object:
        return pytest.approx(torch.stack(values).mean(dim=0).detach().tolist(), rel=1e-5, abs=1e-7)

    assert record["loss"] == mean([out.loss * 256 for out in outs])
    for name in ("reconstruction", "kl_cont", "kl_disc", "category_mean", "capacity_disc"):
        assert record[name] == mean([getattr(out, name) for out in outs])
    assert record["information"] == mean(
        [out.kl_disc - category_imbalance(out.category_mean, model.spec) for out in outs]
    )
    recorder.clear()
    assert len(recorder.read()) == 0
    recorder.restore(rows, torch.device("cpu"))
    assert torch.equal(recorder.read(), rows)


def test_extra_scalars_are_columns_of_their_own():
    model = JointVAE((1, 16, 16), {"cont": 2})
    recorder = loss_recorder(model.spec)
    out = model.loss(torch.rand(2, 1, 16, 16), 1)
    out = out._replace(extra={"b": torch.tensor(2.0), "a": torch.tensor(1.0)})
    recorder.append(loss_numbers(out))
    record = recorder.record(recorder.read())
    assert (record["a"], record["b"]) == (1.0, 2.0)
    assert recorder.names[4:] == ["a", "b", "kl_cont[0]", "kl_cont[1]"]
    assert len(record["kl_cont"]) == 2


def test_the_oldest_rows_go_first():
    model = JointVAE((1, 16, 16), {"cont": 2})
    recorder = loss_recorder(model.spec, rows=3)
    numbers = loss_numbers(model.loss(torch.rand(2, 1, 16, 16), 1))
    for step in range(8):
        recorder.append({**numbers, "reconstruction": torch.tensor(float(step))})
    assert recorder.read()[:, 1].tolist() == [5.0, 6.0, 7.0]
    recorder.forget(7)
    recorder.append({**numbers, "reconstruction": torch.tensor(9.0)})
    assert recorder.read()[:, 1].tolist() == [5.0, 6.0, 9.0]
