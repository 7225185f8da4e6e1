from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fastjvae import JointVAE, __version__
from fastjvae.errors import ArgumentError
from fastjvae.model import onnx_files
from fastjvae.model.onnx_files import save_onnx

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")


def session(path: Path) -> Any:
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    return runtime.InferenceSession(path, providers=["CPUExecutionProvider"])


def names(tensors: Any) -> list[str]:
    return [tensor.name for tensor in tensors]


class Exported(NamedTuple):
    model: JointVAE
    folder: Path
    difference: float | None


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A float64 model in training, and both its files in a folder that was made for them."""
    folder = tmp_path_factory.mktemp("onnx") / "new"
    model = JointVAE((1, 32, 32), {"cont": 3, "disc": [4, 2]}).double()
    return Exported(model, folder, save_onnx(model, folder))


@pytest.mark.parametrize("scale", [0.5, "learned"])
def test_a_gaussian_model_takes_and_gives_images_in_its_range(tmp_path: Path, scale: Any) -> None:
    like: dict[str, Any] = {"likelihood": "gaussian", "scale": scale, "value_range": (-1.0, 3.0)}
    model = JointVAE((1, 16, 16), {"cont": 2, "disc": [3]}, **like).eval()
    assert save_onnx(model, tmp_path) <= 1e-5
    encoder, decoder = (session(tmp_path / f"{name}.onnx") for name in ("encoder", "decoder"))
    images, sample = 4 * torch.rand(3, 1, 16, 16) - 1, model.prior_sample(3)
    mean = encoder.run(["mean"], {"images": images.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(mean), model.encode(images)["cont"][0])
    (decoded,) = decoder.run(None, {"sample": sample.numpy()})
    torch.testing.assert_close(torch.from_numpy(decoded), model.decode(sample))
    facts = encoder.get_modelmeta().custom_metadata_map
    assert json.loads(facts["value_range"]) == [-1.0, 3.0]


def assert_computes_the_same(model: JointVAE, folder: Path) -> None:
    """Both graphs of a float32 model in evaluation mode do, for batches of any size."""
    encoder, decoder = (session(folder / f"{name}.onnx") for name in ("encoder", "decoder"))
    for rows in (1, 2, 7):
        images = torch.rand(rows, *model.img_size)
        found = model.encode(images)
        wanted = [*found.get("cont", []), *found.get("disc", [])]
        outputs = encoder.run(None, {"images": images.numpy()})
        for right, output in zip(wanted, outputs, strict=True):
            torch.testing.assert_close(torch.from_numpy(output), right)
        sample = model.prior_sample(rows)
        (decoded,) = decoder.run(None, {"sample": sample.numpy()})
        torch.testing.assert_close(torch.from_numpy(decoded), model.decode(sample))


def test_both_graphs_are_the_model_in_float32(exported: Exported):
    model, folder, difference = exported
    assert (model.training, model.dtype) == (True, torch.float64)  # as it was
    assert_computes_the_same(copy.deepcopy(model).float().eval(), folder)
    assert difference is not None
    assert 0 < difference <= 1e-5


def test_the_files_say_what_they_are(exported: Exported):
    assert sorted(path.name for path in exported.folder.iterdir()) == [
        "decoder.onnx",
        "encoder.onnx",
    ]
    graphs = [onnx.load(exported.folder / f"{name}.onnx") for name in ("encoder", "decoder")]
    for each in graphs:
        onnx.checker.check_model(each, full_check=True)
        facts = {entry.key: entry.value for entry in each.metadata_props}
        assert facts["fastjvae"] == __version__
        assert json.loads(facts["latent_spec"]) == {"cont": 3, "disc": [4, 2]}
        assert json.loads(facts["img_size"]) == [1, 32, 32]
        for tensor in (*each.graph.input, *each.graph.output):
            assert tensor.type.tensor_type.shape.dim[0].dim_param == "batch"
            assert tensor.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        # What the layout of a CPU's steps would leave in the graph.
        assert not {"Gather", "Shape"} & {node.op_type for node in each.graph.node}
    encoder, decoder = (each.graph for each in graphs)
    assert names(encoder.input) == ["images"]
    assert names(encoder.output) == ["mean", "logvar", "alpha_0", "alpha_1"]
    assert (names(decoder.input), names(decoder.output)) == (["sample"], ["images"])


def test_a_part_that_the_model_lacks_has_no_output(tmp_path: Path):
    model = JointVAE((3, 16, 20), {"disc": [5]}).eval()
    save_onnx(model, tmp_path)
    assert names(session(tmp_path / "encoder.onnx").get_outputs()) == ["alpha_0"]
    assert_computes_the_same(model, tmp_path)


# --- own networks ---------------------------------------------------------------------------------

SIZE = (1, 12, 12)  # which the standard networks do not take


class Own(nn.Module):
    """With layers that compute something else in training."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 12 * 12, 2 * 2 + 3)

    def forward(self, images: Tensor) -> Tensor:
        features = images + self.norm(self.convolution(images)).relu()
        return self.head(nn.functional.dropout(features, 0.5, self.training).flatten(1))


