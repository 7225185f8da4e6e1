"""Writing a model as two ONNX graphs, which are compared with it in onnxruntime.

PyTorch's exporter of ``torch.export`` programs is taken, which needs onnxscript: the older one,
which needs it not, is deprecated since PyTorch 2.9 and announces its end.
"""

import json
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastjvae._numbers import shown
from fastjvae._version import __version__
from fastjvae.errors import ArgumentError, first_sentence
from fastjvae.files import write_bytes
from fastjvae.functional.latents import LatentSpec
from fastjvae.model.export import ImageDecoder, examples, to_export, traced
from fastjvae.model.jointvae import JointVAE

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
TOLERANCE = 1e-5  # of the values up to 1, and relative to larger ones

# What onnxruntime reads since 1.14, and the exporter writes without a conversion.
_OPSET = 18
_LARGEST = 2**31  # bytes of a file, which protobuf's numbers count
_CHECKED = (1, 5)  # sizes of batches; of one image libraries may drop a dimension


def save_onnx(model: JointVAE, directory: str | Path) -> float | None:
    """Write ``encoder.onnx`` and ``decoder.onnx``, float32 and for any batch size.

    ========  ==============================  ==================================================
    graph     input                           outputs
    ========  ==============================  ==================================================
    encoder   ``images`` (batch, C, H, W),    ``mean`` and ``logvar`` (batch, Z); ``alpha_0``,
              floats as the model takes them  ``alpha_1``, ... (batch, K), probabilities
    decoder   ``sample`` (batch, L):          ``images`` (batch, C, H, W), as
              means, then one-hot categories  :meth:`JointVAE.decode` returns them
    ========  ==============================  ==================================================

    Both files say in their metadata what they are of: ``fastjvae`` (its version) and, as JSON,
    ``img_size``, ``latent_spec`` and ``value_range``. Where onnxruntime is installed the graphs run
    there before they are written.

    Args:
        model: any; its own networks too, where torch.export can follow them.
        directory: made if it does not exist.

    Returns:
        The largest difference between the model and the graphs in onnxruntime, relative to values
        above 1; None where onnxruntime is not installed.

    Raises:
        ArgumentError: the ``onnx`` extra is missing, a network cannot be exported or is too large
            for a file, or a graph computes something else than the model.
        RunError: the folder cannot be written.
    """
    if any(find_spec(name) is None for name in ("onnx", "onnxscript")):
        raise ArgumentError("ONNX files need the extra: pip install 'fastjvae[onnx]'")
    directory = Path(directory)
    model = to_export(model).float().cpu()
    images, sample = examples(model)
    encoder, decoder = _LatentEncoder(model), ImageDecoder(model)
    made = {
        ENCODER: _graph(model, "encoder", encoder, images, "images", _outputs(model.spec)),
        DECODER: _graph(model, "decoder", decoder, sample, "sample", ["images"]),
    }
    differences = None
    if find_spec("onnxruntime") is not None:
        differences = [
            _difference(made[ENCODER], ENCODER, encoder, list(map(model.sample, _CHECKED))),
            _difference(made[DECODER], DECODER, decoder, list(map(model.prior_sample, _CHECKED))),
        ]
    for name, content in made.items():
        write_bytes(directory / name, content)
    return None if differences is None else max(differences)


class _LatentEncoder(nn.Module):
    """Images -> mean, logvar and the probabilities of each discrete variable, one after another."""

    def __init__(self, model: JointVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found = self.model.encode(images)
        return (*found.get("cont", ()), *found.get("disc", ()))


def _outputs(spec: LatentSpec) -> list[str]:
    cont = ["mean", "logvar"] if spec.cont else []
    return [*cont, *(f"alpha_{number}" for number in range(len(spec.disc)))]


def _graph(
    model: JointVAE,
    role: str,
    module: nn.Module,
    example: Tensor,
    of: str,
    outputs: Sequence[str],
) -> bytes:
    """The content of an ONNX file with the graph of a module; see :func:`save_onnx`."""
    network = getattr(model, role)
    size = sum(weights.nbytes for weights in network.state_dict().values())
    if size >= _LARGEST:
        raise ArgumentError(
            f"the {role} has {shown(size)} bytes of weights, and an ONNX file holds less than"
            f" {_LARGEST:,}"
        )
    program = traced(role, network, module, example)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what PyTorch's exporter itself calls
            made = torch.onnx.export(
                program,
                (example,),
                dynamo=True,
                input_names=[of],
                output_names=list(outputs),
                opset_version=_OPSET,
                verbose=False,
            )
    except Exception as error:  # of a network that anybody may have written
        reason = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise ArgumentError(
            f"the {role} ({type(network).__name__}) has no form in ONNX: {first_sentence(reason)}"
        ) from error
    assert made is not None
    proto = made.model_proto
    for tensor in (*proto.graph.input, *proto.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    facts = {
        "fastjvae": __version__,
        "img_size": json.dumps(model.img_size),
        "latent_spec": json.dumps(model.spec.to_dict()),
        "value_range": json.dumps(model.value_range),
    }
    for name, value in facts.items():
        proto.metadata_props.add(key=name, value=value)
    content: bytes = proto.SerializeToString()
    return content


def _difference(content: bytes, name: str, module: nn.Module, inputs: Sequence[Tensor]) -> float:
    """The largest difference between a graph in onnxruntime and the module that it is of.

    Raises:
        ArgumentError: onnxruntime cannot run it, or it computes something else.
    """
    import onnxruntime

    try:
        session: Any = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (argument,) = session.get_inputs()
        found = [session.run(None, {argument.name: each.numpy()}) for each in inputs]
    except Exception as error:  # classes of its own, which have no common base
        raise ArgumentError(
            f"onnxruntime {onnxruntime.__version__} cannot run {name}: {first_sentence(error)}"
        ) from error
    apart = []
    for batch, outputs in zip(inputs, found, strict=True):
        with torch.no_grad():
            wanted = module(batch)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        for right, output in zip(wanted, map(torch.from_numpy, outputs), strict=True):
            same = (output == right) | (output.isnan() & right.isnan())
            apart.append(((output - right) / right.abs().clamp_min(1)).abs().masked_fill(same, 0))
    largest = float(torch.cat([each.flatten() for each in apart]).max())  # NaN, if any is
    if not largest <= TOLERANCE:
        raise ArgumentError(
            f"{name} gives other numbers in onnxruntime {onnxruntime.__version__} than the model:"
            f" they differ by {largest:.1e}, at most {TOLERANCE:.0e} is rounding; nothing was"
            f" written"
        )
    return largest
