"""Beam search over steps: the critic scores beginnings of answers, and the best ones are continued.

This is the step-level beam search with a process reward model of Snell et al. (arXiv 2408.03314), as
search-and-learn and its_hub do it. Here the critic scores the complete beginning: its steps are VisualPRM's,
and their scores are aggregated as for a finished answer.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from ttscaling.selection.choosing import choose
from ttscaling.selection.stopping import StopRule
from ttscaling.selection.token_counting import CountingCritic, CountingStepPolicy
from ttscaling.types import (
    EMPTY_ANSWER,
    Aggregation,
    Conversation,
    Critic,
    ModelError,
    OnCriticError,
    Progress,
    Selection,
    StepPolicy,
    Stopped,
)

from .beams import Beam, Beams


async def beam_search(
    policy: StepPolicy,
    critic: Critic,
    conversation: Conversation,
    *,
    beam: Beam,
    include_greedy: bool = True,
    aggregation: Aggregation = "mean",
    on_critic_error: OnCriticError = "fail",
    stop: StopRule | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Selection:
    """Continue the `width` best beginnings until they are all finished answers, and choose the best answer.

    Beginnings and finished answers are ranked together after each step, so an answer that ends early keeps
    its beam only while its score is among the best. The unfinished beams share the `n` continuations of a
    step evenly. If several continuations lead to the same text, one is kept, so beams differ. With
    `include_greedy` one beam is written greedily from its first step on, as long as it is kept; all other
    continuations are sampled.

    The candidates of the selection are the finished answers, those that lost their beam included. Each has
    the index of its last continuation. At `max_steps` the kept beginnings are candidates too, with the
    finish_reason "length". They are also the candidates if a rule or a failure ends the search before any
    answer is finished.

    Continuations that fail are left out. Errors of the critic are treated as in `best_of_n`: a beginning
    without a score is continued only if no beginning has one. If all continuations of a step fail, the search
    ends with the answers and beginnings that it has. Raises PolicyError if it has none, and ValueError if
    `stop` has other rules than `score`, `max_tokens` and `max_seconds`.
    """
    rule = stop or StopRule()
    if rule.agreement is not None or rule.max_parallel is not None or rule.abandon_losers:
        raise ValueError("beam_search follows only the rules score, max_tokens and max_seconds")
    counted, counted_critic = CountingStepPolicy(policy), CountingCritic(critic)
    search = Beams(
        counted, counted_critic, conversation, beam, aggregation, on_critic_error == "fail", on_progress
    )
    search.greedy_text = EMPTY_ANSWER.text if include_greedy else None
    try:
        stopped = await _run(search, rule)
        selection = choose(search.result(stopped), on_critic_error, by_votes=False)
    except ModelError as error:
        error.usage = search.usage
        raise
    return replace(selection, usage=search.usage)


async def _run(search: Beams, rule: StopRule) -> Stopped | None:
    """Extend the beams to their end, and return the rule that ended it before, or None."""
    time_cap = asyncio.timeout(rule.max_seconds)
    try:
        async with time_cap:
            for _ in range(search.beam.max_steps):
                extended = await search.step()
                stopped = search.enough(rule)
                if stopped or not extended or not search.open_beams:
                    return stopped
            search.cut_off()
            return stopped
    except TimeoutError:
        if not time_cap.expired():  # the policy or the critic raised it
            raise
        return "seconds"
