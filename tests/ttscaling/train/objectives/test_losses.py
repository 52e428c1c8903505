"""The loss terms, the weights of the three averages, and means over a global batch."""

import math

import pytest
import torch
import torch.nn.functional as F

from ttscaling.train.network.log_probs import token_log_probs
from ttscaling.train.objectives.losses import response_log_probs, scaled_loss, weighted_cross_entropy
from ttscaling.train.samples.sample import token_weight
from ttscaling.train.settings.recipe import Average


@pytest.mark.parametrize("length", [1, 4, 100])
def test_a_sample_of_l_tokens_counts_the_square_root_of_l(length: int) -> None:
    assert length * token_weight(length, "square") == pytest.approx(math.sqrt(length))


def test_a_sample_without_supervised_tokens_divides_by_nothing() -> None:
    assert token_weight(0, "square") == 1


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


@pytest.mark.parametrize("length", [1, 4, 100])
@pytest.mark.parametrize(("average", "power"), [("token", 0.0), ("square", 0.5), ("sample", 1.0)])
def test_weights_of_the_three_averages(average: Average, power: float, length: int) -> None:
    """The weights are 1 / l^0, 1 / l^0.5 and 1 / l (InternVL3 section 2.2)."""
    assert token_weight(length, average) == pytest.approx(1 / length**power)
    assert token_weight(0, average) == 1


def test_an_average_over_processes_and_micro_batches_is_that_of_all_tokens() -> None:
    """The losses of two processes with two micro-batches each average to one global mean."""
    torch.manual_seed(0)
    losses = [torch.rand(n, dtype=torch.float64) for n in (3, 50, 7, 1)]
    weights = [torch.rand(n, dtype=torch.float64) for n in (3, 50, 7, 1)]
    micro_batches_of_processes = [(0, 1), (2, 3)]
    total_weight = torch.cat(weights).sum()
    averaged = torch.zeros((), dtype=torch.float64)
    for micro_batches in micro_batches_of_processes:
        for i in micro_batches:
            share = scaled_loss((losses[i] * weights[i]).sum(), total_weight, num_processes=2)
            averaged += share / 2  # as DDP averages gradients
    expected = (torch.cat(losses) * torch.cat(weights)).sum() / torch.cat(weights).sum()
    torch.testing.assert_close(averaged, expected)


def test_log_probabilities_are_summed_by_response() -> None:
    log_prob_S = torch.tensor([-1.0, -2.0, -4.0, -8.0], requires_grad=True)
    sum_R, length_R = response_log_probs(log_prob_S, torch.tensor([1, 0, 1, 3]), 4)
    assert sum_R.tolist() == [-2, -5, 0, -8]
    assert length_R.tolist() == [1, 2, 0, 1]
    sum_R[1].backward()
    assert log_prob_S.grad is not None
    assert log_prob_S.grad.tolist() == [1, 0, 1, 0]


def test_token_log_probs_are_those_of_the_softmax() -> None:
    logits_SV = torch.tensor([[0.0, math.log(3)], [5.0, 5.0]])
    expected = torch.tensor([math.log(0.75), math.log(0.5)])
    torch.testing.assert_close(token_log_probs(logits_SV, torch.tensor([1, 0])), expected)
