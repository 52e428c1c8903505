"""Lines of results.jsonl: those of OpenAI's batches, with a block about the video."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from clients.video_jobs.digest import digest
from clients.video_jobs.items.item import Item
from clients.video_jobs.questions import VideoAnswer

FILE_NAME = "results.jsonl"


def result_line(
    item: Item, answer: VideoAnswer, step: Mapping[str, Any], *, attempts: int, duration: float | None
) -> dict[str, Any]:
    """Return the line of an item.

    `step` is the ledger's line of the request that gave the answer. Its reply is the body of the response,
    with the answer as its text.
    """
    return {
        "id": f"item-{digest([item.id, item.fingerprint])[:24]}",
        "custom_id": item.id,
        "response": {
            "status_code": 200,
            "request_id": step.get("request_id"),
            "body": _body(step.get("reply"), answer),
        },
        "error": None,
        "video": {
            "source": item.video,
            "question": item.question,
            "duration": duration,
            "strategy": answer.strategy,
            "reason": answer.reason,
            "delta": answer.delta,
            "frames": list(answer.frames),
            "events": [asdict(event) for event in answer.events],
            "evidence": answer.evidence,
            "tokens": answer.usage,
            "decode_passes": answer.decode_passes,
            "attempts": attempts,
        },
    }


def text_of(line: Mapping[str, Any]) -> str:
    """Return the answer in a line of results.jsonl."""
    return str(line["response"]["body"]["choices"][0]["message"]["content"])


def as_json(line: Mapping[str, Any]) -> str:
    """Return a line of a JSON Lines file, with its end."""
    return json.dumps(line) + "\n"


def _body(reply: Mapping[str, Any] | None, answer: VideoAnswer) -> Mapping[str, Any]:
    choices = (reply or {}).get("choices") or [{"index": 0, "finish_reason": "stop"}]
    message = {"role": "assistant", **(choices[0].get("message") or {}), "content": answer.answer}
    return {"object": "chat.completion", **(reply or {}), "choices": [{**choices[0], "message": message}]}
