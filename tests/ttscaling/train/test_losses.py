"""The weights of square averaging and what they do to a loss."""

import math

import pytest
import torch
import torch.nn.functional as F

from ttscaling.train.losses import square_average_weight, weighted_cross_entropy


@pytest.mark.parametrize("length", [1, 4, 100])
def test_a_sample_of_l_tokens_counts_the_square_root_of_l(length: int) -> None:
    assert length * square_average_weight(length) == pytest.approx(math.sqrt(length))


def test_nothing_supervised_is_no_division_by_zero() -> None:
    assert square_average_weight(0) == 1


def test_weighted_cross_entropy_is_the_sum_of_weighted_token_losses() -> None:
    torch.manual_seed(0)
    logits_SV, target_S, weight_S = torch.randn(5, 7), torch.randint(0, 7, (5,)), torch.rand(5)
    each = torch.stack([F.cross_entropy(logits_SV[s], target_S[s]) for s in range(5)])
    expected = (each * weight_S).sum()
    torch.testing.assert_close(weighted_cross_entropy(logits_SV, target_S, weight_S), expected)


def test_a_position_of_weight_zero_has_no_gradient() -> None:
    logits_SV = torch.randn(2, 4, requires_grad=True)
    weighted_cross_entropy(logits_SV, torch.tensor([1, 2]), torch.tensor([0.0, 1.0])).backward()
    assert logits_SV.grad is not None
    assert not logits_SV.grad[0].any()
    assert logits_SV.grad[1].any()
