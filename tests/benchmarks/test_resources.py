"""What the compiled kernels need, and the bytes that they move."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from conftest import ROOT
from examples import some
from versions import installed

pytest.importorskip("triton", reason="needs triton")
if installed("triton") < (3, 6):
    pytest.skip("its compiler for AMD needs ROCm's linker", allow_module_level=True)

TARGETS = [
    "sm_90", "gfx942", "sm_75", "sm_80", "sm_86", "sm_100", "sm_120", "gfx90a", "gfx1100",
]  # fmt: skip
# The kernels are compiled here for GPUs, so the interpreter of the other tests is off.
SURVEY = f"""
import json, sys
from dataclasses import asdict
from benchmarks.resources import survey
every_kernel = {{
    "joint_latent", "joint_loss", "bernoulli_reconstruction_rgb", "shared_loss", "random_affine",
    "gaussian_reconstruction", "joint_loss_gaussian",
    "record_row", "encoder", "decoder", "gather_images",
}}
rows = survey(["mnist"], ["fp32"], {some(TARGETS, 2)}, every_kernel)
rows += survey(["mnist"], {some(["bf16", "fp16"])}, {some(["sm_80", "gfx942"])}, every_kernel)
rows += survey(["aligned"], ["fp32"], {some(["sm_90", "sm_75", "gfx942"])}, every_kernel)
rows += survey(["K=256"], ["fp32"], {some(["sm_90", "gfx90a"], 0)}, {{"shared_loss"}})
rows += survey(["chairs"], {some(["fp32", "bf16"])}, {some(["sm_90"])}, {{"shared_loss"}})
rows += survey(["aligned"], {some(["bf16", "fp32"], 0)}, {some(["sm_100"])}, {{"shared_loss"}})
rows += survey(["K=4096, shifted"], ["fp32"], {some(["sm_90", "gfx90a"], 0)})
print(json.dumps([{{**asdict(row), "complaint": row.complaint}} for row in rows]))
"""


def _run(script: str, **variables: str) -> Any:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | variables
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return _run(SURVEY)  # type: ignore[no-any-return]


def test_every_kernel_compiles_for_every_target(rows: list[dict[str, Any]]):
    kernels = {
        "latent_forward",
        "latent_backward",
        "column_sums",
        "joint_loss",
        "bias_relu",
        "relu_backward",
        "bias_gradients",
        "gather",
        "reconstruction_forward",
        "reconstruction_backward",
        "shared_joint",
        "shared_loss",
        "shared_backward",
        "random_affine",
        "record_row",
    }
    for target in some(TARGETS, 2):
        assert {row["kernel"] for row in rows if row["target"] == target} == kernels


def test_no_kernel_spills_or_needs_more_registers_than_its_budget(rows: list[dict[str, Any]]):
    assert not [row for row in rows if row["complaint"]]
    assert all(row["registers"] > 0 for row in rows)


def test_aligned_rows_move_128_bits_at_a_time(rows: list[dict[str, Any]]):
    wide = [row for row in rows if row["spec"] == "aligned" and "latent" in row["kernel"]]
    wide += [
        row
        for row in rows
        if "reconstruction_backward" in row["kernel"] and "FLAT" in row["configuration"]
    ]
    # The last layer's one channel, whose gradient is read and not written, is no such row.
    wide += [
        row
        for row in rows
        if row["kernel"] in ("bias_relu", "relu_backward") and "RELU" in row["configuration"]
    ]
    assert wide
    for row in wide:
        assert row["widest_load_bits"] == row["widest_store_bits"] == 128, row


WITHOUT_GRADIENT = {"random_affine", "record_row", "gather_images", "gather_images_rgb"}
# What is read again comes from the cache: the logits of an image's group, once for 16 rows of a
# joint distribution; that distribution, once for 8 images; and a pixel, as a neighbour of four.
# Partial joint distributions are as many bytes for 128 images as for 4,096. Biases and their
# gradients are float32 beside any features.
MOST_TRAFFIC = {
    "shared_loss": (16.0, 5.5),
    "random_affine": (2.1, 1.0),
    "encoder": (1.15, 1.15),
    "decoder": (1.15, 1.15),
}


def test_bytes_are_at_most_a_tenth_above_the_minimum():
    counted = _run(
        "import json; from benchmarks.operations.traffic import traffic;"
        f"print(json.dumps([traffic('mnist', dtype) for dtype in {some(['fp32', 'bf16'])}]))",
        TRITON_INTERPRET="1",
    )
    for operations in counted:
        assert set(operations) == {
            "gumbel_softmax", "gaussian_rsample", "kl_capacity_loss", "joint_latent",
            "bernoulli_reconstruction", "bernoulli_reconstruction_rgb", "joint_loss",
            "gaussian_reconstruction", "joint_loss_gaussian",
            "shared_loss", "random_affine", "record_row", "encoder", "decoder", "gather_images",
            "gather_images_rgb",
        }  # fmt: skip
        for name, ratios in operations.items():
            forward, backward = MOST_TRAFFIC.get(name, (1.1, 1.1))
            assert 1 <= ratios["forward_to_minimum"] <= forward, (name, ratios)
            if name not in WITHOUT_GRADIENT:
                assert 1 <= ratios["backward_to_minimum"] <= backward, (name, ratios)
    reconstruction = counted[0]["bernoulli_reconstruction"]
    per_element = (reconstruction["forward_bytes"] + reconstruction["backward_bytes"]) / 1024
    assert per_element <= 1.1 * 14  # fp32 logits and uint8 targets twice, fp32 gradient once
