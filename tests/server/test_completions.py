"""Text completions by OpenAI's official client, on a real server."""

import re
from typing import Any

import httpx
import openai
import pytest

from tests.checkpoints import WINDOW
from tests.server.apps import events_of
from tests.server.conftest import bearer
from tests.server.running import RunningServer
from tests.server.test_usage import engine_counts, key_tokens

pytestmark = pytest.mark.engine
PATH = "/v1/completions"
GREEDY: dict[str, Any] = {"model": "nano", "prompt": "Row 1 holds", "temperature": 0, "max_tokens": 6}


@pytest.fixture(scope="module")
def official(server: RunningServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)


def test_a_streamed_text_is_the_whole_one(official):
    whole = official.completions.create(**GREEDY)
    assert whole.object == "text_completion" and whole.usage.completion_tokens <= 6
    chunks = list(official.completions.create(**GREEDY, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason


async def test_a_text_and_its_tokens_are_the_same_prompt(client: httpx.AsyncClient):
    text = GREEDY["prompt"]
    tokens = (await client.post("/tokenize", json={"prompt": text})).json()["tokens"]
    replies = [
        (await client.post(PATH, json={**GREEDY, "prompt": prompt})).json()
        for prompt in (text, tokens, [text, text], [tokens, tokens])
    ]
    texts = {choice["text"] for reply in replies for choice in reply["choices"]}
    assert len(texts) == 1 and [len(reply["choices"]) for reply in replies] == [1, 1, 2, 2]


def test_prompts_have_n_completions_each_in_order(official):
    reply = official.completions.create(
        **{**GREEDY, "prompt": ["One", "Two"], "temperature": 1.0}, n=2, seed=3, echo=True, logprobs=2
    )
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    assert [choice.text[:3] for choice in reply.choices] == ["One", "One", "Two", "Two"]
    assert all(len(choice.logprobs.top_logprobs[-1]) >= 2 for choice in reply.choices)


def test_an_answer_follows_a_schema(official):
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}
    extra = {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}
    reply = official.completions.create(**{**GREEDY, "max_tokens": 40}, extra_body=extra)
    assert re.fullmatch(r'\{\s*"n"\s*:\s*[12]\s*\}', reply.choices[0].text)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "best of": ({"best_of": 4}, "best_of"),
    "the window": ({"prompt": [5] * (WINDOW + 100)}, "prompt"),
    "max_tokens beyond the window": ({"max_tokens": 100_000}, "max_tokens"),
    "a token that doesn't exist": ({"prompt": [10_000_000]}, "prompt"),
    "embeddings": ({"prompt_embeds": "gASV"}, "prompt_embeds"),
    "a grammar": ({"response_format": {"type": "json_schema"}}, "response_format"),
    "a bad regex": ({"structured_outputs": {"regex": "(("}}, "structured_outputs"),
    "logprobs": ({"logprobs": 10_000}, "logprobs"),
    "a suffix": ({"suffix": "end"}, "suffix"),
    "a cache salt": ({"cache_salt": 5}, "cache_salt"),
    "stream options": ({"stream_options": {"include_usage": True}}, "stream_options"),
    "logprobs of a word": ({"prompt_logprobs": "x"}, "prompt_logprobs"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_names_its_field(client: httpx.AsyncClient, name: str, stream: bool):
    if stream and name == "stream options":
        pytest.skip("they belong to streams")
    wrong, param = REFUSED[name]
    reply = await client.post(PATH, json={**GREEDY, "stream": stream, **wrong})
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, param), error
    assert "messages" not in error["message"]


async def test_every_token_is_counted_for_its_key(keyed_server: RunningServer):
    async with httpx.AsyncClient(base_url=keyed_server.url, timeout=120, headers=bearer("first")) as client:
        engines, keys = await engine_counts(client), await key_tokens(client, "first")
        body = {**GREEDY, "prompt": ["One", "Two and three"], "n": 2, "temperature": 1}
        reply = (await client.post(PATH, json=body)).json()
        streamed = await client.post(PATH, json={**body, "stream": True})
        assert len(reply["choices"]) == 4 and events_of(streamed.text)[1]
        engines = await engine_counts(client) - engines
        counted = await key_tokens(client, "first") - keys
        assert counted["policy completion"] == engines["nano generation_tokens"] > 0
        prompts = counted["policy prompt_computed"] + counted["policy prompt_cached"]
        assert prompts == engines["nano prompt_tokens"]
        assert reply["usage"]["completion_tokens"] < counted["policy completion"]


async def test_a_key_does_not_find_what_another_has_cached(keyed_server: RunningServer):
    body = {**GREEDY, "prompt": "A text that is long enough for some blocks of the prefix cache. " * 8}
    cached = []
    for key in ("first", "first", "second"):
        async with httpx.AsyncClient(base_url=keyed_server.url, timeout=120, headers=bearer(key)) as client:
            reply = (await client.post(PATH, json=body)).json()
        cached.append((reply["usage"]["prompt_tokens_details"] or {}).get("cached_tokens") or 0)
    assert cached[0] == cached[2] == 0 < cached[1]
