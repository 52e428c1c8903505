"""Read a video in a child process that is killed when it hangs, crashes or isn't needed any more."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import VideoError
from .take import Take

SILENCE = 120.0  # seconds without a frame after which the child is killed
LONGEST_LINE = 2**28  # bytes; the times of 12 hours take 30 MB


@dataclass(frozen=True)
class VideoFacts:
    """What a video file says of itself without being decoded.

    `times` are when its frames are shown, in seconds from the first one, and `duration` is until the last one
    ends. `is_variable` is whether the frame rate varies.
    """

    times: tuple[float, ...]
    duration: float
    codec: str
    width: int
    height: int
    is_variable: bool


async def read_facts(video: Path, *, silence: float = SILENCE) -> VideoFacts:
    """Return what a video file says of itself. Raises VideoError."""
    reply = await _run({"video": str(video)}, silence, lambda seconds: None)
    return VideoFacts(**reply | {"times": tuple(reply["times"])})


async def take_frames(
    video: Path,
    take: Take,
    folder: Path,
    *,
    progress: Callable[[float], None] = lambda seconds: None,
    silence: float = SILENCE,
) -> None:
    """Decode a video once and write its frames into an existing folder; see `StoredFrames`.

    `progress` is called with the seconds of the video that were decoded. The child is killed when the
    awaiting task is cancelled, or when it has said nothing for `silence` seconds. Raises VideoError.
    """
    order = {"video": str(video), "take": take.as_json(), "folder": str(folder)}
    await _run(order, silence, progress)


async def _run(order: Mapping[str, Any], silence: float, progress: Callable[[float], None]) -> dict[str, Any]:
    order = {**order, "parent": os.getpid()}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "clients.video_jobs.frames.child", json.dumps(order)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # FFmpeg's messages; what counts comes through the pipe
        limit=LONGEST_LINE,
        start_new_session=True,  # Ctrl-C is for this process, which then ends the child itself
    )
    assert process.stdout is not None, "started with a pipe"
    try:
        while True:
            async with asyncio.timeout(silence):
                line = await process.stdout.readline()
            if not line:
                raise _crash(order["video"], await process.wait())
            message = json.loads(line)
            if "error" in message:
                raise VideoError(message["error"], message["stage"])
            if "done" in message:
                result: dict[str, Any] = message["done"]
                return result
            progress(message["seconds"])
    except TimeoutError:
        raise VideoError(
            f"The decoder of {order['video']} stood still for {silence:g} s. Encode it as H.264 in MP4.",
            "decode",
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _crash(video: str, status: int) -> VideoError:
    """Return the error for a child that has ended without a reply."""
    if status == -signal.SIGKILL:  # nobody here killed it, so the machine has no memory left
        return VideoError(
            f"The machine had too little memory to decode {video}. Decode fewer videos at a time.",
            "decode",
            retryable=True,
        )
    return VideoError(
        f"{video} made its decoder crash (status {status}). Encode it again as H.264 in MP4.", "decode"
    )
