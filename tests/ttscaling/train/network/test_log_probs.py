"""Chunks of logits change the memory, but not the values."""

import pytest
import torch
from torch import nn

from ttscaling.train.network.log_probs import target_log_probs, token_log_probs


@pytest.mark.parametrize("chunk", [1, 3, 10, 11])
def test_chunks_give_the_same_values_and_gradients(chunk: int) -> None:
    torch.manual_seed(0)
    head, target_S = nn.Linear(4, 7, bias=False), torch.randint(0, 7, (10,))
    results = []
    for of in (
        lambda h: token_log_probs(head(h), target_S),
        lambda h: target_log_probs(head, h, target_S, chunk=chunk),
    ):
        hidden_SD = torch.arange(40.0).reshape(10, 4).sin().requires_grad_()
        log_prob_S = of(hidden_SD)
        (log_prob_S * torch.arange(10)).sum().backward()
        assert hidden_SD.grad is not None and head.weight.grad is not None
        results.append((log_prob_S.detach(), hidden_SD.grad, head.weight.grad.clone()))
        head.zero_grad()
    torch.testing.assert_close(results[0], results[1])


def test_logits_are_computed_one_chunk_at_a_time() -> None:
    sizes: list[int] = []

    class Head(nn.Linear):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            sizes.append(len(hidden))
            return super().forward(hidden)

    target_log_probs(Head(4, 7), torch.randn(10, 4), torch.zeros(10, dtype=torch.int64), chunk=4)
    assert sizes == [4, 4, 2]


def test_no_targets_give_no_log_probabilities() -> None:
    hidden_SD = torch.zeros(0, 4, requires_grad=True)
    target_log_probs(nn.Linear(4, 7), hidden_SD, torch.zeros(0, dtype=torch.int64)).sum().backward()
    assert hidden_SD.grad is not None
