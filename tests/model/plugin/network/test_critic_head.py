"""The critic's pooler returns the logits at the requested indices, however a prompt is divided."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from vllm.pooling_params import PoolingParams
from vllm.v1.pool.metadata import PoolingMetadata, PoolingStates

from model.plugin.architectures import CRITIC_TASK
from model.plugin.network.critic_head import InternVLCritic, TokenLogitsPooler

HIDDEN = 4
HEAD_VD = torch.arange(40, dtype=torch.float32).reshape(10, HIDDEN)


@pytest.fixture
def pooler() -> TokenLogitsPooler:
    return TokenLogitsPooler(lambda hidden_KD, token_ids: hidden_KD @ HEAD_VD[list(token_ids)].T)


def pooling_params(token_indices: list[int], token_ids: tuple[int, ...] = (3, 5)) -> PoolingParams:
    return PoolingParams(
        task=CRITIC_TASK, extra_kwargs={"token_indices": token_indices, "token_ids": list(token_ids)}
    )


class Engine:
    """A stand-in for the engine, which gives the pooler random hidden states of prompts step by step."""

    def __init__(self, pooler: TokenLogitsPooler, lengths: list[int], params: list[PoolingParams]) -> None:
        self.pooler, self.lengths, self.params = pooler, lengths, params
        self.states = [PoolingStates() for _ in lengths]
        random = torch.Generator().manual_seed(0)
        self.hidden = [torch.randn(length, HIDDEN, generator=random) for length in lengths]

    def step(self, begins: list[int], ends: list[int]) -> list[Any]:
        metadata = PoolingMetadata(
            prompt_lens=torch.tensor(self.lengths),
            prompt_token_ids=None,
            prompt_token_ids_cpu=None,
            pooling_params=self.params,
            pooling_states=self.states,
        )
        scheduled = np.array(ends) - np.array(begins)
        metadata.build_pooling_cursor(scheduled, torch.tensor(ends), device=torch.device("cpu"))
        spans = zip(self.hidden, begins, ends, strict=True)
        return self.pooler(torch.cat([hidden_TD[begin:end] for hidden_TD, begin, end in spans]), metadata)

    def expected(
        self, request: int, token_indices: list[int], token_ids: tuple[int, ...] = (3, 5)
    ) -> torch.Tensor:
        logits = self.hidden[request][token_indices] @ HEAD_VD[list(token_ids)].T
        return torch.cat([torch.tensor(token_indices)[:, None].float(), logits], dim=1)


def test_each_request_gets_its_indices_and_tokens(pooler: TokenLogitsPooler):
    engine = Engine(
        pooler, [6, 4, 5], [pooling_params([1, 5]), pooling_params([3], (9,)), pooling_params([0, 2, 4])]
    )
    first, second, third = engine.step([0, 0, 0], [6, 4, 5])
    torch.testing.assert_close(first, engine.expected(0, [1, 5]))
    torch.testing.assert_close(second, engine.expected(1, [3], (9,)))
    torch.testing.assert_close(third, engine.expected(2, [0, 2, 4]))


def test_rows_of_a_prompt_in_chunks_are_joined(pooler: TokenLogitsPooler):
    engine = Engine(pooler, [9, 3], [pooling_params([0, 3, 4, 8]), pooling_params([2])])
    assert engine.step([0, 0], [4, 2]) == [None, None]
    first, second = engine.step([4, 2], [6, 3])
    assert first is None
    torch.testing.assert_close(second, engine.expected(1, [2]))
    engine.states[1] = PoolingStates()
    last, _ = engine.step([6, 0], [9, 2])
    torch.testing.assert_close(last, engine.expected(0, [0, 3, 4, 8]))


def test_indices_in_the_cached_prefix_are_missing(pooler: TokenLogitsPooler):
    engine = Engine(pooler, [8], [pooling_params([2, 3, 7])])
    (only,) = engine.step([3], [8])
    torch.testing.assert_close(only, engine.expected(0, [3, 7]))
    (none,) = Engine(pooler, [8], [pooling_params([2])]).step([3], [8])
    assert none.shape == (0, 3)


def test_vllms_warm_up_names_no_indices(pooler: TokenLogitsPooler):
    (nothing,) = Engine(pooler, [2], [PoolingParams(task=CRITIC_TASK)]).step([0], [2])
    assert nothing.shape == (0, 1)


def test_each_rank_adds_the_rows_that_it_has(monkeypatch: pytest.MonkeyPatch):
    """Two ranks have half of the vocabulary each. The test adds their results, as all_reduce does."""
    monkeypatch.setattr(
        "model.plugin.network.critic_head.tensor_model_parallel_all_reduce", lambda partial: partial
    )
    hidden_KD = torch.randn(3, HIDDEN, generator=torch.Generator().manual_seed(1))

    def partial(first: int, end: int) -> torch.Tensor:
        shard = SimpleNamespace(org_vocab_start_index=first, org_vocab_end_index=end)
        head = SimpleNamespace(shard_indices=shard, weight=HEAD_VD[first:end])
        rank: Any = SimpleNamespace(language_model=SimpleNamespace(lm_head=head))
        return InternVLCritic.logits_of(rank, hidden_KD, [7, 2])

    expected = hidden_KD @ HEAD_VD[[7, 2]].T
    torch.testing.assert_close(partial(0, 10), expected)
    torch.testing.assert_close(partial(0, 5) + partial(5, 10), expected)
