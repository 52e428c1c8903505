"""Reading a critic's labels from a vLLM engine."""

from collections.abc import Mapping, Sequence
from typing import Any

from vllm import SamplingParams
from vllm.engine.protocol import EngineClient
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.renderers.online_renderer import OnlineRenderer
from vllm.sampling_params import RequestOutputKind
from vllm.utils import random_uuid

from ttscaling.critic import MINUS, PLUS
from ttscaling.types import CriticError, Message

from .critic import Reading


async def read_labels(
    client: EngineClient,
    renderer: OnlineRenderer,
    labels: tuple[int, int],
    messages: Sequence[Message],
    vision: Mapping[str, Any],
) -> Reading:
    """`critic.Read` on a vLLM engine: one greedy token with the log-probabilities of the two label ids (+,
    -).
    """
    request = ChatCompletionRequest(messages=list(messages), mm_processor_kwargs=dict(vision) or None)
    rendered = await renderer.render_chat(request)
    if isinstance(rendered, ErrorResponse):
        raise CriticError(rendered.error.message)
    _, (prompt,) = rendered
    params = SamplingParams(
        max_tokens=1,
        temperature=0.0,
        logprob_token_ids=list(labels),
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
    async for output in client.generate(prompt, params, f"judge-{random_uuid()}"):
        logprobs = output.outputs[0].logprobs
        if not logprobs:
            raise CriticError(f"the critic ended with {output.outputs[0].finish_reason}, unread")
        plus, minus = (logprobs[0][label].logprob for label in labels)
        return Reading(
            plus=plus,
            minus=minus,
            prompt_tokens=len(output.prompt_token_ids),
            cached_tokens=output.num_cached_tokens or 0,
        )
    raise CriticError("the critic's engine returned nothing")


def label_ids(renderer: OnlineRenderer) -> tuple[int, int]:
    """Token ids of '+' and '-'; raises ValueError where the critic's tokenizer splits them."""
    tokenizer = renderer.renderer.get_tokenizer()
    found = [tokenizer.encode(label, add_special_tokens=False) for label in (PLUS, MINUS)]
    if any(len(ids) != 1 for ids in found):
        raise ValueError("the critic's tokenizer has no single token for each of '+' and '-'")
    return found[0][0], found[1][0]
