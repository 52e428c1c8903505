"""The kinds of training, and the settings that only one kind has."""

import math
from dataclasses import dataclass
from typing import Literal

Labelling = Literal["value", "advantage", "outcome"]
History = Literal["plus", "labels"]


Kind = Literal["pretrain", "sft", "critic", "mpo"]
Form = Literal["judged", "chats"]
CriticLoss = Literal["labels", "full"]
Export = Literal["merged", "adapter"]


@dataclass(frozen=True, kw_only=True)
class CriticData:
    """How the records of a critic are read and labelled; see `ttscaling.train.samples.critic_chats`.

    `form` is `judged` (VisualPRM400K-Raw, which holds Monte-Carlo scores) or `chats` (VisualPRM400K, whose
    turns hold the labels already). With `chats`, `threshold` and `early_stop` have no effect, and of
    `labelling` only whether there is a third label. `system` begins every conversation, None leaves the
    checkpoint's own, and an empty text puts nothing there. `loss` is over the labels alone or over the full
    vocabulary. `text_weight` is the weight of the next-token loss on each token of the steps labelled `+`.
    `early_weight` is that of the labels at the tokens of their steps (see `Judgement`).

    Raises ValueError if a weight is negative.
    """

    form: Form = "judged"
    labelling: Labelling = "value"
    threshold: float = 0.0
    early_stop: bool = False
    history: History = "plus"
    system: str | None = None
    loss: CriticLoss = "labels"
    text_weight: float = 0.0
    early_weight: float = 0.0

    def __post_init__(self) -> None:
        for name in ("text_weight", "early_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: give a number of at least 0")

    @property
    def labels(self) -> str:
        """Return the labels that the critic answers with: the two that the server reads, and `=` if needed.

        The third label says that a step changes nothing, which only the labelling by advantage can say.
        """
        return "+-=" if self.labelling == "advantage" else "+-"


@dataclass(frozen=True, kw_only=True)
class MpoWeights:
    """The weight of each term of the MPO loss, and DPO's beta.

    The defaults are the values of OpenGVLab/InternVL `shell/internvl3.0/mpo`; beta is TRL's default.
    """

    preference: float = 0.8
    quality: float = 0.2
    generation: float = 1.0
    beta: float = 0.1
