"""Score solutions with the outcome reward model of a nano run, to compare the critic with it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from ttscaling.train.nano.network.architecture import load_checkpoint
from ttscaling.train.nano.network.encoder import NanoEncoder
from ttscaling.train.nano.network.tokenizer import load_tokenizer

from .labelling import BY_OUTCOME
from .ranking import score_candidates


class OutcomeRewardModel:
    """A critic that was trained on whole solutions with the label of their answer."""

    def __init__(self, checkpoint: Path):
        torch.set_num_threads(1)  # more threads don't make tensors this small any faster
        self._model = load_checkpoint(checkpoint)
        self._encoder = NanoEncoder(load_tokenizer(checkpoint))

    def scores(self, question: str, image: Image.Image, solutions: Sequence[str]) -> list[float]:
        """Return the probability of each solution that its answer is right."""
        step_scores = score_candidates(
            self._model, self._encoder, question, image, solutions, scheme=BY_OUTCOME
        )
        return [score for (score,) in step_scores]
