"""A critic's scores from three sources that must agree: the pooling head, one-token generation, transformers.

`python -m tests.server.readouts --answers 100` compares them on nano's critic and prints their largest
differences. It starts a server on which this checkpoint is both the critic, which is read by the pooling
head, and the policy, which generates one token after each step.
"""

import argparse
import asyncio
import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import torch
from PIL import Image

from tests.model.reference import Reference
from tests.server.running import serving
from ttscaling.remote.critic import RemoteCritic
from ttscaling.types import Conversation


@dataclass(frozen=True, kw_only=True)
class Exam:
    """A question, and several answers as lists of steps."""

    text: str
    image: Image.Image | None
    delta: float
    answers: Sequence[tuple[str, ...]]

    @property
    def messages(self) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = [{"type": "text", "text": self.text}]
        if self.image is not None:
            file = BytesIO()
            self.image.save(file, "PNG")
            url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
            parts.insert(0, {"type": "image_url", "image_url": {"url": url}})
        return [{"role": "user", "content": parts}]


async def by_head(client: httpx.AsyncClient, exam: Exam) -> list[list[float]]:
    """Return the step scores of each answer from the server's endpoint /v1/critic/score."""
    answers = [list(steps) for steps in exam.answers]
    body = {"messages": exam.messages, "answers": answers, "mm_processor_kwargs": {"v2pe_delta": exam.delta}}
    reply = (await client.post("/v1/critic/score", json=body)).json()
    return [entry["step_scores"] for entry in reply["scores"]]


async def by_token(
    client: httpx.AsyncClient, exam: Exam, reference: Reference, model: str, system: str
) -> list[list[float]]:
    """Return the step scores from the log-probabilities of both labels, which the policy generates."""
    tokens = {label: reference.tokenizer.encode(label, add_special_tokens=False)[0] for label in "+-"}
    critic = RemoteCritic(client, model=model, token_ids=tokens, system=system or None)
    conversation = Conversation(messages=tuple(exam.messages), mm_processor_kwargs={"v2pe_delta": exam.delta})
    scored = [await critic.score(conversation, "\n\n".join(steps)) for steps in exam.answers]
    return [list(scores.scores) for scores in scored]


def by_transformers(exam: Exam, reference: Reference, system: str) -> list[list[float]]:
    """Return the step scores from transformers' model, for a conversation that is built by hand."""
    begin = reference.tokenizer.bos_token or ""  # InternLM's texts begin with one.
    begin += f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    image = "<image>\n" if exam.image is not None else ""
    begin += f"<|im_start|>user\n### Question:\n{image}{exam.text}\n\n### Solution Process:\n"
    scores = []
    for steps in exam.answers:
        prefixes = [begin + steps[0] + "<|im_end|>\n<|im_start|>assistant\n"]
        for step in steps[1:]:
            turn = f"+<|im_end|>\n<|im_start|>user\n{step}<|im_end|>\n<|im_start|>assistant\n"
            prefixes.append(prefixes[-1] + turn)
        images = [] if exam.image is None else [exam.image]
        scores.append(reference.judge(prefixes, images, exam.delta))
    return scores


def farthest(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    """Return the largest difference between two scores of the same step."""
    assert [len(steps) for steps in one] == [len(steps) for steps in other]
    return max(abs(a - b) for steps in zip(one, other, strict=True) for a, b in zip(*steps, strict=True))


def nano_exams(answers: int, seed: int) -> list[Exam]:
    """Return held-out questions of nano's task, each with one correct answer and three with a slip."""
    from ttscaling.nano_tasks.problems import Slip, drawn, solve

    random = np.random.default_rng(seed)
    exams = []
    for task, image in drawn("heldout", -(-answers // 4), seed):
        slips = [Slip(*(int(random.integers(most)) for most in (3, 10, 20))) for _ in range(3)]
        solved = [solve(task), *(solve(task, {int(random.integers(4)): slip}) for slip in slips)]
        delta = float(random.choice([1, 0.25, 1 / 16, 1 / 256]))
        texts = [solution.steps for solution in solved]
        exams.append(Exam(text=task.question, image=image, delta=delta, answers=texts))
    return exams


async def compare(answers: int, seed: int) -> dict[str, Any]:
    """Return the largest differences on nano's critic."""
    from tests.conftest import ENGINE_SETTINGS
    from ttscaling.train.checkpoints.load import load_model

    folder = Path(__file__).parents[2] / "model/nano/critic"
    system = json.loads((folder / "config.json").read_text())["system_message"]
    reference = Reference(load_model(folder, dtype=torch.float32), folder, 84, 6)
    exams = nano_exams(answers, seed)
    flags = ["--policy", str(folder), "--critic", str(folder), "--name", "one", "--dtype", "float32"]
    differences: dict[str, list[float]] = {"head, transformers": [], "head, one token": []}
    with (
        TemporaryDirectory() as logs,
        serving(os.environ | ENGINE_SETTINGS, Path(logs, "log"), *flags) as server,
    ):
        async with (
            httpx.AsyncClient(base_url=server.url, timeout=300) as client,
            httpx.AsyncClient(base_url=f"{server.url}/v1/", timeout=300) as openai,
        ):
            for exam in exams:
                head = await by_head(client, exam)
                plain = by_transformers(exam, reference, system)
                token = await by_token(openai, exam, reference, "one", system)
                differences["head, transformers"].append(farthest(head, plain))
                differences["head, one token"].append(farthest(head, token))
    scored = [steps for exam in exams for steps in exam.answers]
    return {
        "answers": len(scored),
        "steps": sum(map(len, scored)),
        "seed": seed,
        "largest difference": {name: max(values) for name, values in differences.items()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=100)
    parser.add_argument("--seed", type=int, default=777)
    arguments = parser.parse_args()
    print(json.dumps(asyncio.run(compare(arguments.answers, arguments.seed))))
