"""Stage 4: train the nano critic in VisualPRM's conversation format.

A user turn holds one step, and `+` stands in every answer slot. The critic starts from the expert, a longer
fine-tuned policy, with two more layers. It has three losses:

- the judgement, a softmax over the label logits at each answer slot,
- for every stated token, whether it is the right one, by a head that is thrown away after training,
- the right next token, so that the model doesn't forget what the statement should have been.

In a step of a whole solution, the last two losses end at the first wrong token.

Shapes: B conversations, T tokens, D width, S selected tokens, L labels.
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
from ttscaling.nano_tasks.problems import SHARE_OF_LARGE
from ttscaling.train.nano.network.architecture import TILING
from ttscaling.train.nano.network.encoder import NanoEncoder, random_delta
from ttscaling.train.nano.network.padding import Batch, collate, padded
from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.samples.sample import Sample

from .curriculum import Round
from .exercises import CriticExercise, exercises, facts, readings, rollout_exercise, solutions
from .labelling import BY_VALUE, Scheme
from .monte_carlo import LabelledRollout, by_problem
from .training_loop import Schedule, train

BATCH = 12  # conversations per process and step; a small batch, because the critic needs many updates
UNKNOWN = -1
T = TypeVar("T")


@dataclass(frozen=True)
class CriticSample:
    """The tokens of a conversation with the targets of the judgements and of the stated tokens.

    At each answer slot `label_T` holds the index of the label in the scheme's labels. At each stated token
    that can be checked `right_T` is 1 (right) or 0 (wrong). Elsewhere both are UNKNOWN.
    """

    sample: Sample
    label_T: np.ndarray
    right_T: np.ndarray


@dataclass(frozen=True)
class CriticBatch:
    """Padded conversations with their padded `label_T` and `right_T`."""

    batch: Batch
    label_BT: torch.Tensor
    right_BT: torch.Tensor


def encode_exercise(
    encoder: NanoEncoder, exercise: CriticExercise, *, delta: float, scheme: Scheme = BY_VALUE
) -> CriticSample:
    """Return a conversation as tokens, targets and labels.

    It ends before the last label, with the newline of the assistant's header.
    """
    tiles_NHWC = tile_image(exercise.image, TILING) if exercise.image else None
    ids = [*encoder.ids("<|im_start|>user\n"), *encoder.ids("### Question:\n")]
    ids += encoder.image_run(tiles_NHWC) if tiles_NHWC is not None else ()
    ids += encoder.ids(f"{exercise.question}\n\n### Solution Process:\n")
    target: dict[int, int] = {}
    right: dict[int, int] = {}
    label_index: dict[int, int] = {}
    for number, (statement, label) in enumerate(zip(*scheme.labelled_statements(exercise), strict=True)):
        if number:
            ids += encoder.ids(f"{PLUS}<|im_end|>\n<|im_start|>user\n")
        stated = (*encoder.ids(statement.shown), encoder.end_token)
        expected = () if statement.right is None else (*encoder.ids(statement.right), encoder.end_token)
        skip = len(encoder.ids(statement.shown[: statement.num_given])) if statement.num_given else 0
        for offset, (stated_token, right_token) in enumerate(zip(stated, expected, strict=False)):
            if offset >= skip:
                target[len(ids) + offset - 1] = right_token
                right[len(ids) + offset] = int(stated_token == right_token)
            if stated_token != right_token and not statement.num_given:
                break  # After a slip, the right tokens no longer continue what is stated.
        ids += [*stated, *encoder.ids("\n<|im_start|>assistant\n")]
        label_index[len(ids) - 1] = scheme.labels.index(label)
    ids_T = np.array(ids, dtype=np.int64)
    weight_T = np.zeros(len(ids), dtype=np.float32)
    weight_T[list(target)] = 1
    target_T = np.zeros(len(ids), dtype=np.int64)
    target_T[list(target)] = list(target.values())
    deltas = () if tiles_NHWC is None else (delta,)
    sample = Sample(ids_T, target_T, weight_T, deltas, tiles_NHWC)
    return CriticSample(sample, _scatter(label_index, len(ids)), _scatter(right, len(ids)))


def _scatter(values: dict[int, int], length: int) -> np.ndarray:
    row_T = np.full(length, UNKNOWN, dtype=np.int64)
    row_T[list(values)] = list(values.values())
    return row_T


def collate_critic(samples: Sequence[CriticSample]) -> CriticBatch:
    """Return conversations as a batch, with their labels padded to the same length."""
    return CriticBatch(
        collate([s.sample for s in samples]),
        torch.from_numpy(padded([s.label_T for s in samples], UNKNOWN)),
        torch.from_numpy(padded([s.right_T for s in samples], UNKNOWN)),
    )


def label_tokens(encoder: NanoEncoder, scheme: Scheme) -> list[int]:
    """Return the token ids of the scheme's labels, in their order."""
    return [encoder.ids(label)[0] for label in scheme.labels]


