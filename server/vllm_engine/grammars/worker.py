"""The process that compiles a request's grammar before the engine sees it.

The grammar libraries are native code, and a client chooses their input: a schema of 5,000 references
overflows their stack, one of 100,000 words takes minutes. So each grammar is compiled once in a fork of this
process, which may run out of time or memory, or crash, without harm to anybody else. The process imports vLLM
once, and then forks within milliseconds. It is started as `python -m server.vllm_engine.grammars.worker`.

Messages in are pickles with their length in front: first `GrammarSettings`, then `(number, params)`. Messages
out are lines of JSON, `{"number": 3, "outcome": "compiled"}`.
"""

import ctypes
import json
import os
import pickle
import selectors
import signal
import struct
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from io import RawIOBase
from typing import Any

from vllm.sampling_params import StructuredOutputsParams

from model.isolated import NETWORK
from model.memory_limit import MIB, limit_memory

from .compiler import Compiler, GrammarSettings

LENGTH = struct.Struct("!Q")
PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>
STACK = 4 * MIB  # bytes; the server and the engine have twice as much, so what fits here fits there


def packed(message: object) -> bytes:
    """Return a message as it goes to the process: a pickle with its length in front."""
    data = pickle.dumps(message)
    return LENGTH.pack(len(data)) + data


def read_message(stream: RawIOBase) -> Any:
    """Read one message that `packed` made; raises EOFError at the end of the stream."""
    (length,) = LENGTH.unpack(_read(stream, LENGTH.size))
    return pickle.loads(_read(stream, length))


def _read(stream: RawIOBase, length: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < length:
        piece = stream.read(length - len(pieces))
        if not piece:
            raise EOFError
        pieces += piece
    return bytes(pieces)


def end_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent ends, which alone knows its deadline."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


def run_child(params: StructuredOutputsParams, compiler: Compiler, memory_mib: int, pipe: int) -> None:
    """Compile within the limits, write the outcome to the pipe and end this process, a fork."""
    limit_memory(memory_mib)
    threading.stack_size(STACK)

    def work() -> None:
        try:
            outcome = compiler.outcome(params)
        except (MemoryError, RecursionError):
            outcome = "crashed"
        os.write(pipe, outcome.encode())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    os._exit(0)


@dataclass(frozen=True)
class Compilation:
    """A fork that compiles: its process, and when it is killed (seconds of the monotonic clock)."""

    number: int
    pid: int
    deadline: float


def fork(
    number: int, params: StructuredOutputsParams, compiler: Compiler, settings: GrammarSettings
) -> tuple[int, Compilation]:
    """Start a compilation. Returns the end of the pipe where its outcome arrives, and the compilation."""
    reading, writing = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        end_with_parent(parent)
        os.close(reading)
        silence = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):  # the libraries' warnings quote what a client has sent
            os.dup2(silence, stream.fileno())
        run_child(params, compiler, settings.memory_mib, writing)
    os.close(writing)
    return reading, Compilation(number, pid, time.monotonic() + settings.seconds)


def finish(reading: int, compilation: Compilation) -> Mapping[str, Any]:
    """Return the message about a compilation that has ended; one whose time is over is ended here."""
    timed_out = time.monotonic() >= compilation.deadline
    if timed_out:
        os.kill(compilation.pid, signal.SIGKILL)
    outcome = os.read(reading, 64).decode()
    os.close(reading)
    os.waitpid(compilation.pid, 0)
    return {"number": compilation.number, "outcome": outcome or ("slow" if timed_out else "crashed")}


def main() -> None:
    """Serve the messages on standard input until it ends."""
    messages = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
    settings: GrammarSettings = read_message(messages)
    compiler = Compiler(settings)
    compiler.warm_up()
    print(json.dumps({"ready": True, "network": os.environ.get(NETWORK)}), flush=True)
    under_way: dict[int, Compilation] = {}
    selector = selectors.DefaultSelector()
    selector.register(messages, selectors.EVENT_READ)
    while True:
        soonest = min((one.deadline for one in under_way.values()), default=None)
        wait = None if soonest is None else max(0.0, soonest - time.monotonic())
        ready = {key.fd for key, _ in selector.select(wait)}
        now = time.monotonic()
        for reading, compilation in list(under_way.items()):
            if reading in ready or now >= compilation.deadline:
                selector.unregister(reading)
                print(json.dumps(finish(reading, under_way.pop(reading))), flush=True)
        if messages.fileno() in ready:
            try:
                number, params = read_message(messages)
            except EOFError:
                return
            reading, compilation = fork(number, params, compiler, settings)
            selector.register(reading, selectors.EVENT_READ)
            under_way[reading] = compilation


if __name__ == "__main__":
    main()
