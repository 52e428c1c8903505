"""A server, for tests of evaluations, that samples and searches without a model: seeds decide everything.

It answers as the real one does: candidate i of a request is decided by seed + i, candidate 0 is greedy where
that is asked for, the critic's choice is the best mean of step scores.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any

from tests.clients.chat_server import Reply, completion

SHARE_RIGHT = 0.4
TOKENS = 10  # of a candidate; a beam search takes as many for each of its n


def sampling_server(
    answers: Mapping[str, str], asked: list[dict[str, Any]]
) -> Callable[[dict[str, Any]], Reply]:
    """For questions by text, with their right answers; every request goes into `asked`."""

    def reply(body: dict[str, Any]) -> Reply:
        asked.append(body)
        scaling, question = body["test_time_scaling"], body["messages"][0]["content"][-1]["text"]
        made = [
            candidate(
                index,
                answers[question],
                body["seed"],
                greedy=scaling.get("include_greedy", True) and index == 0,
            )
            for index in range(scaling["n"])
        ]
        selected = max(made, key=lambda entry: entry["score"])
        usage = {
            "policy": {"prompt": 9, "cached": 0, "completion": TOKENS * scaling["n"]},
            "critic": {"prompt": 9, "cached": 0},
        }
        report = {
            "method": scaling["method"],
            "selected": selected["index"],
            "critic": "nano-critic",
            "degraded": None,
            "stopped": None,
            "candidates": made if scaling.get("return_candidates") else [],
            "usage": usage,
        }
        return Reply(completion(selected["text"], test_time_scaling=report))

    return reply


def candidate(index: int, answer: str, seed: int, *, greedy: bool) -> dict[str, Any]:
    """Right ones tend to score higher; the greedy one is wrong, and scores least."""
    chance = random.Random("greedy" if greedy else seed + index)
    right = not greedy and chance.random() < SHARE_RIGHT
    stated = answer if right else f"{answer}{chance.randrange(3)}"
    steps = [0.0, 0.0] if greedy else [chance.random(), 0.4 * right + 0.6 * chance.random()]
    return {
        "index": index,
        "text": f"Step one.\n\nFinal answer: {stated}",
        "step_scores": steps,
        "score": sum(steps) / 2,
        "completion_tokens": TOKENS,
        "finish_reason": "stop",
    }
