"""The critic: the prompts that it reads, the scores that it remembers, and its failures."""

import asyncio
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from vllm.v1.engine.exceptions import EngineDeadError

from model.media_in_text import INLINE
from model.v2pe import WindowExceeded
from server.engine_interface import CountTokens
from server.vllm_engine.critic.step_critic import LabelLogits, StepCritic, step_keys
from ttscaling.critic_prompt import critic_prefixes
from ttscaling.types import Conversation, CriticError, Message, TokenUsage

VISION = {"v2pe_delta": 0.5}
CONVERSATION = Conversation(messages=({"role": "user", "content": "How many?"},), mm_processor_kwargs=VISION)


class Reads:
    """Returns the logit 1 for '+' and 1 + the step's index for '-', and keeps its arguments."""

    def __init__(self) -> None:
        self.calls: list[tuple[Sequence[Sequence[Message]], Sequence[int]]] = []
        self.visions: list[Mapping[str, Any]] = []

    async def __call__(
        self,
        prefixes: Sequence[Sequence[Message]],
        step_indices: Sequence[int],
        conversation: Conversation,
        count: CountTokens,
    ) -> LabelLogits:
        self.visions.append(conversation.mm_processor_kwargs)
        self.calls.append((prefixes, step_indices))
        count(TokenUsage(critic_prompt=10 * len(step_indices), critic_cached=len(step_indices)))
        return [(1.0, 1.0 + step) for step in step_indices]


def critic_of(read: Any, *, seconds: float = 60, **more: Any) -> StepCritic:
    return StepCritic("critic", read, seconds=seconds, **more)


def probability(minus: float) -> float:
    return 1 / (1 + math.exp(minus))


async def test_all_steps_of_an_answer_are_one_reading():
    read = Reads()
    scores = await critic_of(read).score(CONVERSATION, "First.\n\nSecond.")
    assert scores.steps == ("First.", "Second.")
    assert scores.scores == pytest.approx((0.5, probability(1)))
    assert (scores.prompt_tokens, scores.cached_tokens) == (20, 2)
    ((prefixes, step_indices),) = read.calls
    assert list(step_indices) == [0, 1] and prefixes[1][-1] == {"role": "user", "content": "Second."}


async def test_an_answer_that_is_scored_again_costs_nothing_and_a_longer_one_its_new_steps():
    read = Reads()
    critic = critic_of(read)
    first = await critic.score(CONVERSATION, "a\n\nb")
    again = await critic.score(CONVERSATION, "a\n\nb")
    assert again.scores == first.scores and (again.prompt_tokens, again.cached_tokens) == (0, 0)
    longer = await critic.score(CONVERSATION, "a\n\nb\n\nc")
    assert longer.scores == pytest.approx((*first.scores, probability(2))) and longer.prompt_tokens == 10
    assert [list(step_indices) for _, step_indices in read.calls] == [[0, 1], [2]]


async def test_candidates_that_begin_alike_share_their_first_step_even_when_scored_at_once():
    read = Reads()
    critic = critic_of(read)
    both = await asyncio.gather(*(critic.score(CONVERSATION, answer) for answer in ("a\n\nb", "a\n\nx")))
    assert [list(step_indices) for _, step_indices in read.calls] == [[0, 1], [1]]
    assert both[0].scores == both[1].scores
    assert sum(scores.prompt_tokens for scores in both) == 30


@pytest.mark.parametrize(("system", "first"), [("Judge.", "system"), ("", "user"), (None, "user")])
async def test_a_critic_gets_its_own_system_message(system, first):
    read = Reads()
    await critic_of(read, system=system).score(CONVERSATION, "a\n\nb")
    ((prefixes, _),) = read.calls
    assert [prefix[0]["role"] for prefix in prefixes] == [first, first]


async def test_a_failure_is_a_critic_error_and_is_not_remembered():
    reads = Reads()
    broken = True

    async def read(*arguments: Any) -> LabelLogits:
        if broken:
            raise OSError("gone")
        return await reads(*arguments)

    critic = critic_of(read)
    with pytest.raises(CriticError, match="OSError") as caught:
        await critic.score(CONVERSATION, "a\n\nb")
    assert isinstance(caught.value.__cause__, OSError)
    broken = False
    assert len((await critic.score(CONVERSATION, "a\n\nb")).scores) == 2


