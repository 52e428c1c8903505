"""Best-of-N: N answers by the policy, each judged step by step by the critic; the best aggregate wins.

InternVL3 (arXiv 2504.10479) section 2.4 with VisualPRM (arXiv 2503.10291): candidate 0 greedy, the others
sampled, step scores aggregated by their mean. An answer is judged the moment it ends, while others are still
being written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ttscaling.selection.choosing import best, choose
from ttscaling.selection.gathering import gather
from ttscaling.selection.plan import Plan
from ttscaling.selection.stopping import StopRule
from ttscaling.types import (
    Aggregation,
    Conversation,
    Critic,
    OnCriticError,
    Policy,
    Progress,
    ScoredCandidate,
    Selection,
)


@dataclass(frozen=True)
class BestOfN:
    """`BestOfN(policy, critic).run(question, n=8)`.

    `pick` takes the winner from the scored candidates, where it isn't simply the best of them.
    """

    policy: Policy
    critic: Critic
    pick: Callable[[Sequence[ScoredCandidate]], ScoredCandidate] = best

    async def run(
        self,
        conversation: Conversation,
        *,
        n: int = 8,
        include_greedy: bool = True,
        aggregation: Aggregation = "mean",
        on_critic_error: OnCriticError = "fail",
        stop: StopRule | None = None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Selection:
        """Sample n candidates and choose the one the critic scores highest; ties keep the earlier one.

        Candidates that were cut off (finish_reason "length") are judged like the others. If the critic fails,
        "fail" raises its CriticError at once; else the candidate goes without a score, and if none has one,
        "self_consistency" chooses by majority of final answers and "first" takes the first. What failed is
        told in `degraded`. PolicyError passes through. However this ends, early or cancelled, no sampling and
        no scoring is left running.
        """
        plan = Plan(
            conversation=conversation,
            critic=self.critic,
            n=n,
            include_greedy=include_greedy,
            aggregation=aggregation,
            critic_must_work=on_critic_error == "fail",
            stop=stop or StopRule(),
            on_progress=on_progress,
        )
        return choose(await gather(self.policy, plan), self.pick, on_critic_error)
