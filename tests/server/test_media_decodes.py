"""Policy, critic, all candidates and further questions share what was decoded of an image or a video."""

import asyncio
import base64
import re
from typing import Any

import httpx
import pytest

from tests.server.media.test_loader import data_url, encoded
from tests.server.test_end_to_end import CHAT, image_question
from tests.videos import write_video

pytestmark = pytest.mark.engine


async def decodes(client: httpx.AsyncClient, kind: str) -> float:
    """Return how often the server has decoded an "image" or a "video"."""
    text = (await client.get("/metrics")).text
    found = re.findall(rf'^internvl3_media_decodes_total{{kind="{kind}"}} (\S+)$', text, re.M)
    return sum(map(float, found))


@pytest.mark.parametrize("extra", [{}, {"best_of": 3}], ids=["plain", "Best-of-3"])
async def test_an_image_is_decoded_once(client: httpx.AsyncClient, extra: dict):
    """vLLM's connector takes nothing but decoded images, so the server's own counter counts all decodes."""
    before = await decodes(client, "image")
    url = data_url(encoded("JPEG", (300, 210 + len(extra))), "image/jpeg")
    reply = await client.post(CHAT, json=image_question(url, url, **extra))
    assert reply.status_code == 200, reply.text
    assert await decodes(client, "image") == before + 1


MINUTES = 10


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A video of ten minutes with one frame in a second."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    return write_video(path, MINUTES * 60, times=range(MINUTES * 60)).read_bytes()


async def test_ten_questions_on_one_long_video_decode_it_once(client: httpx.AsyncClient, long_clip: bytes):
    upload = await client.post("/v1/files", data={"purpose": "vision"}, files={"file": ("a", long_clip)})
    file_id = upload.json()["id"]
    before = await decodes(client, "video")

    async def ask(number: int) -> dict:
        kind = ("file", "video_url")[number % 2]
        content = [
            {"type": kind, kind: {"file_id": file_id}},
            {"type": "text", "text": f"Question {number}?"},
        ]
        body = {
            "model": "nano",
            "max_tokens": 4,
            "messages": [{"role": "user", "content": content}],
            "media_io_kwargs": {"video": {"num_frames": 12, "timestamps": True}},
        }
        reply = await client.post(CHAT, json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    replies = [await ask(number) for number in range(4)]
    replies += await asyncio.gather(*map(ask, range(4, 10)))
    passes = await decodes(client, "video") - before
    print(f"{len(replies)} questions on {MINUTES} minutes: decode passes {passes:g}")
    assert passes == 1
    assert [reply["vision"]["frames"] for reply in replies] == [12] * 10


async def test_a_part_of_a_video_and_extracted_frames_say_their_times(
    client: httpx.AsyncClient, long_clip: bytes
):
    """Every way to name the same frames gives the same prompt, up to the pixels of a JPEG."""
    clip_url = data_url(long_clip, "video/mp4")
    moments = [61, 125, 300]
    jpegs = [base64.b64encode(encoded("JPEG", (128, 128))).decode() for _ in moments]
    frames_url = "data:video/jpeg;base64," + ",".join(jpegs)
    questions: list[tuple[str, dict[str, Any]]] = [
        (clip_url, {"times": [61.2, 125.9, 300]}),
        (frames_url, {"fps": 1, "frames_indices": moments, "total_num_frames": MINUTES * 60}),
        (frames_url, {"duration": 600.0, "frames_indices": moments, "total_num_frames": MINUTES * 60}),
    ]
    prompts = []
    for url, fields in questions:
        content = [
            {"type": "video_url", "video_url": {"url": url}},
            {"type": "text", "text": "What happens?"},
        ]
        body = {
            "model": "nano",
            "messages": [{"role": "user", "content": content}],
            "media_io_kwargs": {"video": {"timestamps": True, **fields}},
        }
        rendered = (await client.post("/v1/chat/completions/render", json=body)).json()
        assert rendered["vision"]["frames"] == 3
        text = await client.post("/detokenize", json={"tokens": rendered["prompt_token_ids"]})
        prompts.append(text.json()["prompt"])
    assert prompts[0] == prompts[1] == prompts[2]
    assert [prompts[0].count(f"({time}): ") for time in ("01:01", "02:05", "05:00")] == [1, 1, 1]


async def test_a_part_of_a_video_lies_between_start_and_end(client: httpx.AsyncClient, long_clip: bytes):
    content = [
        {"type": "video_url", "video_url": {"url": data_url(long_clip, "video/mp4")}},
        {"type": "text", "text": "What happens?"},
    ]
    body: dict[str, Any] = {
        "model": "nano",
        "messages": [{"role": "user", "content": content}],
        "media_io_kwargs": {"video": {"timestamps": True, "start": 240, "end": 245, "num_frames": 32}},
    }
    rendered = (await client.post("/v1/chat/completions/render", json=body)).json()
    text = await client.post("/detokenize", json={"tokens": rendered["prompt_token_ids"]})
    times = re.findall(r"\((\d\d:\d\d)\): ", text.json()["prompt"])
    assert times == [f"04:0{second}" for second in range(6)]
    body["media_io_kwargs"]["video"] = {"start": 601}
    refused = await client.post(CHAT, json=body)
    assert (
        refused.status_code == 400
        and "start is 601 s, but the video ends" in refused.json()["error"]["message"]
    )
