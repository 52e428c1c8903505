"""N candidates compute their prompt once, plus at most one cache block for each further candidate."""

import pytest

from tests.server.media.test_loader import data_url, encoded
from tests.server.test_end_to_end import CHAT, image_question
from tests.server.test_usage import engine_counts

pytestmark = pytest.mark.engine
BLOCK = 32  # tokens in a block of the prefix cache, on a CPU
STEP = 2048  # tokens that the engine computes at a time, which is vLLM's default on a CPU


def photos(number: int) -> list[str]:
    """Return different images of 7 tiles each."""
    return [data_url(encoded("PNG", (300, 200 + index))) for index in range(number)]


@pytest.mark.parametrize(
    ("n", "case", "extra"),
    [
        (8, "images", {}),
        (32, "images", {}),
        (8, "long", {"v2pe_delta": 1 / 256}),  # with delta 1 the prompt would exceed the model's window
        (8, "streamed", {"stream": True}),
        (8, "waves", {"test_time_scaling": {"n": 8, "stop_score": 1.0}}),
        (8, "beams", {"test_time_scaling": {"method": "beam_search", "n": 8, "max_steps": 1}}),
    ],
)
async def test_the_prompt_is_computed_once(client, n: int, case: str, extra: dict):
    """All candidates reach the engine in one step, before any part of the prompt is cached."""
    text = f"{case}{n}" + " and again" * (70 if case == "long" else 0)
    body = image_question(*photos(30), text=text, max_tokens=2, seed=3, **({"best_of": n} | extra))
    if "test_time_scaling" in extra:
        del body["best_of"]
    body["messages"].insert(0, {"role": "system", "content": text})  # so no other test has cached this prompt
    alone = {key: value for key, value in body.items() if key not in ("best_of", "test_time_scaling")}
    before = await engine_counts(client)
    reply = await client.post(CHAT, json=body)
    assert reply.status_code == 200, reply.text
    used = await engine_counts(client) - before
    plain = (await client.post(CHAT, json={**alone, "stream": False, "max_tokens": 1})).json()
    prompt = plain["usage"]["prompt_tokens"]
    assert 0.8 * prompt < 30 * 7 * 4 if case != "long" else prompt > STEP
    assert used["nano prompt_tokens"] == n * prompt
    computed = used["nano prompt_tokens"] - used["nano prompt_tokens_cached"]
    assert prompt <= computed <= prompt + (n - 1) * BLOCK
