"""Preference pairs as training samples: a prompt with two responses in one sequence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ttscaling.train.batch import Sample

from .chats import Turn
from .encoding import END
from .meta import DataSet
from .pairs import PairRecord
from .samples import Preparation, next_token_sample, read_media

CHOSEN, REJECTED = 0, 1


@dataclass(frozen=True)
class PairSample:
    """Both responses to a prompt.

    `block_T` numbers the sequences in it: attention and positions begin anew in each. `branch_T` is 0 for
    what a whole block sees, else the number of the branch that alone sees it. `response_T` is CHOSEN or
    REJECTED at the positions that predict a response's tokens, -1 elsewhere; the weights are 1 there.
    """

    sample: Sample
    block_T: NDArray[np.int64]
    branch_T: NDArray[np.int64]
    response_T: NDArray[np.int64]

    @property
    def num_tokens(self) -> int:
        return self.sample.num_tokens

    @property
    def num_tiles(self) -> int:
        return self.sample.num_tiles


@dataclass(frozen=True)
class _Piece:
    """Tokens of one block and branch; with a response they are the prompt's last token and the response."""

    ids: Sequence[int]
    block: int
    branch: int
    response: int | None = None


def pair_sample(
    record: PairRecord,
    data_set: DataSet,
    preparation: Preparation,
    rng: np.random.Generator,
    *,
    share_prompt: bool = True,
) -> PairSample:
    """A preference pair.

    With `share_prompt`, prompt and images are there once and both responses see them: half the work where the
    images are large, but attention needs an explicit mask. Without, two full sequences follow each other, as
    kernels for variable lengths want it. Both give the same log-probabilities. Raises RecordError.
    """
    asked = (Turn("user", record.question),)
    turns, images_NHWC = read_media(asked, record.images, record.video, data_set, preparation, rng)
    encoder = preparation.encoder
    prompt = encoder.encode(turns, [len(tiles) for tiles in images_NHWC], answering=True)
    nothing_T = np.zeros(len(prompt.ids_T), dtype=bool)
    context = next_token_sample(prompt, nothing_T, images_NHWC, preparation, rng)
    responses = [encoder.ids(f"{text}{END}") for text in (record.chosen, record.rejected)]
    if share_prompt:
        return _laid_out(context, _shared(context.ids_T.tolist(), responses))
    tiles_NHWC = None if context.tiles_NHWC is None else np.concatenate([context.tiles_NHWC] * 2)
    twice = replace(context, deltas=context.deltas * 2, tiles_NHWC=tiles_NHWC)
    return _laid_out(twice, _apart(context.ids_T.tolist(), responses))


def _shared(prompt: Sequence[int], responses: Iterable[Sequence[int]]) -> list[_Piece]:
    """The prompt's last token opens each branch: from there each response predicts its own first token."""
    branches = [_Piece([prompt[-1], *ids], 0, number + 1, number) for number, ids in enumerate(responses)]
    return [_Piece(prompt[:-1], 0, 0), *branches]


def _apart(prompt: Sequence[int], responses: Iterable[Sequence[int]]) -> list[_Piece]:
    pieces = []
    for number, ids in enumerate(responses):
        pieces += [_Piece(prompt[:-1], number, 0), _Piece([prompt[-1], *ids], number, 0, number)]
    return pieces


def _laid_out(context: Sample, pieces: Iterable[_Piece]) -> PairSample:
    """The pieces one after the other, with the context's images."""
    ids: list[int] = []
    target: list[int] = []
    block: list[int] = []
    branch: list[int] = []
    response: list[int] = []
    for piece in pieces:
        length = len(piece.ids)
        ids += piece.ids
        target += [*piece.ids[1:], *piece.ids[-1:]]
        block += [piece.block] * length
        branch += [piece.branch] * length
        response += [-1] * length if piece.response is None else [piece.response] * (length - 1) + [-1]
    response_T = np.array(response)
    sample = replace(
        context,
        ids_T=np.array(ids),
        target_T=np.array(target),
        weight_T=(response_T >= 0).astype(np.float32),
    )
    return PairSample(sample, np.array(block), np.array(branch), response_T)
