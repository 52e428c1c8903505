"""Read a video in a separate process, so that a hanging or crashing decoder costs only one request.

The server awaits `read_video_isolated` in the parent process. The child process runs this file as a program
and imports only what decoding needs. It has no network and none of the operator's keys
(`model/isolated.py`). The tiles return through shared memory without a name. So they aren't pickled, and
nothing remains, however the two processes end.
"""

import asyncio
import json
import logging
import math
import mmap
import os
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from model.images.tiling import TilingConfig
from model.isolated import isolated_command, kept_environment
from model.memory_limit import limit_memory

from .file import VideoBounds, VideoError
from .frames import FrameRequest
from .tiles import Backend, Video, read_video

MIB = 1024**2
log = logging.getLogger("internvl3.video")


async def read_video_isolated(
    path: str | Path,
    request: FrameRequest,
    tiling: TilingConfig,
    *,
    limit: int,
    backend: Backend = "pyav",
    bounds: VideoBounds = VideoBounds(),  # noqa: B008 (frozen)
    seconds: float = 60.0,
    memory_mib: int = 2048,
) -> Video:
    """Return the result of `read_video`, run in a process with limits.

    The process is killed when the awaiting task is cancelled.

    Args:
        path, request, tiling, limit, backend, bounds: as in `read_video`.
        seconds: the most time that the process may take, including its start.
        memory_mib: the most memory of the decoder and its tiles. While the tiles are handed over, they take
            their size a second time.

    Raises:
        VideoError: as in `read_video`, or the process took too long, needed too much memory or crashed.
    """
    shared = os.memfd_create("internvl3-tiles")
    try:
        order = {
            "path": str(Path(path).absolute()),
            "request": asdict(request),
            "tiling": asdict(tiling),
            "limit": limit,
            "backend": backend,
            "bounds": asdict(bounds),
            "seconds": seconds,
            "memory_mib": memory_mib,
            "shared": shared,
        }
        reply = await _run_worker(order, seconds)
        if "error" in reply:
            raise VideoError(reply["error"])
        shape = reply.pop("shape")
        # The pages are private, so the receiver may write to them. They are freed with its arrays.
        pages = mmap.mmap(shared, math.prod(shape), access=mmap.ACCESS_COPY)
    finally:
        os.close(shared)
    tiles = np.frombuffer(pages, np.uint8).reshape(shape)
    return Video(tiles=tiles, times_F=np.array(reply.pop("times"), np.float64), **reply)


async def _run_worker(order: dict[str, Any], seconds: float) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *isolated_command("model.video.worker", json.dumps(order)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=(order["shared"],),
        env=kept_environment(os.environ),
    )
    try:
        async with asyncio.timeout(seconds):
            output, errors = await process.communicate()
    except TimeoutError:
        raise VideoError(
            f"Decoding the video took longer than {seconds:g} s. {_less_work(order['request']['mode'])}"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    # This process didn't kill it, so the machine ran out of memory before the limit was reached.
    if process.returncode == -signal.SIGKILL:
        raise VideoError(_too_much(order["memory_mib"]))
    if process.returncode:
        reason = errors[-2000:].decode(errors="replace")
        log.warning("the video decoder ended with status %d: %s", process.returncode, reason)
        raise VideoError("The video made its decoder crash. Encode it again as H.264 in MP4.")
    reply: dict[str, Any] = json.loads(output.splitlines()[-1])
    return reply


def decode_job(order: dict[str, Any]) -> dict[str, Any]:
    """Read the video of one order within its limits, and return a reply that JSON can hold."""
    _limit(order["seconds"], order["memory_mib"])
    try:
        video = read_video(
            order["path"],
            FrameRequest(**order["request"]),
            TilingConfig(**order["tiling"]),
            limit=order["limit"],
            backend=order["backend"],
            bounds=VideoBounds(**order["bounds"]),
        )
    except VideoError as error:
        return {"error": str(error)}
    except (MemoryError, BlockingIOError):  # BlockingIOError means that a thread got no memory.
        return {"error": _too_much(order["memory_mib"])}
    with os.fdopen(order["shared"], "wb") as file:
        file.write(video.tiles.data)
    reply = asdict(replace(video, tiles=np.empty(0, np.uint8)))
    del reply["tiles"]
    return reply | {"shape": video.tiles.shape, "times": reply.pop("times_F").tolist()}


def _less_work(mode: str) -> str:
    if mode == "keyframe":
        return "Ask for fewer frames or send a shorter clip."
    return 'Ask for keyframes (mode "keyframe"), which take far less work, or for fewer frames.'


def _too_much(memory_mib: int) -> str:
    return (
        f"Decoding the video needed more than {memory_mib} MiB of memory. "
        "Send it at a lower resolution or ask for fewer frames."
    )


def _limit(seconds: float, memory_mib: int) -> None:
    limit_memory(memory_mib)
    # If the parent process has ended, a hanging decoder ends itself.
    signal.setitimer(signal.ITIMER_REAL, seconds + 1)


if __name__ == "__main__":
    print(json.dumps(decode_job(json.loads(sys.argv[1]))))
