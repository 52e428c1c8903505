"""Stage 4: the nano critic, trained in VisualPRM's conversation: one step a turn, `+` in every answer slot.

It starts from the policy with two more layers. Three losses: the judgement (softmax over the label logits at
each answer slot); a throw-away head that says of every stated token whether it is the right one;
and the right next token itself, so that the model keeps knowing what the statement should have said. Steps of
whole solutions get the last two up to their first wrong token.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn

from model.images.tiling import tile_image
from ttscaling.critic_prompt import PLUS
from ttscaling.nano_tasks.digits import digit_pool
from ttscaling.nano_tasks.problems import SHARE_OF_LARGE, SheetQuestion
from ttscaling.train.nano.network.architecture import TILING
from ttscaling.train.nano.network.encoder import NanoEncoder, random_delta
from ttscaling.train.nano.network.padding import Batch, collate, padded
from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.samples.sample import Sample

from .curriculum import Round
from .exercises import CriticExercise, exercises, facts, readings, rollout_judging, solutions
from .labelling import BY_VALUE, Scheme
from .monte_carlo import LabelledRollout
from .training_loop import Schedule, train

BATCH = 12  # conversations per process and step; what it learns late depends on the number of updates
UNKNOWN = -1
T = TypeVar("T")


@dataclass(frozen=True)
class JudgedSample:
    """A conversation's tokens, with `label_T` (place in the scheme's labels, UNKNOWN elsewhere) where
    it judges and `right_T` (1 right, 0 wrong, UNKNOWN elsewhere) at stated tokens that can be checked.
    """

    sample: Sample
    label_T: np.ndarray
    right_T: np.ndarray


@dataclass(frozen=True)
class CriticBatch:
    batch: Batch
    label_BT: torch.Tensor
    right_BT: torch.Tensor


def encode_judging(
    encoder: NanoEncoder, judging: CriticExercise, *, delta: float, scheme: Scheme = BY_VALUE
) -> JudgedSample:
    """A conversation as tokens, targets and labels; its last token is the last slot's role token."""
    tiles_NHWC = tile_image(judging.image, TILING) if judging.image else None
    ids = [*encoder.ids("<|im_start|>user\n"), *encoder.ids("### Question:\n")]
    ids += encoder.image_run(tiles_NHWC) if tiles_NHWC is not None else ()
    ids += encoder.ids(f"{judging.question}\n\n### Solution Process:\n")
    target: dict[int, int] = {}
    right: dict[int, int] = {}
    label: dict[int, int] = {}
    for number, (statement, said) in enumerate(zip(*scheme.labelled_statements(judging), strict=True)):
        if number:
            ids += encoder.ids(f"{PLUS}<|im_end|>\n<|im_start|>user\n")
        shown = (*encoder.ids(statement.shown), encoder.end_token)
        expected = () if statement.right is None else (*encoder.ids(statement.right), encoder.end_token)
        skip = len(encoder.ids(statement.shown[: statement.given])) if statement.given else 0
        for offset, (stated, wanted) in enumerate(zip(shown, expected, strict=False)):
            if offset >= skip:
                target[len(ids) + offset - 1] = wanted
                right[len(ids) + offset] = int(stated == wanted)
            if stated != wanted and not statement.given:
                break  # after a slip the right continuation is another solution's
        ids += [*shown, *encoder.ids("\n<|im_start|>assistant\n")]
        label[len(ids) - 1] = scheme.labels.index(said)
    ids_T = np.array(ids, dtype=np.int64)
    weight_T = np.zeros(len(ids), dtype=np.float32)
    weight_T[list(target)] = 1
    target_T = np.zeros(len(ids), dtype=np.int64)
    target_T[list(target)] = list(target.values())
    deltas = () if tiles_NHWC is None else (delta,)
    sample = Sample(ids_T, target_T, weight_T, deltas, tiles_NHWC)
    return JudgedSample(sample, _scatter(label, len(ids)), _scatter(right, len(ids)))


def _scatter(values: dict[int, int], length: int) -> np.ndarray:
    row_T = np.full(length, UNKNOWN, dtype=np.int64)
    row_T[list(values)] = list(values.values())
    return row_T


def collate_judged(samples: Sequence[JudgedSample]) -> CriticBatch:
    """Pad conversations and their labels alike."""
    return CriticBatch(
        collate([s.sample for s in samples]),
        torch.from_numpy(padded([s.label_T for s in samples], UNKNOWN)),
        torch.from_numpy(padded([s.right_T for s in samples], UNKNOWN)),
    )


def label_tokens(encoder: NanoEncoder, scheme: Scheme) -> list[int]:
    """Ids of the labels, in the order of the scheme's."""
    return [encoder.ids(label)[0] for label in scheme.labels]


