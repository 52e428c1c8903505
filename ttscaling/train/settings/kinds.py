"""The kinds of training, and the settings that only one of them has."""

from dataclasses import dataclass
from typing import Literal

Labelling = Literal["value", "advantage", "outcome"]
History = Literal["plus", "labels"]


Kind = Literal["pretrain", "sft", "critic", "mpo"]
Form = Literal["judged", "chats"]


@dataclass(frozen=True, kw_only=True)
class CriticData:
    """How a critic's records are read and labelled; see `ttscaling.train.samples.critic_chats`.

    `form` is `judged` (VisualPRM400K-Raw, Monte-Carlo scores) or `chats` (VisualPRM400K, where the turns hold
    the labels: then all but `history` has no effect).
    """

    form: Form = "judged"
    labelling: Labelling = "value"
    threshold: float = 0.0
    early_stop: bool = False
    history: History = "plus"


@dataclass(frozen=True, kw_only=True)
class MpoWeights:
    """How much each term counts, and DPO's beta: the published scripts' values (beta is TRL's default)."""

    preference: float = 0.8
    quality: float = 0.2
    generation: float = 1.0
    beta: float = 0.1
