"""A question becomes OpenAI's fields, and this server's fields only where they are used."""

from pathlib import Path
from typing import Any

import pytest

from clients.sdk.client import Client
from clients.sdk.files.stored_files import StoredFile
from clients.sdk.questions import Frames, question
from tests.clients.chat_server import Reply, chat_server, completion

PNG = b"\x89PNG"
STORED = StoredFile(id="file-2", bytes=4)
OPENAIS = {
    "messages",
    "model",
    "temperature",
    "max_tokens",
    "seed",
    "n",
    "tools",
    "stream",
    "response_format",
}


def parts(**arguments: Any) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = question("q", **arguments)["messages"][0]["content"]
    return content


def test_one_medium_or_many_stand_before_the_text(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(PNG)
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}
    text = {"type": "text", "text": "q"}
    assert parts() == [text]
    assert parts(images=image) == parts(images=str(image)) == parts(images=[image]) == [url, text]
    assert parts(images=(path for path in [image, image])) == [url, url, text]
    clip = {"type": "video_url", "video_url": {"url": "https://example.org/b.mp4"}}
    assert parts(images=image, video="https://example.org/b.mp4") == [url, clip, text]


def test_bytes_and_uploaded_files_are_media_too() -> None:
    (image, text) = parts(images=PNG)
    assert image["image_url"]["url"] == "data:application/octet-stream;base64,iVBORw=="
    file = {"type": "file", "file": {"file_id": "file-2"}}
    assert (
        parts(video=STORED)
        == parts(files="file-2")
        == parts(files=["file-2"])
        == parts(files=[STORED])
        == [file, text]
    )


def test_further_arguments_become_this_servers_fields() -> None:
    body = question("q", best_of=8, delta="auto", frames=Frames(start=10, end=20.5, num_frames=4), seed=7)
    assert {name: value for name, value in body.items() if name != "messages"} == {
        "test_time_scaling": {"n": 8, "return_candidates": True},
        "mm_processor_kwargs": {"v2pe_delta": "auto"},
        "media_io_kwargs": {"video": {"start": 10, "end": 20.5, "num_frames": 4}},
        "seed": 7,
    }
    assert question("q", frames=Frames(times=(1, 2.5)))["media_io_kwargs"]["video"] == {"times": [1, 2.5]}
    assert question("q", frames=Frames()).keys() == {"messages"}


def test_a_field_of_ones_own_is_joined_with_an_argument_and_wins() -> None:
    body = question(
        "q",
        best_of=8,
        delta=0.25,
        test_time_scaling={"method": "weighted_vote", "return_candidates": False},
        mm_processor_kwargs={"max_dynamic_patch": 6},
    )
    assert body["test_time_scaling"] == {"n": 8, "return_candidates": False, "method": "weighted_vote"}
    assert body["mm_processor_kwargs"] == {"v2pe_delta": 0.25, "max_dynamic_patch": 6}


@pytest.mark.parametrize("prefix", ["", "/v1", "/models/a/v1"])
def test_the_plain_part_works_with_a_server_that_knows_only_openais_fields(prefix: str) -> None:
    """Its replies have none of this server's fields, and null where OpenAI's have it."""

    def reply(body: dict[str, Any]) -> Reply:
        unknown = body.keys() - OPENAIS
        if unknown:
            return Reply({"error": {"message": f"Unrecognized: {unknown}"}}, status=400)
        answer = completion("yes", system_fingerprint=None, service_tier="default")
        answer["choices"][0] |= {"logprobs": None}
        answer["choices"][0]["message"] |= {"refusal": None, "tool_calls": None}
        return Reply(answer)

    path = f"{prefix.removesuffix('/v1')}/v1/chat/completions"
    with chat_server(reply, path) as url, Client(f"{url}{prefix}", api_key="k") as client:
        answer = client.ask("q", images=PNG, model="gpt", temperature=0, max_tokens=5, seed=1)
    assert answer.text == "yes" and answer.finish_reason == "stop"
    assert answer.usage is not None and answer.usage.total_tokens == 26
    assert (answer.candidates, answer.votes, answer.step_scores, answer.tool_calls) == ([], [], [], [])
    assert (answer.vision, answer.degraded, answer.selected) == (None, None, None)
