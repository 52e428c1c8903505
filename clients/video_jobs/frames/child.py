"""The program that reads a video in a process of its own: it looks at the file, or takes its frames.

`python -m clients.video_jobs.frames.child ORDER`, where ORDER is a JSON object with `video`, `parent` (the
id of the process that gives it) and, to take frames, `take` and `folder`. It prints JSON lines:
{"seconds": ..} for how far it has come, and at the end {"done": ..} or {"error": .., "stage": ..}.
"""

import ctypes
import errno
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from .container import open_container
from .decoding import decode_frames
from .errors import Stage, VideoError
from .stored import write_frames, write_index
from .take import Take
from .timeline import Timeline, read_timeline

MEMORY = 3 * 2**30  # bytes of memory that the process may write to
PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>
EVERY = 1.0  # seconds between two lines about the progress


def main() -> None:
    """Carry out the order of the command line."""
    order = json.loads(sys.argv[1])
    _end_with_parent(order["parent"])
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        _say({"done": carry_out(order)})
    except VideoError as error:
        _say({"error": str(error), "stage": error.stage})
    except MemoryError:
        _say(_failure("Decoding needs more than 3 GiB of memory. Use a lower resolution.", "decode"))
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "Free some space, or name another folder for the frames." if full else "Check the folder."
        _say(
            _failure(
                f"The frames can't be kept in {order.get('folder')}: {error.strerror}. {advice}", "cache"
            )
        )


def carry_out(order: dict[str, Any]) -> dict[str, Any]:
    """Return what there is to say of the video; with `take` and `folder`, write its frames there first."""
    path = Path(order["video"])
    with open_container(path) as (container, stream):
        timeline = read_timeline(path, container, stream)
    if "take" not in order:
        facts = asdict(timeline) | {"times": [timeline.seconds(pts) for pts in timeline.pts]}
        del facts["pts"], facts["time_base"]
        return facts
    take, folder = Take(**order["take"]), Path(order["folder"])
    chosen = timeline.taken(take.fps)
    began = time.process_time()
    with open_container(path) as (container, stream):
        frames = _in_seconds(decode_frames(container, stream, chosen, take.side), timeline)
        index = write_frames(folder, frames, take)
    taken = len(index["times"])
    if taken * 2 < len(chosen):
        raise VideoError(
            f"{path} is damaged: only {taken} of {len(chosen)} frames can be decoded. Copy the video again.",
            "decode",
        )
    facts = {
        "duration": timeline.duration,
        "codec": timeline.codec,
        "width": timeline.width,
        "height": timeline.height,
        "is_variable": timeline.is_variable,
        "missing": len(chosen) - taken,
        "decode_seconds": time.process_time() - began,
    }
    write_index(folder, index | facts)
    return {"frames": taken}


def _in_seconds(
    frames: Iterator[tuple[int, Image.Image]], timeline: Timeline
) -> Iterator[tuple[float, Image.Image]]:
    """Yield the frames with their times in seconds, and print now and then how far they have come."""
    last_line = time.monotonic()
    for pts, image in frames:
        seconds = timeline.seconds(pts)
        yield seconds, image
        if time.monotonic() - last_line > EVERY:
            last_line = time.monotonic()
            _say({"seconds": seconds})


def _failure(message: str, stage: Stage) -> dict[str, Any]:
    return {"error": message, "stage": stage}


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def _end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, also while a decoder hangs."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the parent process has ended already")


if __name__ == "__main__":
    main()
