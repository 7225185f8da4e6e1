"""Names of the library are replaced wherever a module knows them, and come back."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="needs triton")

from benchmarks.stand_ins import KERNELS, kernels, replaced
from fastjvae.functional import joint
from fastjvae.functional.backends import choice


def test_a_name_is_replaced_in_every_module_that_knows_it():
    before = choice.use_triton
    with replaced("fastjvae.functional", use_triton="a stand-in"):
        assert choice.use_triton == joint.use_triton == "a stand-in"
    assert choice.use_triton is joint.use_triton is before


def test_a_name_that_nobody_knows_is_an_error():
    with (
        pytest.raises(LookupError, match="no module of fastjvae_kernels has no_kernel"),
        replaced(KERNELS, no_kernel=None),
    ):
        pass


def test_every_kernel_is_listed():
    assert kernels().keys() == {
        "bias_gradients_kernel", "bias_relu_kernel", "column_sums_kernel", "gather_kernel",
        "joint_loss_kernel", "latent_backward_kernel", "latent_forward_kernel",
        "random_affine_kernel", "reconstruction_backward_kernel", "reconstruction_forward_kernel",
        "record_row_kernel", "relu_backward_kernel", "shared_backward_kernel",
        "shared_joint_kernel", "shared_loss_kernel",
    }  # fmt: skip
