"""InternVL3 as a critic: the logits of a few tokens at a few indices of a prompt.

vLLM's token-wise pooling returns a row for every token of a prompt, so it can't use the prefix cache, and
each candidate of a question would compute the question's image again. Here a request names token indices, and
the output has rows for those that were computed. The caller can tell which rows are missing, because their
tokens were in the cached prefix. The row of a prompt's last token is never missing. Upstream: vllm
`model_executor/layers/pooler/tokwise/methods.py`.
"""

from collections.abc import Callable, Sequence, Set
from typing import Any

import torch
from vllm.config import VllmConfig
from vllm.distributed import tensor_model_parallel_all_reduce
from vllm.model_executor.layers.pooler import Pooler
from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod
from vllm.model_executor.models.utils import PPMissingLayer
from vllm.tasks import PoolingTask
from vllm.v1.pool.metadata import PoolingMetadata

from model.plugin.architectures import CRITIC_TASK

from .internvl import InternVLModel

Logits = Callable[[torch.Tensor, Sequence[int]], torch.Tensor]


class TokenLogitsPooler(Pooler):
    """A pooler that returns the logits of the tokens and at the indices that a request names.

    A request's `PoolingParams.extra_kwargs` holds `token_indices` (indices into the prompt, each once) and
    `token_ids`. The output has one float32 row for every index that was computed: the index, then the logits
    of those tokens. A prompt may be computed in several chunks.
    """

    def __init__(self, logits: Logits) -> None:
        """Keep `logits`, which turns hidden states (K, hidden) and token ids into float32 (K, tokens)."""
        super().__init__()
        self._logits = logits

    def get_supported_tasks(self) -> Set[PoolingTask]:
        return {CRITIC_TASK}

    def forward(
        self, hidden_states: torch.Tensor, pooling_metadata: PoolingMetadata
    ) -> list[torch.Tensor | None]:
        """Return the rows of each request whose prompt is now complete, and None for the others.

        Args:
            hidden_states: (tokens of all requests in this step, hidden).
        """
        cursor = pooling_metadata.get_pooling_cursor()
        outputs: list[torch.Tensor | None] = []
        offset = 0
        for params, state, length, end, finished in zip(
            pooling_metadata.pooling_params,
            pooling_metadata.pooling_states,
            cursor.num_scheduled_tokens_cpu.tolist(),
            cursor.seq_lens_cpu.tolist(),
            cursor.get_finished_mask(),
            strict=True,
        ):
            # vLLM's warm-up names neither indices nor tokens.
            request = params.extra_kwargs or {"token_indices": (), "token_ids": ()}
            begin = end - length
            in_chunk = [token_index for token_index in request["token_indices"] if begin <= token_index < end]
            hidden_TD = hidden_states[offset : offset + length]
            state.hidden_states_cache.append(self._rows(hidden_TD, begin, in_chunk, request["token_ids"]))
            outputs.append(torch.cat(state.hidden_states_cache) if finished else None)
            if finished:
                state.clean()
            offset += length
        return outputs

    def _rows(
        self, hidden_TD: torch.Tensor, begin: int, token_indices: Sequence[int], token_ids: Sequence[int]
    ) -> torch.Tensor:
        if not token_indices:
            return hidden_TD.new_empty((0, 1 + len(token_ids)), dtype=torch.float32)
        token_index_K = torch.tensor(token_indices, device=hidden_TD.device)
        return torch.cat(
            [token_index_K[:, None].float(), self._logits(hidden_TD[token_index_K - begin], token_ids)], dim=1
        )


class InternVLCritic(InternVLModel):
    """The model of `InternVLModel` with its checkpoints and weights, for vLLM's pooling runner."""

    is_pooling_model = True

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        """Build the model. Raises ValueError if its output head is quantised, which hides the head's rows."""
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        head = self.language_model.lm_head
        if not isinstance(head, PPMissingLayer) and not isinstance(
            head.quant_method, UnquantizedEmbeddingMethod
        ):
            raise ValueError(
                "a critic's output head must not be quantised: use a checkpoint whose lm_head isn't"
            )
        self.pooler = TokenLogitsPooler(self.logits_of)

    def logits_of(self, hidden_KD: torch.Tensor, token_ids: Sequence[int]) -> torch.Tensor:
        """Return the logits (K, tokens), float32, of these tokens, from their rows of the output head.

        With tensor parallelism each rank has some of the rows. It counts the others as 0, and the results of
        all ranks are added.
        """
        head: Any = self.language_model.lm_head
        first, end = head.shard_indices.org_vocab_start_index, head.shard_indices.org_vocab_end_index
        token_R = torch.tensor(token_ids, device=hidden_KD.device)
        own_R = (token_R >= first) & (token_R < end)
        weight_RD = head.weight[torch.where(own_R, token_R - first, 0)].float() * own_R[:, None]
        return tensor_model_parallel_all_reduce(hidden_KD.float() @ weight_RD.T)
