"""The plainest way to answer an item: the server gets the whole file and decodes it by itself."""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clients.video_jobs.digest import digest
from clients.video_jobs.items.item import Item
from clients.video_jobs.planning.measuring import Render
from clients.video_jobs.questions import Asker, Event, PaidRequest, VideoAnswer
from clients.video_jobs.run.answering import AnsweredItem
from clients.video_jobs.run.failures import Failure, ItemError, WorkerLost


@dataclass(frozen=True)
class WholeVideo:
    """Answers an item by one request with the file in it.

    A file that begins with b"crash" loses its worker, one with b"kill" kills this process, and an empty one
    can't be read.
    """

    fields: Mapping[str, Any] = field(default_factory=lambda: {"temperature": 0, "max_tokens": 8})
    num_frames: int = 2

    async def work_of(self, item: Item, video: Path) -> float | None:
        return float(len(item.question))

    async def __call__(self, item: Item, video: Path, ask: Asker) -> AnsweredItem:
        content = video.read_bytes()
        if not content:
            raise ItemError(Failure("probe", "bad_video", f"{video} is empty. Copy the video again."))
        if content.startswith(b"crash"):
            raise WorkerLost(Failure("decode", "worker_lost", "the decoder died"))
        if content.startswith(b"kill"):
            os.kill(os.getpid(), 9)
        url = f"data:video/mp4;base64,{base64.b64encode(content).decode()}"
        parts = [
            {"type": "video_url", "video_url": {"url": url}},
            {"type": "text", "text": item.question},
        ]
        body = {
            "messages": [{"role": "user", "content": parts}],
            "media_io_kwargs": {"video": {"num_frames": self.num_frames}},
            **self.fields,
            **item.parameters,
        }
        reply = await ask(PaidRequest("answer", body, digest(body)))
        text = str(reply["choices"][0]["message"]["content"])
        answer = VideoAnswer(
            answer=text,
            strategy="window",
            reason="it is the only one",
            events=(Event(0.0, 1.0, text),),
            frames=(0.0, 1.0),
            delta=None,
            usage=reply.get("usage") or {},
            decode_passes=1,
            evidence={},
        )
        return AnsweredItem(answer, duration=2.0)


async def whole_video(model: str | None, render: Render) -> WholeVideo:
    """Return the answerer of `run_job`; the model doesn't matter to it."""
    return WholeVideo()
