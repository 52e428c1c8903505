"""Video requests to a real server with policy and critic, both with random weights."""

import re
from typing import Any

import httpx
import pytest

from tests.checkpoints import WINDOW
from tests.server.apps import events_of, question
from tests.server.media.test_fetch import host, ok
from tests.server.media.test_loader import data_url, encoded
from tests.videos import write_video

pytestmark = pytest.mark.engine
CHAT = "/v1/chat/completions"
TOKENS_PER_TILE = 4
LONG = 130  # frames, whose tokens are more than the window's positions


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", LONG).read_bytes()


def video_question(*media: bytes | str, text: str = "What happens?", **extra: Any) -> dict:
    urls = [medium if isinstance(medium, str) else data_url(medium, "video/mp4") for medium in media]
    content = [{"type": "video_url", "video_url": {"url": url}} for url in urls]
    messages = [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]
    return {"model": "nano", "max_tokens": 12, "temperature": 0, "messages": messages, **extra}


def frames(number: int | None = None, **extra) -> dict:
    return {"video": {"num_frames": number, **extra}}


async def answer(client: httpx.AsyncClient, body: dict) -> dict:
    reply = await client.post(CHAT, json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def refusal(client: httpx.AsyncClient, body: dict) -> dict:
    reply = await client.post(CHAT, json=body)
    assert reply.status_code == 400, reply.text
    return reply.json()["error"]


async def test_a_video_is_read_frame_by_frame(client, clip):
    eight = await answer(client, video_question(clip, media_io_kwargs=frames(8)))
    nine = await answer(client, video_question(clip, media_io_kwargs=frames(9)))
    assert (eight["vision"]["frames"], eight["vision"]["tiles"], eight["vision"]["v2pe_delta"]) == (8, 8, 1)
    assert eight["vision"]["highest_position"] == eight["usage"]["prompt_tokens"] - 1
    # One more frame adds a newline, "Frame9: ", <img>, the tile and </img>. Each character is a token.
    more = nine["usage"]["prompt_tokens"] - eight["usage"]["prompt_tokens"]
    assert more == len("\nFrame9: ") + 2 + TOKENS_PER_TILE
    default = await answer(client, video_question(clip))
    assert default["vision"]["frames"] == 32
    assert default["usage"]["prompt_tokens_details"]["multimodal_tokens"] == {"video": 32 * TOKENS_PER_TILE}


async def test_fetched_and_inline_are_the_same(client, clip):
    async with host({"/clip.mp4": ok(clip)}) as (port, _):
        fetched = await answer(client, video_question(f"http://127.0.0.1:{port}/clip.mp4"))
    inline = await answer(client, video_question(clip))
    assert fetched["choices"][0]["message"] == inline["choices"][0]["message"]


async def test_timestamps_and_tiles_of_a_frame(client, clip):
    plain = await answer(client, video_question(clip, media_io_kwargs=frames(4)))
    timed = await answer(client, video_question(clip, media_io_kwargs=frames(4, timestamps=True)))
    cut = await answer(client, video_question(clip, media_io_kwargs=frames(4, max_dynamic_patch=4)))
    assert timed["usage"]["prompt_tokens"] - plain["usage"]["prompt_tokens"] == 4 * len(" (00:00)")
    assert cut["vision"]["tiles"] == 4 * 5 and cut["vision"]["frames"] == 4  # 2 x 2 and a thumbnail
    by_rate = await answer(
        client, video_question(clip, media_io_kwargs={"video": {"fps": 2, "mode": "keyframe"}})
    )
    assert by_rate["vision"]["frames"] == 5  # the video lasts five seconds and has a keyframe in each


async def test_images_and_videos_in_one_request(client, clip):
    body = video_question(clip, clip, media_io_kwargs=frames(3))
    image = {"type": "image_url", "image_url": {"url": data_url(encoded("PNG", (56, 56)))}}
    body["messages"][0]["content"].insert(1, image)
    reply = await answer(client, body)
    assert (reply["vision"]["frames"], reply["vision"]["tiles"]) == (6, 7)
    mixed = await answer(client, {**body, "v2pe_delta": [1, 0.5, 0.25]})
    assert mixed["vision"]["v2pe_delta"] == [1, 0.5, 0.25]
    assert mixed["vision"]["highest_position"] < reply["vision"]["highest_position"]


async def test_n_answers_of_one_video(client, clip):
    reply = await answer(client, video_question(clip, n=3, temperature=1.0, media_io_kwargs=frames(4)))
    assert len(reply["choices"]) == 3


async def test_the_first_chunk_of_a_stream_reports_the_video(client, clip):
    reply = await answer(client, video_question(clip, media_io_kwargs=frames(4)))
    options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    _, chunks = events_of(
        (await client.post(CHAT, json=video_question(clip, media_io_kwargs=frames(4), **options))).text
    )
    assert chunks[0]["vision"] == reply["vision"]
    assert not any("vision" in chunk for chunk in chunks[1:])
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert text == reply["choices"][0]["message"]["content"]
    assert "v2pe" not in chunks[-1]["usage"]["prompt_tokens_details"]["multimodal_tokens"]


@pytest.mark.parametrize("extra", [{}, {"v2pe_delta": 0.25}, {"media_io_kwargs": frames(4, timestamps=True)}])
async def test_the_critic_sees_the_same_video(client, clip, extra):
    body = video_question(clip, seed=3, best_of=4, media_io_kwargs=frames(4)) | extra
    reply = await answer(client, body)
    report = reply["test_time_scaling"]
    assert report["degraded"] is None and report["critic"] == "critic"
    assert all(0 < candidate["score"] < 1 for candidate in report["candidates"])
    steps = sum(len(candidate["step_scores"]) for candidate in report["candidates"])
    assert report["usage"]["critic"]["prompt"] > steps * 4 * TOKENS_PER_TILE
    blind = await answer(client, question(seed=3, best_of=2, max_tokens=12))
    assert "vision" not in blind
    _, chunks = events_of((await client.post(CHAT, json={**body, "stream": True})).text)
    streamed = chunks[-1]["test_time_scaling"]
    assert streamed["selected"] == report["selected"] and streamed["degraded"] is None
    scores = [candidate["score"] for candidate in report["candidates"]]
    assert [candidate["score"] for candidate in streamed["candidates"]] == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize(("number", "own"), [(8, True), (LONG, False)])
async def test_the_critic_has_its_own_delta_as_long_as_it_fits(client, clip, number: int, own: bool):
    """Eight frames fit the window of the critic at its own delta, 1. All frames fit only at the policy's."""
    scaling = {"n": 2, "return_candidates": True}
    body = video_question(
        clip, media_io_kwargs=frames(number), v2pe_delta=1 / 8, test_time_scaling=scaling, seed=3
    )
    report = (await answer(client, body))["test_time_scaling"]
    assert report["degraded"] is None
    scores = [candidate["score"] for candidate in report["candidates"]]
    asked = {"messages": body["messages"], "media_io_kwargs": body["media_io_kwargs"]}
    asked["answers"] = [candidate["text"] for candidate in report["candidates"]]

    async def scored(delta: float) -> list[float]:
        reply = await client.post("/v1/critic/score", json={**asked, "v2pe_delta": delta})
        assert reply.status_code == 200, reply.text
        return [entry["score"] for entry in reply.json()["scores"]]

    assert scores == pytest.approx(await scored(1 if own else 1 / 8), abs=1e-4)
    if own:
        assert scores != pytest.approx(await scored(1 / 8), abs=1e-4)


async def test_positions_count_and_not_tokens(client, clip):
    """A long video exceeds the window at delta 1, and fits with the delta that the error message names."""
    body = video_question(clip, media_io_kwargs=frames(LONG))
    refused = await refusal(client, {**body, "v2pe_delta": 1})
    assert refused["code"] == "context_length_exceeded"
    named = re.search(r"largest v2pe_delta that fits is \S+ \((\S+)\)", refused["message"])
    assert named is not None, refused["message"]
    auto = await answer(client, {**body, "v2pe_delta": "auto"})
    assert auto["usage"]["prompt_tokens"] > WINDOW > auto["vision"]["highest_position"]
    assert auto["vision"]["v2pe_delta"] == float(named[1]) < 1
    assert auto["vision"]["frames"] == LONG
    by_number = await answer(client, {**body, "v2pe_delta": float(named[1])})
    assert by_number["choices"] == auto["choices"]


async def test_a_growing_chat_keeps_its_delta(client, clip):
    """At delta 1 the first turn would fit and the third would not, so the video would move between them."""
    body = video_question(clip, media_io_kwargs=frames(110), v2pe_delta="auto", max_tokens=4)
    deltas = []
    for _ in range(3):
        reply = await answer(client, body)
        deltas.append(reply["vision"]["v2pe_delta"])
        said = {"role": "assistant", "content": "x" * 40}
        more = {"role": "user", "content": "And what happens then?"}
        body = {**body, "messages": [*body["messages"], said, more]}
    assert deltas == [0.5, 0.5, 0.5]
    first = await answer(client, {**body, "messages": body["messages"][:1], "v2pe_delta": 1})
    assert first["vision"]["highest_position"] < WINDOW
    assert (await refusal(client, {**body, "v2pe_delta": 1}))["code"] == "context_length_exceeded"


async def test_seeds_hold_though_a_long_prompt_is_computed_in_pieces(client, clip):
    """The pieces have 2048 tokens. Without our repair, vLLM's seeded sampling ends the engine on a CPU."""
    body = video_question(clip, media_io_kwargs=frames(LONG), v2pe_delta="auto", best_of=3, seed=5)
    first, again = await answer(client, body), await answer(client, {**body, "v2pe_delta": 0.25})
    assert first["usage"]["prompt_tokens"] > 2048
    assert first["test_time_scaling"]["degraded"] is None
    assert first["choices"] == again["choices"]


async def test_an_answer_without_max_tokens_ends_at_the_window(client, clip):
    body = video_question(
        clip, media_io_kwargs=frames(LONG), v2pe_delta="auto", max_tokens=None, ignore_eos=True
    )
    reply = await answer(client, body)
    left = WINDOW - 1 - reply["vision"]["highest_position"]
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == pytest.approx(left, abs=1)


async def test_text_beyond_the_window_is_refused(client):
    text = "x" * (WINDOW + 10)  # this is fewer tokens than --max-model-len
    error = await refusal(client, question(messages=[{"role": "user", "content": text}], max_tokens=5))
    assert error["code"] == "context_length_exceeded" and f"window is {WINDOW}" in error["message"]


REFUSED: dict[str, Any] = {
    "no video": ([b"not a video"], {}, "messages[0].content[0].video_url"),
    "private": (["http://10.0.0.1/v.mp4"], {}, "messages[0].content[0].video_url"),
    "a handle": (["internvl3:0123"], {}, "messages[0].content[0].video_url"),
    "too many": ([b"x"] * 5, {}, "messages"),
    "no frames": ([b"x"], {"media_io_kwargs": frames(0)}, "media_io_kwargs.video.num_frames"),
    "unknown option": ([b"x"], {"media_io_kwargs": frames(4, size=3)}, "media_io_kwargs.video.size"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_bad_videos_are_refused_and_the_next_request_works(client, clip, case):
    media, extra, param = REFUSED[case]
    error = await refusal(
        client, video_question(*(clip if medium == "clip" else medium for medium in media), **extra)
    )
    assert error["param"] == param or param is None
    for inside in ("/tmp", "/work", "site-packages", "Traceback", "0x"):
        assert inside not in error["message"]
    assert (await client.post(CHAT, json=question(max_tokens=1))).status_code == 200


async def test_videos_are_counted(client, clip):
    await answer(client, video_question(clip, media_io_kwargs=frames(7)))
    text = (await client.get("/metrics")).text
    counts = dict(re.findall(r"^internvl3_(videos|video_frames)_total (\S+)", text, re.M))
    assert float(counts["videos"]) >= 1 and float(counts["video_frames"]) >= 7


async def test_the_checkpoints_system_message_is_in_force(client):
    """The checkpoint names its template, whose default message is used unless the request has one."""

    async def tokens(*messages: dict) -> int:
        body = question(messages=[*messages, {"role": "user", "content": "Who?"}], max_tokens=1)
        return (await answer(client, body))["usage"]["prompt_tokens"]

    default = await tokens()
    empty = await tokens({"role": "system", "content": ""})
    with_message = await tokens({"role": "system", "content": "Be brief."})
    assert with_message == empty + len("Be brief.")
    assert default > empty + 100  # the default message has three bytes per character in UTF-8