class CriticLoss(nn.Module):
    """The sum of a critic's three losses, with weights 1, 2 and 1.5."""

    def __init__(self, model: V2PEInternVL, encoder: NanoEncoder, scheme: Scheme = BY_VALUE):
        super().__init__()
        self.model = model
        self.token_head = nn.Linear(model.config.text_config.hidden_size, 1)
        self.labels = label_tokens(encoder, scheme)

    def forward(self, critic_batch: CriticBatch) -> tuple[torch.Tensor, dict[str, float]]:
        hidden_BTD = self.model.hidden_states(**critic_batch.batch.inputs)
        at_BT = critic_batch.label_BT != UNKNOWN
        label_S = critic_batch.label_BT[at_BT]
        logits_SL = hidden_BTD[at_BT] @ self.model.lm_head.weight[self.labels].T
        # Wrong steps are rarer than right ones, so they weigh up to three times as much.
        num_minus = (label_S == 0).sum()
        minus_weight = ((len(label_S) - num_minus) / num_minus.clamp(min=1)).clamp(1, 3)
        weights = [minus_weight, *[torch.ones_like(minus_weight)] * (len(self.labels) - 1)]
        judgement_loss = F.cross_entropy(logits_SL, label_S, weight=torch.stack(weights))

        # If no token of the batch can be checked, as in wrong solutions labelled by outcome, both stay 0.
        token = language = hidden_BTD.new_zeros(())
        checked_BT = critic_batch.right_BT != UNKNOWN
        if checked_BT.any():
            right_S = critic_batch.right_BT[checked_BT].float()
            token = F.binary_cross_entropy_with_logits(
                self.token_head(hidden_BTD[checked_BT])[:, 0], right_S, weight=3 - 2 * right_S
            )
            known_BT = critic_batch.batch.weight_BT > 0
            language = F.cross_entropy(
                self.model.lm_head(hidden_BTD[known_BT]), critic_batch.batch.target_BT[known_BT]
            )
        loss = judgement_loss + 2 * token + 1.5 * language
        accuracy = (logits_SL.argmax(-1) == label_S).float().mean()
        figures = {"judge": judgement_loss, "token": token, "language": language, "accuracy": accuracy}
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
    """Train the model for one round, in place.

    `on_step` gets the number of steps done and the smoothed figures, on the main process only.
    """
    pool = digit_pool("train")
    groups = by_problem(rollouts)

    def batch_at(step: int) -> CriticBatch:
        # All processes take the same kind of conversation in a step.
        shared_rng = np.random.default_rng([seed, 4, step])
        own_rng = np.random.default_rng([seed, 4, step, accelerator.process_index])
        shares = plan.shares(step)
        kind = shared_rng.choice(list(shares), p=list(shares.values()))
        large = bool(shared_rng.random() < SHARE_OF_LARGE)
        make: dict[str, Callable[[], CriticExercise]] = {
            "readings": lambda: readings(pool, own_rng, large=large),
            "facts": lambda: facts(own_rng),
            "exercises": lambda: exercises(own_rng),
            "solutions": lambda: solutions(pool, own_rng, large=large),
            "rollouts": lambda: rollout_exercise(
                pick(pick(groups, own_rng), own_rng), pool, own_rng, large=large
            ),
        }
        return collate_critic(
            [
                encode_exercise(encoder, make[kind](), delta=random_delta(own_rng), scheme=scheme)
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


def pick(items: Sequence[T], rng: np.random.Generator) -> T:
    """Return one of the items, all with the same probability."""
    return items[int(rng.integers(len(items)))]


@torch.no_grad()
def score_steps(
    model: V2PEInternVL,
    encoder: NanoEncoder,
    conversations: Sequence[CriticExercise],
    *,
    delta: float = 1.0,
    scheme: Scheme = BY_VALUE,
) -> list[tuple[float, ...]]:
    """Return the score of every step in [0, 1]; all conversations take one forward pass.

    It is VisualPRM's soft score: P(+) by value and by outcome. By advantage it is P(+) - P(-), which is
    mapped from [-1, 1] to [0, 1].
    """
    samples = [
        encode_exercise(encoder, conversation, delta=delta, scheme=scheme) for conversation in conversations
    ]
    batch = collate_critic(samples)
    hidden_BTD = model.hidden_states(**batch.batch.inputs)
    minus_BT, plus_BT = (
        (hidden_BTD @ model.lm_head.weight[label_tokens(encoder, scheme)].T).softmax(-1)[..., :2].unbind(-1)
    )
    score_BT = (1 + plus_BT - minus_BT) / 2  # with two labels this is P(+)
    return [
        tuple(row_T[at_T != UNKNOWN].tolist()) for row_T, at_T in zip(score_BT, batch.label_BT, strict=True)
    ]
