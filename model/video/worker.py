"""The decoding process: it carries out one order after the other, each within its time.

`DecodeWorkers` starts this file as a program. It imports only what decoding needs, and it has no network and
none of the operator's keys (`model/isolated.py`). An order comes through a socket, together with a piece of
shared memory without a name, into which the tiles are written. So they aren't pickled, and nothing remains,
however the two processes end.
"""

import json
import os
import pickle
import signal
import socket
import struct
import sys
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from model.memory_limit import limit_memory

from .file import VideoError
from .order import VideoOrder

HEAD = struct.Struct(">Id")  # before an order: its length in bytes, and the seconds that it may take
ERRORS = 2  # the standard error


def less_memory(memory_mib: int) -> str:
    """Return the message for a video that needs more memory than a decoding process may have."""
    return (
        f"Decoding the video needed more than {memory_mib} MiB of memory. Send it at a lower resolution, ask "
        'for fewer frames, or ask for keyframes (mode "keyframe").'
    )


def decode_job(order: VideoOrder, shared: int, memory_mib: int) -> dict[str, Any]:
    """Carry out an order, and return a reply that JSON can hold.

    Args:
        order: the video and what to take from it.
        shared: the file descriptor of the memory for the tiles, which is closed.
        memory_mib: the memory of this process, for the message if it is too little.
    """
    with os.fdopen(shared, "wb") as file:
        try:
            video = order.read()
        except VideoError as error:
            return {"error": str(error)}
        except (MemoryError, BlockingIOError):  # BlockingIOError means that a thread got no memory.
            return {"error": less_memory(memory_mib)}
        file.write(video.tiles.data)
    reply = asdict(replace(video, tiles=np.empty(0, np.uint8)))
    del reply["tiles"]
    return reply | {"shape": video.tiles.shape, "times": reply.pop("times_F").tolist()}


def main() -> None:
    """Carry out orders until the other end of the socket is closed."""
    memory_mib, channel = int(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
    # Nobody reads the errors while an order is carried out, and a full pipe must not stop the decoder.
    os.set_blocking(ERRORS, False)
    limit_memory(memory_mib)
    while True:
        head, descriptors, _, _ = socket.recv_fds(channel, HEAD.size, 1)
        if not head:
            return
        length, seconds = HEAD.unpack(head)
        # If the parent process has ended, a hanging decoder ends itself.
        signal.setitimer(signal.ITIMER_REAL, seconds + 1)
        order: VideoOrder = pickle.loads(channel.recv(length, socket.MSG_WAITALL))
        reply = decode_job(order, descriptors[0], memory_mib)
        signal.setitimer(signal.ITIMER_REAL, 0)
        channel.sendall(json.dumps(reply).encode() + b"\n")


if __name__ == "__main__":
    main()