class OfTwo(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.reshape(2, -1)[:, :7]


class Deciding(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        rows = images.flatten(1)[:, :7]
        return rows if images.numpy().sum() > 0 else -rows


class WithoutForm(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.linalg.eigvals(images[:, 0, :7, :7]).real


def own_model(encoder: nn.Module) -> JointVAE:
    decoder = nn.Sequential(nn.Linear(5, 144), nn.Unflatten(1, SIZE))
    return JointVAE(SIZE, {"cont": 2, "disc": [3]}, encoder=encoder, decoder=decoder)


def test_own_networks(tmp_path: Path):
    model = own_model(Own())
    model.encoder(torch.rand(8, *SIZE) * 3)  # so that the norm's statistics are some
    save_onnx(model, tmp_path)
    assert_computes_the_same(model.eval(), tmp_path)


@pytest.mark.parametrize(
    ("encoder", "sentence"),
    [
        (OfTwo(), r"torch\.export cannot follow the encoder \(OfTwo\) for batches of any size: "),
        (Deciding(), r"torch\.export cannot follow the encoder \(Deciding\) for batches of any"),
        (WithoutForm(), r"the encoder \(WithoutForm\) has no form in ONNX: .*linalg_eig"),
    ],
)
def test_own_networks_that_cannot_be_exported(tmp_path: Path, encoder: nn.Module, sentence: str):
    with pytest.raises(ArgumentError, match=sentence) as error:
        save_onnx(own_model(encoder), tmp_path / "new")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "new").exists()


# --- what may be missing or wrong -----------------------------------------------------------------


@pytest.mark.parametrize("library", ["onnx", "onnxscript"])
def test_without_the_extra(tmp_path: Path, library: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ArgumentError, match=r"need the extra: pip install 'fastjvae\[onnx\]'$"):
        save_onnx(JointVAE((1, 16, 16), {"cont": 2}), tmp_path)


@pytest.fixture
def _empty_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is exported, which takes seconds."""
    monkeypatch.setattr(onnx_files, "_graph", lambda *_: b"")


@pytest.mark.usefixtures("_empty_graphs")
def test_without_onnxruntime_nothing_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert save_onnx(JointVAE((1, 16, 16), {"cont": 2}), tmp_path) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decoder.onnx", "encoder.onnx"]


class Runtime(SimpleNamespace):
    """A stand-in for onnxruntime whose every output is one number; of it alone, or an error."""

    def __init__(self, answer: float | Exception) -> None:
        super().__init__(__version__="9.9", __spec__=SimpleNamespace())
        self.answer = answer

    def InferenceSession(self, content: bytes, providers: list[str]) -> Any:  # noqa: N802
        return self

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="images")]

    def run(self, outputs: None, inputs: dict[str, Any]) -> list[Any]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return [np.full((len(inputs["images"]), 2), self.answer, np.float32)] * 2


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (1e6, r"encoder\.onnx gives other numbers in onnxruntime 9\.9 .* differ by 1\.0e\+06"),
        (float("nan"), r"encoder\.onnx gives other numbers .* differ by nan"),
        (RuntimeError("no Conv\nat all"), r"onnxruntime 9\.9 cannot run encoder\.onnx: no Conv$"),
    ],
)
@pytest.mark.usefixtures("_empty_graphs")
def test_a_graph_that_computes_something_else_is_not_written(
    tmp_path: Path, answer: float | Exception, sentence: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "onnxruntime", Runtime(answer))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=sentence):
        save_onnx(JointVAE((1, 16, 16), {"cont": 2}), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_weights_that_no_file_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(onnx_files, "_LARGEST", 1000)
    with pytest.raises(ArgumentError, match=r"the encoder has [\d]+ bytes of weights, .* 1,000$"):
        save_onnx(JointVAE((1, 16, 16), {"cont": 2}), tmp_path)
