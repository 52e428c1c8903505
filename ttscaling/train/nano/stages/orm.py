"""The outcome reward model of a nano run, as a ranking to compare the critic with."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from .checkpoint import load_checkpoint
from .encoding import ChatEncoder
from .labelling import BY_OUTCOME
from .ranking import score_candidates
from .tokenizer import load_tokenizer


class OutcomeRewardModel:
    """A critic that was trained on whole solutions with the label of their answer."""

    def __init__(self, checkpoint: Path):
        torch.set_num_threads(1)  # tensors this small gain nothing from more
        self._model = load_checkpoint(checkpoint)
        self._encoder = ChatEncoder(load_tokenizer(checkpoint))

    def scores(self, question: str, image: Image.Image, solutions: Sequence[str]) -> list[float]:
        """P(the answer is right) of each solution."""
        found = score_candidates(self._model, self._encoder, question, image, solutions, scheme=BY_OUTCOME)
        return [score for (score,) in found]
