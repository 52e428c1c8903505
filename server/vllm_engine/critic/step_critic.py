"""Score the steps of an answer with a critic on a vLLM engine, and remember the scores.

Any InternVL checkpoint that was trained as a critic can be used unchanged.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from vllm.exceptions import VLLMError
from vllm.v1.engine.exceptions import EngineDeadError

from model.media_in_text import INLINE
from server.critic_rules.delta import DeltaRule
from server.critic_rules.time_limit import ScoringTime
from server.engine_interface import CountTokens, ignore_tokens
from server.errors import TOO_LONG, ApiError, too_many_steps
from server.telemetry.logs import error_line
from server.vllm_engine.error_mapping import api_error
from ttscaling.critic_prompt import CriticPrefixes, critic_prefixes, label_probability
from ttscaling.steps import split_steps
from ttscaling.types import Conversation, CriticError, Message, StepScores, TokenUsage

from .step_memo import StepMemo

logger = logging.getLogger("internvl3.engine")
MEMO_STEPS = 65_536  # these scores take about 15 MB of memory


LabelLogits = Sequence[tuple[float, float]]  # of + and of -, after each of the requested steps

# Reads the label logits after some prefixes of one answer. The arguments are all prefixes, the indices of the
# requested ones, the conversation, which says how the media are seen, and what counts the tokens of each
# engine request.
ReadLabels = Callable[
    [Sequence[Sequence[Message]], Sequence[int], Conversation, CountTokens],
    Coroutine[Any, Any, LabelLogits],
]


class StepCritic:
    """Scores what `server.engine_interface.CriticEngine` says, with a `ReadLabels` function."""

    def __init__(
        self,
        name: str,
        read: ReadLabels,
        *,
        system: str | None = None,
        seconds: float,
        max_steps: int = 512,
        follows_request: bool = False,
        policy_delta: float = 1.0,
        own_delta: float = 1.0,
    ) -> None:
        """Create a critic with an empty memory.

        Args:
            name: the critic's name in replies.
            read: reads the label logits.
            system: the system message that the critic was trained with, or None.
            seconds: the time without any reading of the critic's, after which scoring has failed.
            max_steps: the most steps of an answer that are scored.
            follows_request: whether the critic sees a candidate's images with the delta of the request, and
                not with its own.
            policy_delta: the policy's delta in a request that names none.
            own_delta: the delta with which the critic sees the images as long as the answer fits its window.
        """
        self._name = name
        self._read = read
        self._system = system or None
        self._time = ScoringTime(seconds)
        self._max_steps = max_steps
        self._delta_rule = DeltaRule(follows_request=follows_request, policy_delta=policy_delta)
        self._own_delta = own_delta
        self._memo = StepMemo(MEMO_STEPS)
        self._is_dead = False  # its process has ended, and the log has said so

    @property
    def name(self) -> str:
        return self._name

    def keeps_scores(self, vision: Mapping[str, Any]) -> bool:
        """See `CriticEngine.keeps_scores`."""
        return self._delta_rule.keeps_scores(vision, self._own_delta)

    async def score(
        self, conversation: Conversation, answer: str, count: CountTokens = ignore_tokens
    ) -> StepScores:
        """See `CriticEngine.score`. Every failure is a CriticError, except for cancellation."""
        try:
            return await self._score_candidate(conversation, split_steps(answer), count)
        except CriticError:
            raise
        except ApiError as error:
            raise CriticError(error.message.rstrip(".")) from error
        except EngineDeadError as error:
            if not self._is_dead:
                self._is_dead = True
                logger.error(
                    "the process of the critic has ended; until the server is restarted, answers are chosen "
                    "as on_critic_error says"
                )
            raise CriticError("its process has ended; only a restart of the server brings it back") from error
        except (VLLMError, ValueError) as error:
            # For example, the answer is too long for the critic's window.
            raise CriticError(f"it can't read the answer: {error_line(error)}") from error
        except Exception as error:
            logger.exception("the critic failed")
            raise CriticError(f"an internal error ({type(error).__name__})") from error

    async def _score_candidate(
        self, conversation: Conversation, steps: Sequence[str], count: CountTokens
    ) -> StepScores:
        *attempts, last = self._delta_rule.attempts(conversation)
        for attempt in attempts:
            try:
                return await self.score_steps(attempt, steps, count)
            except (VLLMError, ValueError) as error:
                if api_error(error).code != TOO_LONG:
                    raise
        return await self.score_steps(last, steps, count)

    async def score_steps(
        self, conversation: Conversation, steps: Sequence[str], count: CountTokens = ignore_tokens
    ) -> StepScores:
        """Return the scores of these steps, and the tokens that the critic's engine took for them.

        The critic sees the images as `conversation` says, with its own delta if none is named there.

        A remembered score takes no tokens. Neither does a score that is being read for another answer.
        `count` gets the tokens of each engine request, also if this call then fails or is cancelled.

        Raises:
            ApiError: there are more than `max_steps` steps.
            CriticError: the critic read nothing for the time limit. Exceptions of `read` pass through.
        """
        if len(steps) > self._max_steps:
            raise too_many_steps(len(steps), self._max_steps, "the answer")
        vision, salt = conversation.mm_processor_kwargs, conversation.cache_salt
        prefixes = critic_prefixes(conversation, steps, system=self._system)
        used = TokenUsage()

        def add(usage: TokenUsage) -> None:
            nonlocal used
            used += usage
            count(usage)

        async def read(step_indices: Sequence[int]) -> Sequence[float]:
            logits = await self._read(prefixes, step_indices, conversation, add)
            self._time.renew()
            return [label_probability(plus, minus) for plus, minus in logits]

        async with self._time.limit():
            scores = await self._memo.scores(step_keys(prefixes, vision, salt), read)
        return StepScores(
            steps=tuple(steps),
            scores=scores,
            prompt_tokens=used.critic_prompt,
            cached_tokens=used.critic_cached,
        )


def step_keys(prefixes: CriticPrefixes, vision: Mapping[str, Any], salt: str | None = None) -> list[bytes]:
    """Return for each prefix a key that covers everything its score depends on.

    This is the messages, the media, `vision`, which is the request's mm_processor_kwargs, and the salt.
    `server/media` gives each medium a `uuid` that is a hash of its content. The key covers this uuid instead
    of the medium's bytes, and whether the medium stands within a text.
    With delta "auto" the length of the prompt decides the delta, so the key also covers the steps that
    follow.
    """
    key_hash = hashlib.blake2b(digest_size=16)

    def feed(value: Any) -> None:
        key_hash.update(json.dumps(value, sort_keys=True).encode() + b"\n")

    feed([dict(vision), salt])
    if vision.get("v2pe_delta") == "auto":
        feed([_by_content(message) for message in prefixes.messages])
    keys, begin = [], 0
    for index in range(len(prefixes)):
        end = prefixes.length(index)
        feed([_by_content(message) for message in prefixes.messages[begin:end]])
        begin = end
        keys.append(key_hash.digest())
    return keys


def _by_content(message: Message) -> Message:
    content = message["content"]
    if isinstance(content, str):
        return message
    return {
        **message,
        "content": [
            [part["uuid"], part.get(INLINE, False)] if part.get("uuid") else part for part in content
        ],
    }
