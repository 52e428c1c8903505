"""Chat requests to a real server with both vLLM engines. The weights are random, so answers mean nothing."""

import asyncio
import re
from itertools import pairwise
from statistics import fmean
from typing import Any

import httpx
import pytest

from tests.server.apps import events_of, question
from tests.server.media.test_fetch import host, ok
from tests.server.media.test_loader import bomb, data_url, encoded
from ttscaling.answers.final_answer import final_answer

pytestmark = pytest.mark.engine
CHAT = "/v1/chat/completions"
PHOTO = encoded("JPEG", (300, 200))


def image_question(*urls: str, text: str = "How many?", **extra: Any) -> dict:
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls or (data_url(PHOTO),)]
    content = [*images, {"type": "text", "text": text}]
    return {"model": "nano", "max_tokens": 24, "messages": [{"role": "user", "content": content}], **extra}


async def answer(client: httpx.AsyncClient, **extra) -> dict:
    reply = await client.post(CHAT, json=image_question(**extra))
    assert reply.status_code == 200, reply.text
    return reply.json()


async def running_requests(client: httpx.AsyncClient) -> float:
    """Return the number of running requests in both engines, from vLLM's metrics."""
    text = (await client.get("/metrics")).text
    return sum(float(value) for value in re.findall(r"^vllm:num_requests_running\{.*\} (\S+)$", text, re.M))


async def test_models_and_metrics(client):
    cards = (await client.get("/v1/models")).json()["data"]
    assert [card["id"] for card in cards] == ["nano", "nano:bo8"]
    assert cards[0]["max_model_len"] == 4096
    policy, critic = (cards[0]["setup"][role] for role in ("policy", "critic"))
    assert (policy["name"], critic["name"]) == ("nano", "critic")
    assert policy["checkpoint"] != critic["checkpoint"] and len(policy["checkpoint"]) == 16
    assert (policy["dtype"], policy["max_model_len"], policy["v2pe_delta"]) == ("float32", 4096, 1.0)
    assert policy["flags"] is not None and critic["flags"] is None, "only the policy has flags of its own"
    assert policy["chat_template"] and critic["chat_template"] and critic["v2pe_delta"] == "own"
    text = (await client.get("/metrics")).text
    for name in ("nano", "critic"):
        assert re.search(rf'^vllm:num_requests_waiting\{{.*model_name="{name}"', text, re.M)
    assert text.count("# TYPE vllm:num_requests_waiting ") == 1


async def test_image_question_is_greedy_at_temperature_0(client):
    first = await answer(client, temperature=0)
    again = await answer(client, temperature=0)
    assert first["choices"][0]["message"]["content"] == again["choices"][0]["message"]["content"]
    assert first["usage"]["prompt_tokens"] > 24  # this includes the image's tokens
    assert "test_time_scaling" not in first


async def test_images_by_url_and_inline_are_the_same_image(client):
    async with host({"/photo.jpg": ok(PHOTO)}) as (port, _):
        fetched = await client.post(
            CHAT, json=image_question(f"http://127.0.0.1:{port}/photo.jpg", temperature=0)
        )
    inline = await answer(client, temperature=0)
    assert fetched.json()["choices"][0]["message"] == inline["choices"][0]["message"]


async def test_delta_and_tiles_change_what_the_model_reads(client):
    by_delta = [await answer(client, temperature=0, v2pe_delta=delta) for delta in (1, 0.25, 1 / 256)]
    texts = {reply["choices"][0]["message"]["content"] for reply in by_delta}
    assert len(texts) == 3
    tiles = [await answer(client, max_dynamic_patch=max_tiles, max_tokens=1) for max_tiles in (1, 6, 1000)]
    prompts = [reply["usage"]["prompt_tokens"] for reply in tiles]
    assert prompts[0] < prompts[1] == prompts[2]  # the checkpoint's limit holds for 1000


async def test_all_images_share_a_budget_of_tiles(client):
    two = image_question(data_url(PHOTO), data_url(encoded("PNG", (300, 100))), max_tokens=1)
    free = (await client.post(CHAT, json=two)).json()["vision"]["tiles"]
    limited = (await client.post(CHAT, json={**two, "max_dynamic_patch_total": 4})).json()["vision"]["tiles"]
    assert free == 6 + 1 + 3 + 1 and limited == 2 * (2 + 1)


async def test_several_images_and_none(client):
    one = await answer(client, max_tokens=1)
    reply = await client.post(
        CHAT, json=image_question(data_url(PHOTO), data_url(encoded("PNG")), max_tokens=1)
    )
    assert reply.json()["usage"]["prompt_tokens"] > one["usage"]["prompt_tokens"]
    assert (await client.post(CHAT, json=question(max_tokens=4, best_of=2))).status_code == 200