async def test_the_log_says_once_that_the_critics_process_has_ended(caplog: pytest.LogCaptureFixture):
    async def read(*arguments: Any) -> LabelLogits:
        raise EngineDeadError

    critic = critic_of(read)
    for answer in ("a", "b"):
        with pytest.raises(CriticError, match="its process has ended"):
            await critic.score(CONVERSATION, answer)
    lines = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(lines) == 1 and "the process of the critic has ended" in lines[0]


async def test_a_critic_that_hangs_fails_in_time_and_is_cancelled():
    ended = asyncio.Event()

    async def read(*arguments: Any) -> LabelLogits:
        try:
            return await asyncio.Event().wait()  # type: ignore[return-value]
        finally:
            ended.set()

    with pytest.raises(CriticError, match=r"within 0.01 seconds"):
        await critic_of(read, seconds=0.01).score(CONVERSATION, "a")
    assert ended.is_set()


@pytest.mark.parametrize("ending", ["fails", "hangs"])
async def test_what_a_scoring_had_read_before_it_failed_is_counted(ending: str):
    """Once the tokens came with the scores only, so a scoring that failed had read nothing."""

    async def read(
        prefixes: Any, step_indices: Any, conversation: Conversation, count: CountTokens
    ) -> LabelLogits:
        count(TokenUsage(critic_prompt=7, critic_cached=3))
        if ending == "hangs":
            await asyncio.Event().wait()
        raise OSError("gone")

    counts: list[TokenUsage] = []
    with pytest.raises(CriticError):
        await critic_of(read, seconds=0.01).score(CONVERSATION, "a", counts.append)
    assert counts == [TokenUsage(critic_prompt=7, critic_cached=3)]


async def test_waiting_while_the_critic_reads_other_answers_is_no_failure():
    """The critic reads one answer after the other, and the last one waits longer than the limit."""
    turn = asyncio.Lock()
    reads = Reads()

    async def read(*arguments: Any) -> LabelLogits:
        async with turn:
            await asyncio.sleep(0.5)
            return await reads(*arguments)

    critic = critic_of(read, seconds=2)
    answers = [critic.score(CONVERSATION, f"answer {number}") for number in range(6)]
    assert len([scores.scores for scores in await asyncio.gather(*answers)]) == 6


async def test_labels_that_decide_nothing_are_a_critic_error():
    async def read(*arguments: Any) -> LabelLogits:
        return [(-math.inf, -math.inf)]

    with pytest.raises(CriticError):
        await critic_of(read).score(CONVERSATION, "a")


class NarrowReads(Reads):
    """Has a window that fits no answer with three steps at delta 1."""

    async def __call__(
        self,
        prefixes: Sequence[Sequence[Message]],
        step_indices: Sequence[int],
        conversation: Conversation,
        count: CountTokens,
    ) -> LabelLogits:
        delta = conversation.mm_processor_kwargs.get("v2pe_delta", 1.0)
        if len(prefixes) > 2 and delta == 1.0:
            raise WindowExceeded("the prompt takes 99 positions; the model's window is 50")
        return await super().__call__(prefixes, step_indices, conversation, count)


async def test_candidates_are_seen_with_the_critics_own_delta():
    """A critic may be trained without V2PE, and then knows no other delta than 1."""
    read = Reads()
    vision = {**VISION, "max_dynamic_patch": 4}
    await critic_of(read).score(replace(CONVERSATION, mm_processor_kwargs=vision), "a")
    assert read.visions == [{"max_dynamic_patch": 4}]


@pytest.mark.parametrize("delta", [0.5, "auto", [1, 0.25]])
async def test_what_does_not_fit_so_is_seen_with_the_policys_delta(delta):
    """All steps of an answer are seen alike, also those whose scores at the other delta are remembered."""
    read = NarrowReads()
    critic = critic_of(read, policy_delta=0.125)
    conversation = replace(CONVERSATION, mm_processor_kwargs={"v2pe_delta": delta})
    await critic.score(conversation, "a\n\nb")
    await critic.score(conversation, "a\n\nb\n\nc")
    assert read.visions == [{}, {"v2pe_delta": delta}]
    assert [list(indices) for _, indices in read.calls] == [[0, 1], [0, 1, 2]]
    await critic.score(replace(CONVERSATION, mm_processor_kwargs={}), "a\n\nb\n\nd")
    assert read.visions[-1] == {"v2pe_delta": 0.125}


async def test_an_answer_that_never_fits_has_no_score():
    with pytest.raises(CriticError, match="model's window"):
        await critic_of(NarrowReads()).score(replace(CONVERSATION, mm_processor_kwargs={}), "a\n\nb\n\nc")


