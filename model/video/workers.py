"""Read videos in processes of their own, so that a hanging or crashing decoder costs only one request.

The processes are kept, because the start of one takes as long as decoding a short clip. A process that has
met a bad file, or has read FILES of them, is replaced, so that nothing of a file stays for long.
"""

import asyncio
import json
import logging
import math
import mmap
import os
import pickle
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from model.isolated import isolated_command, kept_environment

from .file import VideoError
from .order import VideoOrder
from .tiles import Video
from .worker import HEAD, less_memory

FILES = 32  # that one process reads
PIECE = 2**16  # bytes that are read at a time
LONGEST_REPLY = 2**24  # bytes
log = logging.getLogger("internvl3.video")


class DecodeWorkers:
    """Up to `processes` decoding processes. One is started when it is first needed, and then kept."""

    def __init__(self, processes: int, *, memory_mib: int = 2048) -> None:
        """`memory_mib` limits the memory of each process with the tiles of its video.

        While the tiles are handed over, they take their size a second time.
        """
        self._turns = asyncio.Semaphore(processes)
        self._memory_mib = memory_mib
        self._idle: list[_Worker] = []
        self._is_closed = False

    async def read(self, order: VideoOrder, *, seconds: float = 60.0) -> Video:
        """Return the video of an order, which may take so many seconds from its turn on.

        The process is killed when the awaiting task is cancelled.

        Raises:
            VideoError: as in `VideoOrder.read`, or the process took too long, needed too much memory or
                crashed.
            OSError: the machine has no more processes, files or memory.
        """
        async with self._turns:
            worker = self._take()
            try:
                video = await worker.carry_out(order, seconds)
            except BaseException:
                await self._replace(worker)
                raise
            if worker.files < FILES:
                self._idle.append(worker)
            else:
                await self._replace(worker)
            return video

    def close(self) -> None:
        """End the processes that are waiting. One that is busy ends when its `read` is cancelled."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().end()

    def _take(self) -> "_Worker":
        while self._idle:
            worker = self._idle.pop()
            if worker.process.poll() is None:
                return worker
            worker.end()  # it died while it was waiting
        return _Worker.start(self._memory_mib)

    async def _replace(self, worker: "_Worker") -> None:
        """End a process and start the next one, which gets ready while nobody waits for it."""
        await asyncio.to_thread(worker.end)
        if self._is_closed:
            return
        with suppress(OSError):  # the next order tries it again, and then its client is told
            self._idle.insert(0, _Worker.start(self._memory_mib))


@dataclass
class _Worker:
    """One decoding process, and how many files it has read."""

    process: subprocess.Popen[bytes]
    channel: socket.socket
    memory_mib: int
    files: int = 0

    @classmethod
    def start(cls, memory_mib: int) -> Self:
        channel, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                isolated_command("model.video.worker", str(memory_mib), str(theirs.fileno())),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                env=kept_environment(os.environ),
                start_new_session=True,  # Ctrl-C is for the server, which then ends the process itself
            )
        channel.setblocking(False)
        assert process.stderr is not None, "started with a pipe"
        os.set_blocking(process.stderr.fileno(), False)
        return cls(process, channel, memory_mib)

    async def carry_out(self, order: VideoOrder, seconds: float) -> Video:
        self.files += 1
        shared = os.memfd_create("internvl3-tiles")
        try:
            async with asyncio.timeout(seconds):
                reply = await self._reply(order, seconds, shared)
            if "error" in reply:
                raise VideoError(reply["error"])
            shape = reply.pop("shape")
            # The pages are private, so the receiver may write to them. They are freed with its arrays.
            pages = mmap.mmap(shared, math.prod(shape), access=mmap.ACCESS_COPY)
        except TimeoutError:
            raise _too_slow(seconds, order.request.mode) from None
        finally:
            os.close(shared)
        self._errors()  # so that the pipe has room
        tiles = np.frombuffer(pages, np.uint8).reshape(shape)
        return Video(tiles=tiles, times_F=np.array(reply.pop("times"), np.float64), **reply)

    async def _reply(self, order: VideoOrder, seconds: float, shared: int) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        message = pickle.dumps(order)
        reply = b""
        try:
            socket.send_fds(self.channel, [HEAD.pack(len(message), seconds)], [shared])
            await loop.sock_sendall(self.channel, message)
            while not reply.endswith(b"\n") and len(reply) < LONGEST_REPLY:
                piece = await loop.sock_recv(self.channel, PIECE)
                if not piece:
                    raise await asyncio.to_thread(self._crash, seconds, order.request.mode)
                reply += piece
        except ConnectionError:
            raise await asyncio.to_thread(self._crash, seconds, order.request.mode) from None
        read: dict[str, Any] = json.loads(reply)
        return read

    def _crash(self, seconds: float, mode: str) -> VideoError:
        """Return the error for a process that has ended by itself."""
        status = self.process.wait()
        # This process didn't kill it, so the machine ran out of memory before the limit was reached.
        if status == -signal.SIGKILL:
            return VideoError(less_memory(self.memory_mib))
        if status == -signal.SIGALRM:
            return _too_slow(seconds, mode)
        log.warning("the video decoder ended with status %d: %s", status, self._errors())
        return VideoError("The video made its decoder crash. Encode it again as H.264 in MP4.")

    def _errors(self) -> str:
        """Return the end of what the process has written to its standard error since the last call."""
        assert self.process.stderr is not None, "started with a pipe"
        return (self.process.stderr.read() or b"")[-2000:].decode(errors="replace")

    def end(self) -> None:
        """Kill the process, if it still runs, and wait until it has ended."""
        self.process.kill()
        self.process.wait()
        self.channel.close()
        assert self.process.stderr is not None, "started with a pipe"
        self.process.stderr.close()


def _too_slow(seconds: float, mode: str) -> VideoError:
    advice = (
        "Ask for fewer frames or send a shorter clip."
        if mode == "keyframe"
        else 'Ask for keyframes (mode "keyframe"), which take far less work, or for fewer frames.'
    )
    return VideoError(f"Decoding the video took longer than {seconds:g} s. {advice}")
