"""Preference pairs as training samples: a prompt with two responses in one sequence."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.image_tokens import IMAGE_CONTEXT
from ttscaling.records.bad_records import RecordError
from ttscaling.records.chats import Turn
from ttscaling.records.meta import DataSet
from ttscaling.records.pairs import PairRecord

from .chat_encoder import END
from .chat_samples import Preparation, next_token_sample, read_media
from .sample import Sample

CHOSEN, REJECTED = 0, 1


@dataclass(frozen=True)
class PairSample:
    """Both responses to a prompt, which is there once.

    `branch_T` is 0 for the prompt, which both see, else the number of the branch that alone sees it.
    `response_T` is CHOSEN or REJECTED at the positions that predict a response's tokens, -1 elsewhere; the
    weights are 1 there.
    """

    sample: Sample
    branch_T: NDArray[np.int64]
    response_T: NDArray[np.int64]

    @property
    def num_tokens(self) -> int:
        return self.sample.num_tokens

    @property
    def num_tiles(self) -> int:
        return self.sample.num_tiles


def pair_sample(
    record: PairRecord, data_set: DataSet, preparation: Preparation, rng: np.random.Generator
) -> PairSample:
    """A preference pair. Prompt and images are computed once, half the work where the images are large.

    The prompt's last token opens each branch: from there each response predicts its own first token. Raises
    RecordError.
    """
    asked = (Turn("user", record.question),)
    turns, images_NHWC = read_media(asked, record.images, record.video, data_set, preparation, rng)
    encoder = preparation.encoder
    prompt = encoder.encode(turns, [len(tiles) for tiles in images_NHWC], answering=True)
    nothing_T = np.zeros(len(prompt.ids_T), dtype=bool)
    context = next_token_sample(prompt, nothing_T, images_NHWC, preparation, rng)
    *trunk, last = context.ids_T.tolist()
    ids, target = list(trunk), [*trunk[1:], *trunk[-1:]]
    branch, response = [0] * len(trunk), [-1] * len(trunk)
    for number, text in enumerate((record.chosen, record.rejected)):
        said = encoder.ids(f"{text}{END}")
        if encoder.image_token in said:
            raise RecordError(f"a response has an image token in it: remove {IMAGE_CONTEXT} from the texts")
        ids += [last, *said]
        target += [*said, said[-1]]
        branch += [number + 1] * (len(said) + 1)
        response += [*[number] * len(said), -1]
    response_T = np.array(response)
    sample = replace(
        context,
        ids_T=np.array(ids),
        target_T=np.array(target),
        weight_T=(response_T >= 0).astype(np.float32),
    )
    return PairSample(sample, np.array(branch), response_T)
