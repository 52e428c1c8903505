"""Turn a critic's conversation into a training sample with its labels as targets.

The labels are predicted at the slots, which are the last header tokens of the assistant's turns. The text of
the steps labelled `+` can be a target too. A critic must know what a right step says in order to find a wrong
one, and a model that learns labels alone forgets it.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ttscaling.critic_prompt import PLUS
from ttscaling.records.chats import Turn
from ttscaling.records.meta import DataSet
from ttscaling.train.settings.kinds import History

from .chat_encoder import END, EncodedChat
from .chat_samples import Preparation, next_token_sample, read_media
from .critic_chats import CriticRecord, critic_turns
from .sample import Sample

NO_LABEL = -1


@dataclass(frozen=True)
class CriticSample(Sample):
    """A sample whose `slot_T` marks the positions at which a label is predicted.

    All labels have the weight that `average` gives to the number of labels, and other targets the weight of a
    label times `text_weight`. `step_label_T` holds the label's token at the tokens of its step, and NO_LABEL
    elsewhere.
    """

    slot_T: NDArray[np.bool_]
    step_label_T: NDArray[np.int64]


def critic_sample(
    record: CriticRecord,
    data_set: DataSet,
    preparation: Preparation,
    rng: np.random.Generator,
    *,
    history: History = "plus",
    text_weight: float = 0.0,
) -> CriticSample:
    """Return a critic's conversation as a sample with the loss on its labels `+`, `-` and `=`.

    Args:
        record: the conversation.
        data_set: the data set that the record belongs to.
        preparation: the settings by which records become samples.
        rng: gives the deltas and the augmentation.
        history: what earlier turns of the assistant hold, see `critic_turns`.
        text_weight: weight of a token of a step labelled `+`, beside 1 for a label. The end of the step is
            one of its tokens.

    Raises:
        RecordError: the media can't be used.
        ValueError: the tokenizer has no single token for a label.
    """
    question_turns, images_NHWC = read_media(
        (Turn("user", record.question),), record.images, record.video, data_set, preparation, rng
    )
    turns = critic_turns(replace(record, question=question_turns[0].text), history=history)
    chat = preparation.encoder.encode(turns, [len(tiles) for tiles in images_NHWC], answering=True)
    slot_T = np.zeros(len(chat.ids_T), dtype=bool)
    slot_T[list(chat.slots)] = True
    sample = next_token_sample(chat, slot_T, images_NHWC, preparation, rng)
    labels = [preparation.encoder.ids(label) for label in record.labels]
    if any(len(ids) != 1 for ids in labels):
        raise ValueError(
            "the tokenizer has no single token for '+', '-' or '=', so it can't train a critic: use a model "
            "with InternVL's tokenizer"
        )
    sample.target_T[slot_T] = [ids[0] for ids in labels]
    step_label_T = np.full(len(chat.ids_T), NO_LABEL)
    for step, ids, slot in zip(record.steps, labels, chat.slots, strict=True):
        predicting = _text_positions(chat, step, slot, preparation)
        step_label_T[predicting.start + 1 : predicting.stop + 1] = ids[0]
    if text_weight:
        right_steps = (
            (step, slot)
            for step, label, slot in zip(record.steps, record.labels, chat.slots, strict=True)
            if label == PLUS
        )
        label_weight = sample.weight_T[chat.slots[0]]
        for step, slot in right_steps:
            sample.weight_T[_text_positions(chat, step, slot, preparation)] = text_weight * label_weight
    return CriticSample(
        sample.ids_T, sample.target_T, sample.weight_T, sample.deltas, sample.tiles_NHWC, slot_T, step_label_T
    )


def _text_positions(chat: EncodedChat, step: str, slot: int, preparation: Preparation) -> range:
    """Return the positions that predict the tokens of the step before a slot, and the end of its turn."""
    (end,) = preparation.encoder.ids(END)
    end_at = slot - chat.ids_T[slot::-1].tolist().index(end)
    return range(end_at - len(preparation.encoder.ids(step)) - 1, end_at)
