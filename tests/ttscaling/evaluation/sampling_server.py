"""A server for tests of evaluations, which samples and searches without a model.

Seeds decide everything, as on the real server: seed + i decides candidate i of a request, candidate 0 is
greedy if the request asks for that, and the critic chooses the candidate with the highest mean step score.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any

from tests.clients.chat_server import Reply, completion

SHARE_RIGHT = 0.4
TOKENS = 10  # The tokens of a candidate. A beam search generates n times as many.


def sampling_server(
    answers: Mapping[str, str], requests: list[dict[str, Any]]
) -> Callable[[dict[str, Any]], Reply]:
    """Return a server for the questions of `answers`, which maps texts to right answers.

    Every request is appended to `requests`.
    """

    def reply(body: dict[str, Any]) -> Reply:
        requests.append(body)
        scaling, question = body["test_time_scaling"], body["messages"][0]["content"][-1]["text"]
        candidates = [
            candidate(
                index,
                answers[question],
                body["seed"],
                greedy=scaling.get("include_greedy", True) and index == 0,
            )
            for index in range(scaling["n"])
        ]
        selected = max(candidates, key=lambda entry: entry["score"])
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
            "candidates": candidates if scaling.get("return_candidates") else [],
            "usage": usage,
        }
        return Reply(completion(selected["text"], test_time_scaling=report))

    return reply


def candidate(index: int, answer: str, seed: int, *, greedy: bool) -> dict[str, Any]:
    """Return a candidate. Right ones tend to score higher; the greedy one is wrong and scores lowest."""
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
