"""InternVL3 as a process reward model: logits of a few tokens at a few places of a prompt.

vLLM's token-wise pooling returns a row for every token of a prompt, and so may never read the prefix cache:
all candidates of a question would compute its image again. Here a request names its places, and the answer
holds those that were really computed. Whoever asks knows which are missing (they were in the cached prefix),
and a place at the prompt's end never is. Upstream: vllm `model_executor/layers/pooler/tokwise/methods.py`.
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
    """Reads logits where each request asks for them, chunk by chunk of its prompt.

    A request's `PoolingParams.extra_kwargs` holds `token_indices` (indices into the prompt, each once) and
    `token_ids`. It gets one float32 row for every place that was computed: the place, then those tokens'
    logits.
    """

    def __init__(self, logits: Logits) -> None:
        """`logits`: of hidden states (K, hidden), those of some tokens (K, tokens), float32."""
        super().__init__()
        self._logits = logits

    def get_supported_tasks(self) -> Set[PoolingTask]:
        return {CRITIC_TASK}

    def forward(
        self, hidden_states: torch.Tensor, pooling_metadata: PoolingMetadata
    ) -> list[torch.Tensor | None]:
        """Rows of each request whose prompt is computed to its end; None for the others.

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
            asked = params.extra_kwargs or {"token_indices": (), "token_ids": ()}  # nothing in vLLM's warm-up
            begin = end - length
            here = [token_index for token_index in asked["token_indices"] if begin <= token_index < end]
            hidden_TD = hidden_states[offset : offset + length]
            state.hidden_states_cache.append(self._rows(hidden_TD, begin, here, asked["token_ids"]))
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
    """The same checkpoints and weights as `InternVLModel`, for vLLM's pooling runner."""

    is_pooling_model = True

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        """Raises ValueError where single rows of the output head can't be had: it is quantised."""
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        head = self.language_model.lm_head
        if not isinstance(head, PPMissingLayer) and not isinstance(
            head.quant_method, UnquantizedEmbeddingMethod
        ):
            raise ValueError("a critic's output head must not be quantised: quantise all but lm_head")
        self.pooler = TokenLogitsPooler(self.logits_of)

    def logits_of(self, hidden_KD: torch.Tensor, token_ids: Sequence[int]) -> torch.Tensor:
        """Logits (K, tokens), float32, of these tokens alone: their rows of the output head, no others.

        With tensor parallelism each rank has some rows; what it lacks it takes for 0, and the ranks add up.
        """
        head: Any = self.language_model.lm_head
        first, end = head.shard_indices.org_vocab_start_index, head.shard_indices.org_vocab_end_index
        token_R = torch.tensor(token_ids, device=hidden_KD.device)
        own_R = (token_R >= first) & (token_R < end)
        weight_RD = head.weight[torch.where(own_R, token_R - first, 0)].float() * own_R[:, None]
        return tensor_model_parallel_all_reduce(hidden_KD.float() @ weight_RD.T)