class CriticLoss(nn.Module):
    """The three losses of a critic."""

    def __init__(self, model: V2PEInternVL, encoder: NanoEncoder, scheme: Scheme = BY_VALUE):
        super().__init__()
        self.model = model
        self.token_head = nn.Linear(model.config.text_config.hidden_size, 1)
        self.labels = label_tokens(encoder, scheme)

    def forward(self, judged: CriticBatch) -> tuple[torch.Tensor, dict[str, float]]:
        hidden_BTD = self.model.hidden_states(**judged.batch.inputs)
        at_BT = judged.label_BT != UNKNOWN
        label_S = judged.label_BT[at_BT]
        logits_SL = hidden_BTD[at_BT] @ self.model.lm_head.weight[self.labels].T
        # Wrong steps are fewer: they weigh up to three times as much.
        num_minus = (label_S == 0).sum()
        minus_weight = ((len(label_S) - num_minus) / num_minus.clamp(min=1)).clamp(1, 3)
        weights = [minus_weight, *[torch.ones_like(minus_weight)] * (len(self.labels) - 1)]
        judge = F.cross_entropy(logits_SL, label_S, weight=torch.stack(weights))

        token = language = hidden_BTD.new_zeros(
            ()
        )  # where nothing is known of any token, as of wrong outcomes
        checked_BT = judged.right_BT != UNKNOWN
        if checked_BT.any():
            right_S = judged.right_BT[checked_BT].float()
            token = F.binary_cross_entropy_with_logits(
                self.token_head(hidden_BTD[checked_BT])[:, 0], right_S, weight=3 - 2 * right_S
            )
            known_BT = judged.batch.weight_BT > 0
            language = F.cross_entropy(
                self.model.lm_head(hidden_BTD[known_BT]), judged.batch.target_BT[known_BT]
            )
        loss = judge + 2 * token + 1.5 * language
        accuracy = (logits_SL.argmax(-1) == label_S).float().mean()
        figures = {"judge": judge, "token": token, "language": language, "accuracy": accuracy}
        return loss, {name: figure.item() for name, figure in figures.items()}


def train_critic(
    model: V2PEInternVL,
    encoder: NanoEncoder,
    rollouts: Sequence[LabelledRollout],
    accelerator: Accelerator,
    *,
    plan: Round,
    seed: int,
    scheme: Scheme = BY_VALUE,
    on_step: Callable[[int, Mapping[str, float]], None] | None = None,
) -> None:
    """One round, in place."""
    pool = digit_pool("train")
    groups = by_problem(rollouts)

    def batch_at(step: int) -> CriticBatch:
        together = np.random.default_rng([seed, 4, step])
        alone = np.random.default_rng([seed, 4, step, accelerator.process_index])
        shares = plan.shares(step)
        kind = together.choice(list(shares), p=list(shares.values()))
        large = bool(together.random() < SHARE_OF_LARGE)
        make: dict[str, Callable[[], CriticExercise]] = {
            "readings": lambda: readings(pool, alone, large=large),
            "facts": lambda: facts(alone),
            "exercises": lambda: exercises(alone),
            "solutions": lambda: solutions(pool, alone, large=large),
            "rollouts": lambda: rollout_judging(pick(pick(groups, alone), alone), pool, alone, large=large),
        }
        return collate_judged(
            [
                encode_judging(encoder, make[kind](), delta=random_delta(alone), scheme=scheme)
                for _ in range(BATCH)
            ]
        )

    schedule = Schedule(steps=plan.steps, peak=plan.peak, warmup=40, betas=(0.9, 0.97))
    train(
        CriticLoss(model, encoder, scheme),
        batch_at,
        schedule,
        accelerator=accelerator,
        title="critic",
        on_step=on_step,
    )


def by_problem(rollouts: Sequence[LabelledRollout]) -> list[list[LabelledRollout]]:
    """Rollouts of one problem together, so that problems are drawn alike however many solutions each has.

    A problem that no continuation solved tells no step apart and is left out, if any other is left.
    """
    groups: dict[SheetQuestion, list[LabelledRollout]] = {}
    for rollout in rollouts:
        groups.setdefault(rollout.task, []).append(rollout)
    solved = [group for group in groups.values() if any(any(rollout.mc) for rollout in group)]
    return solved or list(groups.values())


def pick(items: Sequence[T], rng: np.random.Generator) -> T:
    """One of the items, each as likely."""
    return items[int(rng.integers(len(items)))]


@torch.no_grad()
def score_steps(
    model: V2PEInternVL,
    encoder: NanoEncoder,
    judgings: Sequence[CriticExercise],
    *,
    delta: float = 1.0,
    scheme: Scheme = BY_VALUE,
) -> list[tuple[float, ...]]:
    """Every step's score in [0, 1], all conversations in one forward pass.

    VisualPRM's soft score: by value and outcome P(+), by advantage P(+) - P(-), here moved into [0, 1].
    """
    judged = [encode_judging(encoder, judging, delta=delta, scheme=scheme) for judging in judgings]
    batch = collate_judged(judged)
    hidden_BTD = model.hidden_states(**batch.batch.inputs)
    minus_BT, plus_BT = (
        (hidden_BTD @ model.lm_head.weight[label_tokens(encoder, scheme)].T).softmax(-1)[..., :2].unbind(-1)
    )
    score_BT = (1 + plus_BT - minus_BT) / 2  # of two labels that is P(+)
    return [
        tuple(row_T[at_T != UNKNOWN].tolist()) for row_T, at_T in zip(score_BT, batch.label_BT, strict=True)
    ]
