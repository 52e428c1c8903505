"""Reading a critic's labels: the label slot, and the prompts that the engine gets.

The engine here is a script with a prefix cache that the tests fill. test_critic_engine.py uses the real
engine.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from tokenizers import AddedToken
from transformers import AutoTokenizer

from model.checkpoint.internlm_tokenizer import register_tokenizers
from model.checkpoint.templates import chat_template
from server.engine_interface import ignore_tokens
from server.errors import ApiError
from server.vllm_engine.critic.label_reader import PoolingReader, find_label_slot, tag_ends
from tests.checkpoints import byte_tokenizer
from tests.qwen_tokenizer import ranks
from tests.sentencepiece_tokenizers import Kind, write_tokenizer
from ttscaling.critic_prompt import critic_prefixes
from ttscaling.types import Conversation, CriticError, TokenUsage

QUESTION = Conversation(messages=({"role": "user", "content": "How many?"},))
STEPS = ("First.", "Second.", "Third.")
PREFIXES = critic_prefixes(QUESTION, STEPS)
LABELS = (ord("+"), ord("-"))


class Renderer:
    """The part of vLLM's renderer that the reader uses: it turns messages into token ids."""

    def __init__(self, tokenizer: Any, template: str | None = None) -> None:
        self.tokenizer, self.template = tokenizer, template or chat_template("internvl2_5")
        self.with_tiles: list[bool] = []

    async def render_chat(self, request: Any, *, skip_mm_cache: bool = False) -> Any:
        self.with_tiles.append(skip_mm_cache)
        text = self.tokenizer.apply_chat_template(
            request.messages,
            chat_template=self.template,
            add_generation_prompt=request.add_generation_prompt,
            tokenize=False,
        )
        return [], [{"prompt_token_ids": self.tokenizer.encode(text, add_special_tokens=False)}]


class Client:
    """An engine that has the first `cached` tokens of every prompt in its cache, but never the last one."""

    def __init__(
        self, cached: int = 0, *, forgets: int = 0, gives_up: bool = False, hangs_on: int | None = None
    ) -> None:
        self.cached, self.forgets, self.gives_up, self.hangs_on = cached, forgets, gives_up, hangs_on
        self.aborted: dict[str, asyncio.Event] = {}
        self.requests: list[tuple[int, list[int]]] = []  # the prompt's length and the requested indices
        self.priorities: list[int] = []

    async def encode(
        self, prompt: Any, params: Any, request_id: str, *, priority: int
    ) -> AsyncGenerator[Any, None]:
        assert params.skip_reading_prefix_cache is False
        ids, token_indices = prompt["prompt_token_ids"], params.extra_kwargs["token_indices"]
        self.requests.append((len(ids), token_indices))
        self.priorities.append(priority)
        cached = min(self.cached, len(ids) - 1)
        computed = (
            [] if self.gives_up else [token_index for token_index in token_indices if token_index >= cached]
        )
        self.aborted[request_id] = asyncio.Event()
        if len(self.requests) == self.hangs_on:
            await self.aborted[request_id].wait()
            computed, cached = [], 0  # as vLLM answers an abort
        error = SimpleNamespace(retryable=True) if len(self.requests) <= self.forgets else None
        if error is not None:
            computed = []
        yield SimpleNamespace(
            error=error,
            outputs=SimpleNamespace(
                data=torch.tensor([[token_index, token_index, 0.0] for token_index in computed])
            ),
            prompt_token_ids=ids,
            num_cached_tokens=cached,
        )

    async def abort(self, request_id: str) -> None:
        self.aborted[request_id].set()


async def reader_of(client: Client, *, window: int = 1000) -> tuple[PoolingReader, list[int]]:
    """Return a reader on this client, and the token indices at which the prompts of PREFIXES end."""
    renderer: Any = Renderer(byte_tokenizer())
    reader = PoolingReader(client, renderer, await find_label_slot(renderer), window=window)
    rendered = [
        await renderer.render_chat(SimpleNamespace(messages=prefix, add_generation_prompt=True))
        for prefix in PREFIXES
    ]
    return reader, [len(prompt["prompt_token_ids"]) - 1 for _, (prompt,) in rendered]


async def test_the_slot_is_where_template_and_tokenizer_put_it():
    tokenizer = byte_tokenizer()
    slot = await find_label_slot(Renderer(tokenizer))
    assert tokenizer.decode(slot.tag) == "<|im_start|>assistant\n"
    assert [tokenizer.decode([label]) for label in slot.labels] == ["+", "-"]


