"""What N candidates of one prompt cost: the prompt once, and each at most the last, broken block of it."""

import pytest

from tests.server.media.test_loader import data_url, encoded
from tests.server.test_end_to_end import CHAT, looking
from tests.server.test_usage import counted

pytestmark = pytest.mark.engine
BLOCK = 32  # tokens that the prefix cache keeps together, on a CPU
STEP = 2048  # tokens that the engine computes at a time: vLLM's default there


def photos(number: int) -> list[str]:
    """Different ones, of 7 tiles each."""
    return [data_url(encoded("PNG", (300, 200 + index))) for index in range(number)]


@pytest.mark.parametrize(
    ("n", "case", "extra"),
    [
        (8, "images", {}),
        (32, "images", {}),
        (8, "long", {"v2pe_delta": 1 / 256}),  # else it has more positions than the model's window
        (8, "streamed", {"stream": True}),
        (8, "waves", {"test_time_scaling": {"n": 8, "stop_score": 1.0}}),
        (8, "beams", {"test_time_scaling": {"method": "beam_search", "n": 8, "max_steps": 1}}),
    ],
)
async def test_the_prompt_is_computed_once(client, n: int, case: str, extra: dict):
    """The candidates reach the engine in one step, when none of the prompt is cached yet."""
    text = f"{case}{n}" + " and again" * (70 if case == "long" else 0)
    asked = looking(*photos(30), text=text, max_tokens=2, seed=3, **({"best_of": n} | extra))
    if "test_time_scaling" in extra:
        del asked["best_of"]
    asked["messages"].insert(0, {"role": "system", "content": text})  # nothing is cached from elsewhere
    alone = {key: value for key, value in asked.items() if key not in ("best_of", "test_time_scaling")}
    before = await counted(client)
    reply = await client.post(CHAT, json=asked)
    assert reply.status_code == 200, reply.text
    spent = await counted(client) - before
    plain = (await client.post(CHAT, json={**alone, "stream": False, "max_tokens": 1})).json()
    prompt = plain["usage"]["prompt_tokens"]
    assert 0.8 * prompt < 30 * 7 * 4 if case != "long" else prompt > STEP
    assert spent["nano prompt_tokens"] == n * prompt
    computed = spent["nano prompt_tokens"] - spent["nano prompt_tokens_cached"]
    assert prompt <= computed <= prompt + (n - 1) * BLOCK
