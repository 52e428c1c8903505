"""The log holds nothing of what clients send or get, in whatever part of a request a secret stands."""

import base64
import json
from typing import Any

import httpx
import pytest

from tests.server.apps import question
from tests.server.running import serving_fake

SECRET = "hush4711"
CHAT = "/v1/chat/completions"


def bodies() -> list[dict[str, Any]]:
    """Return requests with the secret in many places, most of which are refused."""
    data = base64.b64encode(SECRET.encode()).decode()
    urls = [
        f"data:image/png;base64,{data}",
        f"data:image/png;base64,{SECRET}!",
        f"http://127.0.0.1:1/{SECRET}?signature={SECRET}",
        f"http://{SECRET}:{SECRET}@127.0.0.1/a.png",
        f"{SECRET}://a",
    ]
    content = [[{"type": "image_url", "image_url": {"url": url}}] for url in urls]
    content += [[{"type": "video_url", "video_url": {"url": url}}] for url in urls]
    return [
        question(messages=[{"role": "user", "content": SECRET}]),
        question(messages=[{"role": "user", "content": SECRET}], stream=True),
        question(messages=[{"role": "user", "content": SECRET}], best_of=2),
        question(messages=[{"role": "user", "content": SECRET}], best_of=2, stream=True),
        *(question(messages=[{"role": "user", "content": parts}]) for parts in content),
        question(messages=[{"role": SECRET, "content": "a"}]),
        question(messages=[{"role": "user", SECRET: "a"}]),
        question(messages=[{"role": "user", "content": [{"type": SECRET}]}]),
        question(model=SECRET),
        question(**{SECRET: 1}),
        question(n=SECRET),
        question(test_time_scaling={SECRET: 1}),
        question(test_time_scaling={"n": 2, "method": SECRET}),
        question(logit_bias={SECRET: "x"}),
        question(mm_processor_kwargs={SECRET: 1}),
        question(media_io_kwargs={SECRET: {}}),
        question(tools=[{"type": "function", "function": {"name": SECRET, "parameters": {"type": SECRET}}}]),
        question(tools=[{"type": SECRET}], tool_choice=SECRET),
        question(response_format={"type": "json_schema", "json_schema": {"name": SECRET, "schema": SECRET}}),
        question(stop=[SECRET] * 100, user=SECRET, metadata={SECRET: SECRET}),
        question(cache_salt=SECRET, seed=SECRET),
    ]


@pytest.mark.parametrize("line_format", ["text", "json"])
def test_no_secret_is_in_the_log(tmp_path, line_format):
    log = tmp_path / "log"
    key = f"key-{SECRET}"
    flags = ["--log-format", line_format, "--log-level", "debug"]
    env = {"INTERNVL3_API_KEY": key, "FAKE_ANSWER": SECRET}
    with (
        serving_fake(log, *flags, env=env) as server,
        httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}) as client,
    ):
        statuses = {client.post(CHAT, json=body).status_code for body in bodies()}
        assert {200, 400, 404} <= statuses and not {500, 401} & statuses
        score = {"messages": [{"role": "user", "content": SECRET}], "answers": [SECRET, f"{SECRET}\n\nb"]}
        assert client.post("/v1/critic/score", json=score).status_code == 200
        assert client.post("/v1/critic/score", json={**score, "model": SECRET}).status_code == 404
        assert client.post("/tokenize", json={"model": "nano", "prompt": SECRET}).status_code == 200
        client.post(CHAT, content=f'{{"{SECRET}'.encode(), headers={"content-type": "application/json"})
        client.post(CHAT, content=SECRET.encode(), headers={"content-type": SECRET})
        client.request(SECRET, f"/{SECRET}?{SECRET}={SECRET}", headers={SECRET: SECRET, "cookie": SECRET})
        client.get("/v1/models", headers={"Host": SECRET})
        for header in ({"Authorization": f"Bearer not {SECRET}"}, {"x-api-key": SECRET}):
            client.post(CHAT, json=question(), headers={"Authorization": "", **header})
        client.get("/v1/models", headers={"X-Request-Id": f"{SECRET} with a space"})
    text = log.read_text()
    assert SECRET not in text
    assert base64.b64encode(SECRET.encode()).decode() not in text
    requests = [line for line in text.splitlines() if CHAT in line]
    assert len(requests) >= len(bodies())
    if line_format == "text":
        assert any("200" in line and "key=default model=nano prompt_tokens=7" in line for line in requests)
        assert any("code=invalid_value param=n" in line for line in requests)
        return
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(set(line) >= {"time", "level", "logger", "message"} for line in lines)
    of_chat = [line for line in lines if line.get("route") == CHAT]
    first = of_chat[0]
    assert (first["method"], first["status"], first["level"]) == ("POST", 200, "info")
    assert (first["key"], first["model"], first["stop"]) == ("default", "nano", "stop")
    assert (first["prompt_tokens"], first["completion_tokens"]) == (7, 2)
    assert first["request_id"] and first["seconds"] >= 0 and "code" not in first
    assert of_chat[2]["critic_tokens"] > 0
    wrong = [line for line in of_chat if line.get("param") == "n"]
    assert [(line["status"], line["code"]) for line in wrong] == [(400, "invalid_value")]
    assert {line["code"] for line in lines if line.get("status") == 401} == {"invalid_api_key"}