async def test_the_labels_of_the_real_vocabulary_are_those_after_the_role_tag(qwen_tokenizer: Path):
    tokenizer = AutoTokenizer.from_pretrained(qwen_tokenizer)
    slot = await find_label_slot(Renderer(tokenizer))
    assert list(slot.tag) == [151644, 77091, 198]  # <|im_start|>, assistant, a line break
    assert list(slot.labels) == [ranks()[b"+"], ranks()[b"-"]]


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("dummy_prefix", [False, True])
async def test_the_labels_of_a_sentencepiece_tokenizer_are_those_within_a_text(
    kind: Kind, dummy_prefix: bool, tmp_path: Path
):
    """This tokenizer may encode a label alone as another token, with a space in front."""
    write_tokenizer(tmp_path / "tokenizer", kind, dummy_prefix=dummy_prefix)
    register_tokenizers()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    slot = await find_label_slot(Renderer(tokenizer))
    assert [tokenizer.decode([label]) for label in slot.labels] == ["+", "-"]


@pytest.mark.parametrize(
    ("joined", "template", "message"),
    [
        ("\n+", None, "joins"),
        ("-<|im_end|>", None, "no single token"),
        (None, "{% for message in messages %}{{ message.content }}{% endfor %}", "no role tag"),
    ],
)
async def test_what_gives_no_slot_is_refused(joined: str | None, template: str | None, message: str):
    tokenizer = byte_tokenizer()
    if joined is not None:
        tokenizer.add_tokens([AddedToken(joined, normalized=False)])
    with pytest.raises(ValueError, match=message):
        await find_label_slot(Renderer(tokenizer, template))


async def test_one_request_reads_all_requested_steps_and_ends_at_the_last():
    client = Client()
    reader, token_indices = await reader_of(client)
    counts: list[TokenUsage] = []
    labels = await reader(PREFIXES, [0, 1], QUESTION, counts.append)
    assert client.requests == [(token_indices[1] + 1, token_indices[:2])]
    assert labels == [(token_index, 0.0) for token_index in token_indices[:2]]
    assert counts == [TokenUsage(critic_prompt=token_indices[1] + 1)]


async def test_a_step_within_the_cached_prefix_is_read_by_a_prompt_that_ends_there():
    client = Client(cached=10_000)
    reader, token_indices = await reader_of(client)
    counts: list[TokenUsage] = []
    labels = await reader(PREFIXES, [0, 1, 2], QUESTION, counts.append)
    assert client.requests == [
        (token_indices[2] + 1, token_indices),
        (token_indices[0] + 1, token_indices[:1]),
        (token_indices[1] + 1, token_indices[1:2]),
    ]
    assert labels == [(token_index, 0.0) for token_index in token_indices]
    used = sum(counts, TokenUsage())
    assert used.critic_prompt - used.critic_cached == 1 + 1 + 1, (
        "the two short prompts and the long one's end"
    )


async def test_all_prompts_of_an_answer_have_the_priority_of_its_request():
    client = Client(cached=10_000)
    reader, _ = await reader_of(client)
    await reader(PREFIXES, [0, 1, 2], replace(QUESTION, priority=1), ignore_tokens)
    assert client.priorities == [1, 1, 1]


async def test_an_image_that_the_engine_dropped_is_sent_again_once():
    client = Client(forgets=1)
    reader, _ = await reader_of(client)
    renderer: Any = reader._renderer
    renderer.with_tiles.clear()
    counts: list[TokenUsage] = []
    assert len(await reader(PREFIXES, [2], QUESTION, counts.append)) == 1 and len(client.requests) == 2
    assert renderer.with_tiles == [False, True], "a second rendering could leave out the tiles, too"
    reader, _ = await reader_of(Client(forgets=2))
    with pytest.raises(CriticError):
        await reader(PREFIXES, [2], QUESTION, ignore_tokens)


async def test_what_was_read_before_a_cancellation_is_counted():
    """The first of three prompts is read, and the client leaves while the engine hangs on the second."""
    client = Client(cached=10_000, hangs_on=2)
    reader, token_indices = await reader_of(client)
    counts: list[TokenUsage] = []
    reading = asyncio.create_task(reader(PREFIXES, [0, 1, 2], QUESTION, counts.append))
    while len(client.requests) < 2:
        await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    length = token_indices[2] + 1
    assert counts == [TokenUsage(critic_prompt=length, critic_cached=length - 1)]
    assert [event.is_set() for event in client.aborted.values()] == [False, True]


async def test_a_request_that_the_engine_gives_up_is_a_critic_error():
    reader, _ = await reader_of(Client(gives_up=True))
    with pytest.raises(CriticError, match="ended a request"):
        await reader(PREFIXES, [0], QUESTION, ignore_tokens)


async def test_a_text_beyond_the_trained_window_is_refused():
    reader, _ = await reader_of(Client(), window=50)
    with pytest.raises(ApiError, match="window is 50"):
        await reader(PREFIXES, [0], QUESTION, ignore_tokens)


@pytest.mark.parametrize(
    ("tag", "tokens", "ends"),
    [
        ((1, 2), [1, 2, 3, 1, 2], [1, 4]),
        ((1, 1), [1, 1, 1], [1, 2]),
        ((1, 2, 3), [1, 2], []),
        ((4,), [1, 2], []),
    ],
)
def test_where_a_tag_ends(tag: Sequence[int], tokens: Sequence[int], ends: list[int]):
    assert tag_ends(tag, tokens) == ends
