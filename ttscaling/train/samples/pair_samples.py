"""Turn preference pairs into training samples, with a prompt and two responses in one sequence."""

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
    """A prompt, which the sequence holds once, and both responses to it.

    `branch_T` is 0 at the prompt, which both branches see, and elsewhere the number of the only branch that
    sees the position: 1 or 2. `response_T` is CHOSEN or REJECTED at the positions that predict a response's
    tokens, where the weights are 1, and -1 elsewhere.
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
    """Return a preference pair as a sample.

    Prompt and images are computed once, which halves the work where the images are large. Each branch begins
    with the prompt's last token, from which the response's first token is predicted. Raises RecordError if
    the media can't be used, or a response holds an image token.
    """
    question = (Turn("user", record.question),)
    turns, images_NHWC = read_media(question, record.images, record.video, data_set, preparation, rng)
    encoder = preparation.encoder
    prompt = encoder.encode(turns, [len(tiles) for tiles in images_NHWC], answering=True)
    unsupervised_T = np.zeros(len(prompt.ids_T), dtype=bool)
    context = next_token_sample(prompt, unsupervised_T, images_NHWC, preparation, rng)
    *trunk, last = context.ids_T.tolist()
    ids, target = list(trunk), [*trunk[1:], *trunk[-1:]]
    branch, response = [0] * len(trunk), [-1] * len(trunk)
    for number, text in enumerate((record.chosen, record.rejected)):
        response_ids = encoder.ids(f"{text}{END}")
        if encoder.image_token in response_ids:
            raise RecordError(f"a response holds an image token: remove {IMAGE_CONTEXT} from the texts")
        ids += [last, *response_ids]
        target += [*response_ids, response_ids[-1]]
        branch += [number + 1] * (len(response_ids) + 1)
        response += [*[number] * len(response_ids), -1]
    response_T = np.array(response)
    sample = replace(
        context,
        ids_T=np.array(ids),
        target_T=np.array(target),
        weight_T=(response_T >= 0).astype(np.float32),
    )
    return PairSample(sample, np.array(branch), response_T)