async def test_best_of_eight(client):
    reply = await answer(client, best_of=8, seed=7, test_time_scaling=None)
    report = reply["test_time_scaling"]
    candidates = report["candidates"]
    assert [candidate["index"] for candidate in candidates] == list(range(8))
    scores = [candidate["score"] for candidate in candidates]
    assert report["selected"] == scores.index(max(scores)) and report["degraded"] is None
    for candidate in candidates:
        assert candidate["score"] == pytest.approx(fmean(candidate["step_scores"]))
        assert all(0 < score < 1 for score in candidate["step_scores"])
    assert reply["usage"]["completion_tokens"] == sum(
        candidate["completion_tokens"] for candidate in candidates
    )
    usage = report["usage"]
    assert usage["policy"]["prompt"] == 8 * reply["usage"]["prompt_tokens"]
    assert usage["policy"]["cached"] > 0 and usage["critic"]["cached"] > 0


async def test_candidates_are_greedy_first_then_sampled_and_the_winner_is_one_of_them(client):
    greedy = await answer(client, temperature=0)
    scaling = {"n": 6, "return_candidates": True}
    reply = await answer(client, temperature=0, seed=7, test_time_scaling=scaling)
    candidates = reply["test_time_scaling"]["candidates"]
    texts = [candidate["text"] for candidate in candidates]
    assert texts[0] == greedy["choices"][0]["message"]["content"]
    assert len(set(texts)) > 1
    chosen = reply["test_time_scaling"]["selected"]
    assert reply["choices"][0]["message"]["content"] == texts[chosen]
    assert all(step in candidate["text"] for candidate in candidates for step in candidate["steps"])
    answers = [candidate["answer"] for candidate in candidates]
    assert answers == [final_answer(text) for text in texts]
    votes = reply["test_time_scaling"]["votes"]
    voters = sorted(index for vote in votes for index in vote["candidates"])
    assert voters == [index for index, stated in enumerate(answers) if stated is not None] != []
    assert all(vote["answer"] == answers[vote["candidates"][0]] for vote in votes)


async def test_the_same_seed_chooses_the_same_answer_by_field_alias_or_stream(client):
    by_field = await answer(client, best_of=8, seed=11)
    by_alias = await answer(client, model="nano:bo8", seed=11)
    streamed = await client.post(CHAT, json=image_question(model="nano:bo8", seed=11, stream=True))
    comments, chunks = events_of(streamed.text)
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert by_alias["choices"] == by_field["choices"]
    assert text == by_field["choices"][0]["message"]["content"]
    winners = [reply["test_time_scaling"]["selected"] for reply in (by_field, by_alias, chunks[-1])]
    assert len(set(winners)) == 1
    assert sum("finished" in comment for comment in comments) == 8
    assert sum("scored" in comment for comment in comments) == 8
    assert len(chunks) > 3, "the chosen answer comes as ordinary chunks"
    other = await answer(client, best_of=8, seed=12)
    assert other["test_time_scaling"]["candidates"] != by_field["test_time_scaling"]["candidates"]


async def test_two_seeds_share_no_candidate_and_the_first_one_is_the_plain_answer(client):
    """With seed + index, seeds 21 and 22 would share all but one of their candidates."""
    scaling = {"n": 6, "include_greedy": False, "return_candidates": True}
    texts = []
    for seed in (21, 22):
        reply = await answer(client, seed=seed, test_time_scaling=scaling)
        texts.append([entry["text"] for entry in reply["test_time_scaling"]["candidates"]])
    assert len({*texts[0], *texts[1]}) == 12
    for fields in ({}, {"best_of": 1}):
        plain = await answer(client, seed=21, **fields)
        assert plain["choices"][0]["message"]["content"] == texts[0][0]


async def test_streamed_usage_has_its_own_chunk_on_request(client):
    body = image_question(best_of=3, stream=True, stream_options={"include_usage": True})
    _, chunks = events_of((await client.post(CHAT, json=body)).text)
    assert chunks[-1]["choices"] == [] and chunks[-2]["choices"][0]["finish_reason"]
    assert chunks[-1]["test_time_scaling"] and "test_time_scaling" not in chunks[-2]
    assert chunks[-1]["usage"]["completion_tokens"] > 24


async def test_n_best_come_best_first(client):
    scaling = {"n": 5, "return_candidates": True}
    reply = await answer(client, n=3, seed=2, test_time_scaling=scaling, logprobs=True)
    candidates = reply["test_time_scaling"]["candidates"]
    by_text = {candidate["text"]: candidate["score"] for candidate in candidates}
    scores = [by_text[choice["message"]["content"]] for choice in reply["choices"]]
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2]
    assert all(better >= worse for better, worse in pairwise(scores)) and scores[0] == max(by_text.values())
    assert all(choice["logprobs"]["content"] for choice in reply["choices"])


