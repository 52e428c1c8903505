"""Compile grammars of requests in a process that may crash, before the engine compiles them.

The outcomes are remembered by the grammars' hashes. So an ordinary schema is compiled here only once, and one
that took too long or crashed its compiler is refused at once when it comes again.
"""

import asyncio
import hashlib
import json
import logging
import os
from collections import Counter, OrderedDict
from contextlib import suppress
from dataclasses import fields
from typing import Any

from vllm.sampling_params import StructuredOutputsParams

from model.isolated import isolated_command, kept_environment
from server.errors import TOO_COMPLEX, ApiError, StartupError

from .compiler import GrammarSettings
from .depth import is_deep
from .worker import packed

logger = logging.getLogger("internvl3.engine")
# CPU time of vLLM's own check of a grammar. The server's event loop repeats it for every candidate; an
# ordinary schema takes milliseconds.
SIDE_BY_SIDE = 2  # compilations; the time limit of one begins with its turn
NICENESS = 5  # of the process: the engines come first, also while it starts beside them
REMEMBERED = 4096  # hashes of grammars, of those that compiled and of all others
REFUSED_SECONDS = 600.0  # a grammar may have failed because the machine was busy, so it gets another chance
ENDED = "ended"  # the outcome of a check that the end of its process, or of its requests, has interrupted
PROBLEMS = {
    "slow": "takes too long: its check may take a tenth of a second of CPU time, and check and compilation "
    "{seconds:g} s. Send a smaller or simpler one.",
    "crashed": "needs more memory or more levels than the compiler has. Send a smaller or simpler one.",
    "failed": "can't be compiled, or no answer fits it. Correct it, or send a smaller or simpler one.",
    "foreign": "refers to another document by $ref. Put what it refers to into the schema, under $defs.",
}


