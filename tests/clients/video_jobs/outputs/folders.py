"""Write the results of a small job as a run would have written them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clients.video_jobs.items.item import Item
from clients.video_jobs.ledger.identity import check_identity, note_progress
from clients.video_jobs.outputs.output_lines import OutputLines
from clients.video_jobs.outputs.results import result_line
from clients.video_jobs.questions import Event, VideoAnswer
from tests.clients.chat_server import completion


def line_of(item: str, answer: str = "A dog.", events: Sequence[Event] = (), **chosen: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "strategy": "window",
        "reason": "the default",
        "frames": (0.0, 5.0),
        "delta": 0.25,
        "usage": {"prompt_tokens": 1000, "completion_tokens": 5},
        "decode_passes": 1,
        "evidence": {},
    }
    return result_line(
        Item(item, f"videos/{item}", "What happens?"),
        VideoAnswer(answer=answer, events=tuple(events), **fields | chosen),
        {"reply": completion("other"), "request_id": "req-1"},
        attempts=1,
        duration=10.0,
    )


def write_job(
    folder: Path,
    results: Sequence[dict[str, Any]],
    errors: Sequence[dict[str, Any]] = (),
    shard: str | None = None,
    settings: dict[str, Any] | None = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    check_identity(folder, {"config": settings or {}, "server": {"model": "nano"}, "shard": shard})
    for name, lines in (("results.jsonl", results), ("errors.jsonl", errors)):
        by_id = {line["custom_id"]: line for line in lines}
        OutputLines(folder / name, by_id, by_id.__getitem__)
    counts = {"items": len(results) + len(errors), "done": len(results), "failed": len(errors), "left": 0}
    note_progress(folder, counts)
    return folder


def error_of(item: str, kind: str = "empty_answer", message: str = "nothing") -> dict[str, Any]:
    return {
        "custom_id": item,
        "video": f"videos/{item}",
        "stage": "answer",
        "class": kind,
        "status": 200,
        "request_id": "req-2",
        "message": message,
        "attempts": 1,
        "retryable": True,
    }
