"""Checks that requests share, wait for, leave and lose, with a compilation or a process that is replaced."""

import asyncio
import json
import shlex
from typing import Any

import pytest
from vllm.config.structured_outputs import StructuredOutputsConfig
from vllm.sampling_params import StructuredOutputsParams

from server.errors import TOO_COMPLEX, ApiError
from server.vllm_engine.grammars.checker import REFUSED_SECONDS, SIDE_BY_SIDE, GrammarChecker
from server.vllm_engine.grammars.compiler import GrammarSettings

SETTINGS = GrammarSettings(
    tokenizer=None,
    vocab_size=0,
    config=StructuredOutputsConfig(),
    compact_json=True,
    seconds=5.0,
    check_seconds=1.0,
    memory_mib=1024,
)
ONE_BYTE = "head -c 1 >/dev/null"  # waits for the first grammar


class WaitingChecker(GrammarChecker):
    """A checker whose compilations end when the test lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.configure(SETTINGS)
        self.begun: list[Any] = []
        self.may_end = asyncio.Event()

    async def _compile(self, params: StructuredOutputsParams) -> str:
        self.begun.append(params.choice)
        await self.may_end.wait()
        return "compiled"


class ReplacedProcess(GrammarChecker):
    """A checker with another program in the place of its process; it may be started once."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self.configure(SETTINGS)
        self._program = program

    async def _start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", self._program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        self.reading = asyncio.create_task(self._read_outcomes(process))
        return process


def check(checker: GrammarChecker, word: str) -> asyncio.Task[None]:
    return asyncio.create_task(checker.check(StructuredOutputsParams(choice=[word]), param="p"))


async def turns_of_the_loop() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_check_that_all_clients_have_left_before_its_turn_is_dropped():
    checker = WaitingChecker()
    first = [check(checker, f"first {number}") for number in range(SIDE_BY_SIDE)]
    left, stayed = check(checker, "left"), check(checker, "stayed")
    await turns_of_the_loop()
    left.cancel()
    await turns_of_the_loop()
    checker.may_end.set()
    await asyncio.gather(*first, stayed)
    await turns_of_the_loop()
    assert ["stayed"] in checker.begun and ["left"] not in checker.begun
    await check(checker, "left")
    assert ["left"] in checker.begun, "a later request with the same grammar is checked"
    assert not checker._checks and not checker._waiting


async def test_a_client_that_leaves_doesnt_end_the_check_of_another():
    checker = WaitingChecker()
    left, stayed = check(checker, "shared"), check(checker, "shared")
    await turns_of_the_loop()
    left.cancel()
    await turns_of_the_loop()
    checker.may_end.set()
    await stayed
    assert checker.begun == [["shared"]]


@pytest.mark.parametrize("levels", [257, 600, 100_000])
async def test_a_schema_that_is_nested_too_deeply_is_refused(levels: int):
    schema: Any = "string"
    for level in range(levels):
        schema = {"items": schema} if (levels - level) % 2 else [schema]
    with pytest.raises(ApiError, match="smaller or simpler") as refusal:
        await WaitingChecker().check(StructuredOutputsParams(json=schema), param="response_format")
    assert (refusal.value.status, refusal.value.code) == (400, TOO_COMPLEX)


async def test_refusals_are_remembered_for_a_while_and_their_number_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
):
    class RefusingChecker(WaitingChecker):
        async def _compile(self, params: StructuredOutputsParams) -> str:
            await super()._compile(params)
            return "slow"

    async def refused(word: str) -> None:
        with pytest.raises(ApiError, match="takes too long"):
            await check(checker, word)

    monkeypatch.setattr("server.vllm_engine.grammars.checker.REMEMBERED", 2)
    checker = RefusingChecker()
    checker.may_end.set()
    for word in ("a", "a", "b", "a"):
        await refused(word)
    assert checker.begun == [["a"], ["b"]]
    await refused("c")  # and "a", the oldest of three, is forgotten
    await refused("a")
    assert checker.begun == [["a"], ["b"], ["c"], ["a"]]
    later = asyncio.get_running_loop().time() + REFUSED_SECONDS
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: later)
    await refused("a")
    assert checker.begun[-2:] == [["a"], ["a"]], "the machine may have been busy the first time"


async def test_a_process_that_ends_blames_no_grammar():
    with pytest.raises(ApiError, match="was interrupted") as refusal:
        await asyncio.wait_for(check(ReplacedProcess(ONE_BYTE), "innocent"), 30)
    assert refusal.value.status == 503


@pytest.mark.parametrize("noise", ["a library's line", "[1]", "null", "x" * 100_000], ids=lambda it: it[:6])
async def test_lines_of_libraries_are_skipped(noise: str):
    outcome = json.dumps({"number": 1, "outcome": "slow"})
    program = f"{ONE_BYTE}; echo {shlex.quote(noise)}; echo {shlex.quote(outcome)}; exec cat >/dev/null"
    checker = ReplacedProcess(program)
    with pytest.raises(ApiError, match="smaller or simpler"):
        await asyncio.wait_for(check(checker, "any"), 30)
    checker.close()
    await checker.reading