async def test_other_failures_are_not_tried_again():
    calls = []

    async def read(
        prefixes: Any, step_indices: Any, conversation: Conversation, count: CountTokens
    ) -> LabelLogits:
        calls.append(conversation.mm_processor_kwargs)
        raise ValueError("no such image")

    with pytest.raises(CriticError, match="no such image"):
        await critic_of(read).score(CONVERSATION, "a")
    assert calls == [{}]


async def test_a_critic_that_follows_the_request_sees_what_the_policy_sees():
    read = Reads()
    critic = critic_of(read, follows_request=True, policy_delta=0.125)
    await critic.score(CONVERSATION, "a")
    await critic.score(replace(CONVERSATION, mm_processor_kwargs={}), "a")
    assert read.visions == [VISION, {"v2pe_delta": 0.125}]


async def test_a_request_to_the_critic_itself_means_the_critic():
    read = Reads()
    await critic_of(read).score_steps(CONVERSATION, ["a"])
    assert read.visions == [VISION]


def keys(
    *steps: str,
    vision: Mapping[str, Any] = VISION,
    image: str = "A",
    uuid: str = "1",
    inline: bool = False,
    salt: str | None = None,
) -> list[bytes]:
    """Return the keys of these steps, for a question with an image of these bytes and this uuid."""
    part = {"type": "image_url", "image_url": {"url": f"data:{image}"}, "uuid": uuid, INLINE: inline}
    content = [part, {"type": "text", "text": "How many?"}]
    conversation = Conversation(messages=({"role": "user", "content": content},))
    return step_keys(critic_prefixes(conversation, steps), vision, salt)


def test_a_key_knows_everything_before_its_step_and_nothing_after():
    assert keys("a", "b")[0] == keys("a", "c")[0] == keys("a")[0]
    assert keys("a", "b")[1] != keys("a", "c")[1] != keys("b", "c")[1]
    assert keys("a\n\nb")[0] not in keys("a", "b")
    assert keys("a")[0] != keys("a", uuid="2")[0]
    assert keys("a")[0] != keys("a", salt="of a key")[0] != keys("a", salt="of another")[0]
    assert keys("a")[0] != keys("a", inline=True)[0], "the image stands elsewhere"
    assert keys("a")[0] == keys("a", image="B")[0], "the uuid stands for the bytes"
    assert keys("a")[0] != keys("a", vision={"v2pe_delta": 0.25})[0]
    assert keys("a", vision={"x": 1, "y": 2}) == keys("a", vision={"y": 2, "x": 1})


def test_with_delta_auto_a_key_knows_the_whole_answer():
    auto = {"v2pe_delta": "auto"}
    assert keys("a", "b", vision=auto) == keys("a", "b", vision=auto)
    assert keys("a", "b", vision=auto)[0] != keys("a", "c", vision=auto)[0]


@pytest.mark.parametrize(
    ("vision", "more", "stay"),
    [
        ({}, {}, True),
        ({}, {"policy_delta": 0.25}, False),
        ({"v2pe_delta": 1}, {"policy_delta": 0.25}, True),
        ({"v2pe_delta": 0.25}, {}, False),
        ({"v2pe_delta": 0.25}, {"own_delta": 0.25}, True),
        ({"v2pe_delta": 0.25}, {"follows_request": True}, True),
        ({"v2pe_delta": [1, 0.25]}, {}, False),
        ({"v2pe_delta": "auto"}, {"follows_request": True}, False),
    ],
)
async def test_scores_of_first_steps_stay_where_a_longer_answer_is_seen_with_the_same_delta(
    vision: dict[str, Any], more: dict[str, Any], stay: bool
):
    """The reader refuses longer answers with the critic's own delta, as it does beyond the window."""

    async def read(prefixes, step_indices, conversation, count):
        vision = conversation.mm_processor_kwargs
        if len(prefixes) > 1 and "v2pe_delta" not in vision:
            raise WindowExceeded("it takes more positions than the model's window")
        seen_with = str(vision.get("v2pe_delta", float(more.get("own_delta", 1))))
        seen_with += str(len(prefixes)) if seen_with == "auto" else ""
        return [(zlib.crc32(seen_with.replace("1.0", "1").encode()) / 2**32, 0.0) for _ in step_indices]

    conversation = replace(CONVERSATION, mm_processor_kwargs=vision)
    critic = critic_of(read, **more)
    assert critic.keeps_scores(vision) == stay
    draft = await critic.score(conversation, "a")
    finished = await critic.score(conversation, "a\n\nb")
    assert (draft.scores[0] == finished.scores[0]) == stay
