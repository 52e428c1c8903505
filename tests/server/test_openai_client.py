"""OpenAI's official Python client against a real server."""

import openai
import pytest

from tests.server.media.test_loader import data_url, encoded
from tests.server.running import RunningServer

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def official(server: RunningServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)


def image_messages(text: str = "How many?") -> list:
    image = {"type": "image_url", "image_url": {"url": data_url(encoded("PNG", (300, 200)))}}
    return [{"role": "user", "content": [image, {"type": "text", "text": text}]}]


MESSAGES = image_messages()


def test_image_question(official):
    reply = official.chat.completions.create(model="nano", messages=MESSAGES, max_tokens=16)
    assert reply.object == "chat.completion" and reply.model == "nano"
    assert reply.choices[0].message.role == "assistant" and reply.choices[0].finish_reason in (
        "stop",
        "length",
    )
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_streamed_best_of_and_the_alias_choose_the_same_answer(official):
    chunks = list(
        official.chat.completions.create(
            model="nano",
            messages=MESSAGES,
            max_tokens=16,
            seed=5,
            stream=True,
            extra_body={"best_of": 8},
        )
    )
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    report = chunks[-1].test_time_scaling
    alias = official.chat.completions.create(model="nano:bo8", messages=MESSAGES, max_tokens=16, seed=5)
    assert alias.choices[0].message.content == streamed
    assert alias.test_time_scaling["selected"] == report["selected"]
    scores = [candidate["score"] for candidate in report["candidates"]]
    assert len(scores) == 8 and report["selected"] == scores.index(max(scores))
    assert chunks[-1].usage.completion_tokens == alias.usage.completion_tokens


def test_models(official):
    assert [model.id for model in official.models.list()] == ["nano", "nano:bo8"]
    assert official.models.retrieve("nano:bo8").object == "model"


def test_errors_arrive_as_the_clients_own(official):
    with pytest.raises(openai.BadRequestError) as bad:
        official.chat.completions.create(model="nano", messages=MESSAGES, extra_body={"best_of": 10_000})
    assert bad.value.param == "best_of" and bad.value.type == "invalid_request_error"
    with pytest.raises(openai.NotFoundError) as missing:
        official.chat.completions.create(model="other", messages=MESSAGES)
    assert missing.value.code == "model_not_found"
