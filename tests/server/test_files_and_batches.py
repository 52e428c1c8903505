"""OpenAI's official client with the files, uploads and batches of a real server, whose keys are apart."""

import json
import time
from pathlib import Path
from typing import Any, Final, Literal

import openai
import pytest

from tests.server.conftest import ADAPTER
from tests.server.media.test_loader import data_url, encoded
from tests.server.running import RunningServer
from tests.videos import write_video

pytestmark = pytest.mark.engine
CHAT: Final = "/v1/chat/completions"


def client_of(server: RunningServer, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=f"key of {key}", max_retries=0)


@pytest.fixture(scope="module")
def official(keyed_server: RunningServer) -> openai.OpenAI:
    return client_of(keyed_server, "first")


def bodies() -> dict[str, dict[str, Any]]:
    """Return requests of each kind by their custom_id, at temperature 0."""
    image = {"type": "image_url", "image_url": {"url": data_url(encoded("PNG", (300, 200)))}}
    text = [{"role": "user", "content": "How many?"}]
    seen = [{"role": "user", "content": [image, {"type": "text", "text": "How many?"}]}]
    common = {"model": "nano", "max_tokens": 8, "temperature": 0}
    return {
        "text": {**common, "messages": text},
        "image": {**common, "messages": seen},
        "delta": {**common, "messages": seen, "v2pe_delta": 0.25},
        "adapter": {**common, "messages": text, "model": ADAPTER},
        "choice": {**common, "messages": seen, "best_of": 3, "seed": 5},
    }


def jsonl(requests: dict[str, dict[str, Any]], endpoint: str = CHAT) -> bytes:
    lines = [
        {"custom_id": name, "method": "POST", "url": endpoint, "body": body}
        for name, body in requests.items()
    ]
    return "\n".join(json.dumps(line) for line in lines).encode()


def run_batch(
    official: openai.OpenAI,
    requests: dict[str, dict[str, Any]],
    endpoint: Literal["/v1/chat/completions", "/v1/responses"] = CHAT,
) -> Any:
    file = official.files.create(file=("lines.jsonl", jsonl(requests, endpoint)), purpose="batch")
    batch = official.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"from": "a test"}
    )
    while batch.status in ("validating", "in_progress", "finalizing"):
        time.sleep(0.1)
        batch = official.batches.retrieve(batch.id)
    return batch


def results(official: openai.OpenAI, file_id: str) -> dict[str, Any]:
    lines = official.files.content(file_id).text.splitlines()
    return {record["custom_id"]: record["response"] for record in map(json.loads, lines)}


def test_files(official: openai.OpenAI, keyed_server: RunningServer):
    content = b"pixels" * 100_000
    file = official.files.create(
        file=("a.png", content),
        purpose="vision",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert file.bytes == len(content) and file.filename == "a.png" and file.status == "processed"
    assert official.files.retrieve(file.id) == file
    assert file.id in [listed.id for listed in official.files.list(purpose="vision", limit=1)]
    assert official.files.content(file.id).read() == content
    other = client_of(keyed_server, "second")
    with pytest.raises(openai.NotFoundError):
        other.files.retrieve(file.id)
    assert official.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError, match="There is no file"):
        official.files.content(file.id)


