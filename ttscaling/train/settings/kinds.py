"""The kinds of training, and the settings that only one kind has."""

from dataclasses import dataclass
from typing import Literal

Labelling = Literal["value", "advantage", "outcome"]
History = Literal["plus", "labels"]


Kind = Literal["pretrain", "sft", "critic", "mpo"]
Form = Literal["judged", "chats"]


@dataclass(frozen=True, kw_only=True)
class CriticData:
    """How the records of a critic are read and labelled; see `ttscaling.train.samples.critic_chats`.

    `form` is `judged` (VisualPRM400K-Raw, which holds Monte-Carlo scores) or `chats` (VisualPRM400K, whose
    turns hold the labels already). With `chats` only `history` has an effect.
    """

    form: Form = "judged"
    labelling: Labelling = "value"
    threshold: float = 0.0
    early_stop: bool = False
    history: History = "plus"


@dataclass(frozen=True, kw_only=True)
class MpoWeights:
    """The weight of each term of the MPO loss, and DPO's beta.

    The defaults are the values of OpenGVLab/InternVL `shell/internvl3.0/mpo`; beta is TRL's default.
    """

    preference: float = 0.8
    quality: float = 0.2
    generation: float = 1.0
    beta: float = 0.1