class GrammarChecker:
    """Compiles grammars in a process of its own, which it starts and, should it end, starts anew.

    It may be started before it is configured, so that its process imports vLLM while the engines load.
    """

    def __init__(self) -> None:
        self._settings: asyncio.Future[GrammarSettings] = asyncio.get_running_loop().create_future()
        self._passed: OrderedDict[bytes, str] = OrderedDict()
        self._refused: OrderedDict[bytes, tuple[str, float]] = OrderedDict()  # and when that is forgotten
        self._checks: dict[bytes, asyncio.Task[str]] = {}
        self._waiting: Counter[bytes] = Counter()  # the requests that wait for each check
        self._outcomes: dict[int, asyncio.Future[str]] = {}
        self._numbers = 0
        self._turns = asyncio.Semaphore(SIDE_BY_SIDE)
        self._starting: asyncio.Task[asyncio.subprocess.Process] | None = None
        self._reading: asyncio.Task[None] | None = None  # kept, because the event loop holds tasks weakly

    @property
    def compact_json(self) -> bool:
        """Whether the engine writes JSON without white space."""
        return self._settings.result().compact_json

    def start(self) -> None:
        """Start the process, in the background; it takes seconds to be ready."""
        if self._starting is None or (self._starting.done() and self._ended()):
            self._starting = asyncio.create_task(self._start())

    def configure(self, settings: GrammarSettings) -> None:
        """Give the process what it compiles with, once."""
        self._settings.set_result(settings)

    async def ready(self) -> None:
        """Wait until the process can compile. Raises StartupError if it does not start."""
        self.start()
        assert self._starting is not None
        await asyncio.shield(self._starting)

    async def check(self, params: StructuredOutputsParams, *, param: str) -> None:
        """Compile a grammar; `param` is the field of the request that it came with.

        Raises ApiError (400, `grammar_too_complex`) if that takes too much time or memory, or crashes, and
        ApiError (503) if the process ended meanwhile. What vLLM itself refuses passes: vLLM refuses it with
        its own reason.
        """
        outcome = "failed" if is_deep(params.json) else await self._shared_outcome(params)
        if outcome == ENDED:
            raise ApiError(
                f"The check of {param} was interrupted. Retry in a few seconds.",
                status=503,
                param=param,
                code="grammar_check_interrupted",
            )
        if outcome in PROBLEMS:
            problem = PROBLEMS[outcome].format(seconds=self._settings.result().seconds)
            raise ApiError(f"The grammar of {param} {problem}", param=param, code=TOO_COMPLEX)

    def close(self) -> None:
        """End the process."""
        if self._starting is None:
            return
        if not self._starting.done():
            self._starting.cancel()
        elif not self._starting.cancelled() and self._starting.exception() is None:
            process = self._starting.result()
            if self._reading is not None:
                self._reading.cancel()
            if process.returncode is None:
                process.kill()

    async def _shared_outcome(self, params: StructuredOutputsParams) -> str:
        """Return the outcome of a compilation that all requests with this grammar share."""
        # A copy of a choice among 200,000 words would take a second, so the values stay as they are.
        values = {each.name: getattr(params, each.name) for each in fields(params) if each.name[0] != "_"}
        key = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).digest()
        known = self._remembered(key)
        if known is not None:
            return known
        if key not in self._checks:
            self._checks[key] = asyncio.create_task(self._outcome(key, StructuredOutputsParams(**values)))
        self._waiting[key] += 1
        try:
            return await asyncio.shield(self._checks[key])
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]

    async def _outcome(self, key: bytes, params: StructuredOutputsParams) -> str:
        try:
            async with self._turns:
                if key not in self._waiting:  # all clients left before the turn came
                    return ENDED
                outcome = await self._compile(params)
        except (StartupError, OSError):  # the process has ended, and a new one can't be started
            logger.exception("the process that compiles grammars did not start")
            return ENDED
        finally:
            del self._checks[key]  # at once, so that no request joins a check that has ended
        self._remember(key, outcome)
        return outcome

    def _remembered(self, key: bytes) -> str | None:
        if key in self._passed:
            self._passed.move_to_end(key)
            return self._passed[key]
        outcome, forgotten_at = self._refused.get(key, (None, 0.0))
        return outcome if asyncio.get_running_loop().time() < forgotten_at else None

    def _remember(self, key: bytes, outcome: str) -> None:
        if outcome in PROBLEMS:
            self._refused[key] = outcome, asyncio.get_running_loop().time() + REFUSED_SECONDS
            self._refused.move_to_end(key)
        elif outcome != ENDED:
            self._passed[key] = outcome
        for memory in (self._passed, self._refused):
            while len(memory) > REMEMBERED:
                memory.popitem(last=False)

    async def _compile(self, params: StructuredOutputsParams) -> str:
        await self.ready()
        assert self._starting is not None
        process = self._starting.result()
        self._numbers += 1
        number, outcome = self._numbers, asyncio.get_running_loop().create_future()
        self._outcomes[number] = outcome
        try:
            assert process.stdin is not None, "started with pipes"
            process.stdin.write(packed((number, params)))
            return await outcome
        finally:
            del self._outcomes[number]

    def _ended(self) -> bool:
        task = self._starting
        assert task is not None
        return task.cancelled() or task.exception() is not None or task.result().returncode is not None

    async def _start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *isolated_command("server.vllm_engine.grammars.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is for the server, which then ends the process itself
        )
        assert process.stdin is not None and process.stdout is not None, "started with pipes"
        try:
            os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
            process.stdin.write(packed(await asyncio.shield(self._settings)))
            ready = await _next_message(process.stdout)
        except BaseException:  # includes the cancellation by `close`
            with suppress(ProcessLookupError):
                process.kill()
            raise
        if ready is None:
            raise StartupError("the process that compiles grammars did not start")
        if ready.get("network") == "open":
            logger.warning(
                "the kernel does not let the processes that read videos and grammars of clients leave the "
                "network; see docs/deployment.md"
            )
        self._reading = asyncio.create_task(self._read_outcomes(process))
        return process

    async def _read_outcomes(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None, "started with pipes"
        while (message := await _next_message(process.stdout)) is not None:
            outcome = self._outcomes.get(message["number"])
            if outcome is not None and not outcome.done():
                outcome.set_result(message["outcome"])
        await process.wait()
        logger.warning("the process that compiles grammars ended with %s", process.returncode)
        for outcome in self._outcomes.values():
            if not outcome.done():
                outcome.set_result(ENDED)


def _environment() -> dict[str, str]:
    """Return the variables of the process: vLLM's, because they change how it compiles, but no keys."""
    vllm = {
        name: value for name, value in os.environ.items() if name.startswith("VLLM_") and "KEY" not in name
    }
    return kept_environment(os.environ) | vllm | {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}


async def _next_message(stream: asyncio.StreamReader) -> dict[str, Any] | None:
    """Return the process's next message, or None at its end.

    Other lines are skipped, because a library may print one, and without this reader every check would hang.
    """
    while True:
        try:
            line = await stream.readline()
            message = json.loads(line) if line else None
        except ValueError:  # no JSON, or a line beyond the stream's limit
            continue
        if isinstance(message, dict) or not line:
            return message