def test_an_upload_in_chunks(official: openai.OpenAI, tmp_path: Path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(bytes(range(256)) * 1000)
    upload = official.uploads.upload_file_chunked(
        file=path, mime_type="video/mp4", purpose="vision", part_size=100_000
    )
    assert upload.status == "completed" and upload.file is not None
    assert upload.file.filename == "clip.mp4"
    assert official.files.content(upload.file.id).read() == path.read_bytes()


def test_a_batch_gives_the_answers_of_its_requests(official: openai.OpenAI):
    requests = bodies()
    refused = {**requests["text"], "model": "unknown"}
    batch = run_batch(official, {**requests, "refused": refused})
    assert batch.status == "completed" and batch.metadata == {"from": "a test"}
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (len(requests) + 1, len(requests), 1)
    found = results(official, batch.output_file_id)
    assert list(found) == list(requests)
    for name, body in requests.items():
        extra = {field: body[field] for field in ("best_of", "v2pe_delta") if field in body}
        others = {field: value for field, value in body.items() if field not in extra}
        direct = official.chat.completions.create(**others, extra_body=extra)
        reply = found[name]["body"]
        assert reply["choices"][0]["message"]["content"] == direct.choices[0].message.content, name
        assert reply["usage"]["completion_tokens"] == direct.usage.completion_tokens
    assert "test_time_scaling" in found["choice"]["body"]
    error = results(official, batch.error_file_id)["refused"]
    assert error["status_code"] == 404 and error["body"]["error"]["code"] == "model_not_found"
    assert batch.id in [listed.id for listed in official.batches.list(limit=2)]


def test_lines_name_uploaded_images_and_videos(official: openai.OpenAI, tmp_path: Path):
    write_video(tmp_path / "clip.mp4", frames=8)
    picture = encoded("PNG", (300, 200))
    image = official.files.create(file=("a.png", picture), purpose="vision")
    video = official.files.create(file=tmp_path / "clip.mp4", purpose="vision")
    common = {"model": "nano", "max_tokens": 8, "temperature": 0}

    def asking(part: dict[str, Any], **more: Any) -> dict[str, Any]:
        content = [part, {"type": "text", "text": "How many?"}]
        return {**common, "messages": [{"role": "user", "content": content}], **more}

    frames = {"media_io_kwargs": {"video": {"num_frames": 4}}}
    requests = {
        "image": asking({"type": "image_url", "image_url": {"file_id": image.id}}),
        "file": asking({"type": "file", "file": {"file_id": image.id}}, best_of=2, seed=3),
        "video": asking({"type": "video_url", "video_url": {"file_id": video.id}}, **frames),
        "gone": asking({"type": "file", "file": {"file_id": "file-gone"}}),
    }
    batch = run_batch(official, requests)
    found = results(official, batch.output_file_id)
    assert list(found) == ["image", "file", "video"]
    inline = {
        "image": asking({"type": "image_url", "image_url": {"url": data_url(picture)}}),
        "video": asking(
            {
                "type": "video_url",
                "video_url": {"url": data_url((tmp_path / "clip.mp4").read_bytes(), "video/mp4")},
            },
            **frames,
        ),
    }
    for name, body in inline.items():
        extra = {field: body.pop(field) for field in frames if field in body}
        direct = official.chat.completions.create(**body, extra_body=extra)
        reply = found[name]["body"]
        assert reply["choices"][0]["message"]["content"] == direct.choices[0].message.content
        assert direct.usage is not None
        assert reply["usage"]["prompt_tokens"] == direct.usage.prompt_tokens
        assert reply["vision"] == direct.model_extra["vision"]
    assert found["file"]["body"]["usage"]["prompt_tokens"] == found["image"]["body"]["usage"]["prompt_tokens"]
    gone = results(official, batch.error_file_id)["gone"]
    assert (gone["status_code"], gone["body"]["error"]["code"]) == (400, "file_not_found")


def test_a_batch_of_responses(official: openai.OpenAI):
    body = {"model": "nano", "input": "How many?", "max_output_tokens": 8, "temperature": 0}
    batch = run_batch(official, {"one": body, "wrong": {**body, "background": True}}, "/v1/responses")
    (name, response), *others = results(official, batch.output_file_id).items()
    direct = official.responses.create(**body)  # type: ignore[call-overload]
    parsed = openai.types.responses.Response.model_validate(response["body"])
    assert name == "one" and not others and parsed.output_text == direct.output_text
    wrong = results(official, batch.error_file_id)["wrong"]
    assert (wrong["status_code"], wrong["body"]["error"]["code"]) == (400, "unsupported_parameter")


def test_an_invalid_batch_names_its_line(official: openai.OpenAI):
    file = official.files.create(file=("lines.jsonl", jsonl(bodies()) + b"\n{}"), purpose="batch")
    batch = official.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    while batch.status == "validating":
        time.sleep(0.05)
        batch = official.batches.retrieve(batch.id)
    assert batch.status == "failed" and batch.errors is not None and batch.errors.data is not None
    (error,) = batch.errors.data
    assert (error.line, error.code, error.param) == (6, "missing_required_parameter", "custom_id")


def test_a_batch_can_be_cancelled(official: openai.OpenAI):
    long = {**bodies()["text"], "max_tokens": 200, "ignore_eos": True}
    file = official.files.create(
        file=("lines.jsonl", jsonl({f"q{number}": long for number in range(200)})), purpose="batch"
    )
    batch = official.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    batch = official.batches.cancel(batch.id)
    assert batch.status in ("cancelling", "cancelled")
    while batch.status == "cancelling":
        time.sleep(0.1)
        batch = official.batches.retrieve(batch.id)
    assert batch.status == "cancelled"
    finished = 0 if batch.output_file_id is None else len(results(official, batch.output_file_id))
    assert batch.request_counts is not None and finished == batch.request_counts.completed
    with pytest.raises(openai.ConflictError):
        official.batches.cancel(run_batch(official, {"text": bodies()["text"]}).id)