async def test_stop_strings_hold_for_every_candidate(client):
    free = await answer(client, test_time_scaling={"n": 4, "return_candidates": True}, seed=3)
    common = free["test_time_scaling"]["candidates"][1]["text"][5:6]
    cut = await answer(client, test_time_scaling={"n": 4, "return_candidates": True}, seed=3, stop=[common])
    candidate = cut["test_time_scaling"]["candidates"][1]
    assert candidate["finish_reason"] == "stop" and common not in candidate["text"]


TOOL = {"type": "function", "function": {"name": "f"}}
REFUSED = {
    "no image": (image_question(data_url(b"not an image")), 400, "messages[0].content[0].image_url"),
    "cut off": (image_question(data_url(PHOTO[: len(PHOTO) // 2])), 400, "messages[0].content[0].image_url"),
    "bomb": (image_question(data_url(bomb(20_000, 20_000))), 400, "messages[0].content[0].image_url"),
    "unreachable": (image_question("http://127.0.0.1:9/a.png"), 400, "messages[0].content[0].image_url"),
    "private": (image_question("http://10.0.0.1/a.png"), 400, "messages[0].content[0].image_url"),
    "file": (image_question("file:///etc/passwd"), 400, "messages[0].content[0].image_url"),
    "best_of 0": (image_question(best_of=0), 400, "best_of"),
    "best_of 10000": (image_question(best_of=10_000), 400, "best_of"),
    "delta 0": (image_question(v2pe_delta=0), 400, "v2pe_delta"),
    "delta -1": (image_question(v2pe_delta=-1), 400, "v2pe_delta"),
    "delta 2": (image_question(v2pe_delta=2), 400, "v2pe_delta"),
    "delta x": (image_question(v2pe_delta="x"), 400, "v2pe_delta"),
    "long text": (question(messages=[{"role": "user", "content": "x " * 4000}]), 400, None),
    "long answer": (image_question(max_tokens=100_000), 400, "max_tokens"),
    "many images": (image_question(*[data_url(PHOTO)] * 33), 400, "messages"),
    "unknown model": (image_question(model="other"), 404, "model"),
    "wrong type": (image_question(temperature="hot"), 400, "temperature"),
    "out of range": (image_question(top_p=7), 400, "top_p"),
    "bad tool choice": (
        image_question(tools=[TOOL], tool_choice={**TOOL, "function": {"name": "g"}}),
        400,
        None,
    ),
    "bad regex": (image_question(structured_outputs={"regex": "("}), 400, None),
    "own template": (image_question(chat_template="{{ 1 }}"), 400, None),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize(
    "extra", [{}, {"stream": True}, {"model": "nano:bo8"}], ids=["plain", "stream", "bo8"]
)
async def test_bad_input_is_refused_and_the_next_request_works(client, case, extra):
    body, status, param = REFUSED[case]
    if case == "unknown model":
        extra = {key: value for key, value in extra.items() if key != "model"}
    reply = await client.post(CHAT, json={**body, **extra})
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"
    if param is not None:
        assert error["param"] == param
    for inside in ("/tmp", "/home", "site-packages", "Traceback", "0x"):
        assert inside not in error["message"]
    assert (await client.post(CHAT, json=image_question(max_tokens=1))).status_code == 200


async def test_too_long_has_openais_code(client):
    body, _, _ = REFUSED["long text"]
    assert (await client.post(CHAT, json=body)).json()["error"]["code"] == "context_length_exceeded"


async def test_malformed_json(client):
    reply = await client.post(CHAT, content=b'{"model": ', headers={"content-type": "application/json"})
    assert reply.status_code == 400 and "JSON" in reply.json()["error"]["message"]


@pytest.mark.parametrize("extra", [{}, {"best_of": 8}, {"best_of": 8, "stream": True}, {"stream": True}])
async def test_a_client_that_leaves_frees_the_engines(client, server, extra):
    endless = image_question(max_tokens=1700, ignore_eos=True, **extra)
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as leaving:
        asking = asyncio.create_task(leaving.post(CHAT, json=endless))
        while await running_requests(client) < extra.get("best_of", 1):
            assert not asking.done(), "the request must run longer than the first check"
            await asyncio.sleep(0.02)
        before = await generated_tokens(client)
        asking.cancel()
        await asyncio.wait([asking])
    while await running_requests(client) > 0:
        await asyncio.sleep(0.02)
    generated = await generated_tokens(client) - before
    assert generated < 1000 * extra.get("best_of", 1), "the candidates must not run to their end"


async def generated_tokens(client: httpx.AsyncClient) -> float:
    text = (await client.get("/metrics")).text
    return sum(
        float(value) for value in re.findall(r"^vllm:generation_tokens_total\{.*\} (\S+)$", text, re.M)
    )


async def test_many_at_once(client):
    bodies = [
        image_question(max_tokens=8, best_of=best_of, seed=seed) for seed in range(4) for best_of in (1, 4)
    ]
    replies = await asyncio.gather(*(client.post(CHAT, json=body) for body in bodies))
    assert {reply.status_code for reply in replies} == {200}
