import pytest
import torch
from torch import nn

from export.gate.rounding import LARGEST, rounding_of, with_rounding
from export.tolerance import float16_tolerance, golden_tolerance
from pipelines.session import CPU


def test_a_network_that_amplifies_rounding_is_measured():
    class Cancels(nn.Module):
        def forward(self, x):
            return (x + 1e4) - 1e4  # float32 has 1e-3 there

    assert 1e-5 < rounding_of(Cancels(), [torch.rand(2, 3, generator=torch.Generator().manual_seed(0))]) < 1e-3


def test_what_computes_exactly_has_no_rounding():
    assert rounding_of(nn.Identity(), [torch.rand(2, 3)]) == 0.0


def test_more_is_allowed_with_the_measured_figure_as_reason_and_never_less():
    plain = golden_tolerance(reason="plain")
    wider = with_rounding(plain, 0.01)
    assert wider.raw[CPU].atol == pytest.approx(0.04)
    assert "these random weights move by 1.0e-02" in wider.reason
    assert with_rounding(plain, 1e-9) == plain


def test_a_large_rounding_hides_no_fault():
    assert with_rounding(golden_tolerance(reason="plain"), 100.0).raw[CPU].atol == LARGEST["fp32"]


def test_float16_is_allowed_what_its_fewer_bits_make_of_the_rounding():
    half = float16_tolerance(golden_tolerance(reason="plain"))
    assert with_rounding(half, 1e-5, precision="fp16").raw[CPU].atol == pytest.approx(4e-5 * 2**13)
    assert with_rounding(half, 1e-6, precision="fp16") == half
    assert with_rounding(half, 1.0, precision="fp16").raw[CPU].atol == LARGEST["fp16"]
