"""Decoding in a process of its own: a video that hangs, crashes or swells its decoder costs one request.

The parent half, `read_video_isolated`, is awaited by the server. The child half, run as a program, imports no
more than decoding needs. Tiles come back through shared memory that has no name: they are not pickled, and
nothing is left behind however the two processes end.
"""

import asyncio
import json
import logging
import math
import mmap
import os
import resource
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from model.images.tiling import TilingConfig

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
    """`read_video` in a process that may take so many seconds, its start included, and so much memory.

    The process is killed when the awaiting task is cancelled. `memory_mib` is for the decoder and its tiles;
    while they are handed over the tiles take up their size a second time.

    Raises:
        VideoError: as `read_video`; also if it took too long, needed too much memory or crashed.
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
        # Private pages: the receiver may write, and the memory goes when its arrays do.
        pages = mmap.mmap(shared, math.prod(shape), access=mmap.ACCESS_COPY)
    finally:
        os.close(shared)
    tiles = np.frombuffer(pages, np.uint8).reshape(shape)
    return Video(tiles=tiles, times_F=np.array(reply.pop("times"), np.float64), **reply)


async def _run_worker(order: dict[str, Any], seconds: float) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "model.video.worker",
        json.dumps(order),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=(order["shared"],),
    )
    try:
        async with asyncio.timeout(seconds):
            answer, complaint = await process.communicate()
    except TimeoutError:
        raise VideoError(
            f"Decoding the video took longer than {seconds:g} s. Send a shorter clip or ask for fewer frames."
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == -signal.SIGKILL:  # not by us: the machine's memory ran out before its limit
        raise VideoError(_too_much(order["memory_mib"]))
    if process.returncode:
        reason = complaint[-2000:].decode(errors="replace")
        log.warning("the video decoder ended with status %d: %s", process.returncode, reason)
        raise VideoError("The video made its decoder crash. Encode it anew, as H.264 in MP4.")
    reply: dict[str, Any] = json.loads(answer.splitlines()[-1])
    return reply


def decode_job(order: dict[str, Any]) -> dict[str, Any]:
    """The child's part: obeys one order within its limits; the reply is JSON."""
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
    except (MemoryError, BlockingIOError):  # the latter: no memory for a thread
        return {"error": _too_much(order["memory_mib"])}
    with os.fdopen(order["shared"], "wb") as file:
        file.write(video.tiles.data)
    reply = asdict(replace(video, tiles=np.empty(0, np.uint8)))
    del reply["tiles"]
    return reply | {"shape": video.tiles.shape, "times": reply.pop("times_F").tolist()}


def _too_much(memory_mib: int) -> str:
    return (
        f"Decoding the video needed more than {memory_mib} MiB of memory. "
        "Send it at a lower resolution or ask for fewer frames."
    )


def _limit(seconds: float, memory_mib: int) -> None:
    # RLIMIT_DATA counts what the process can write to, thread stacks included, and not the libraries or files
    # that it maps: the nearest to resident memory that the kernel enforces. What is there already stays free.
    limit = _data_bytes() + memory_mib * MIB
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Whoever asked may be gone: a hung decoder then ends itself.
    signal.setitimer(signal.ITIMER_REAL, seconds + 1)


def _data_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    (kib,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmData:"))
    return int(kib) * 1024


if __name__ == "__main__":
    print(json.dumps(decode_job(json.loads(sys.argv[1]))))
