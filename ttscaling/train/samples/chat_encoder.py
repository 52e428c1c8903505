"""Encode conversations as token ids in the published template, and mark the assistants' tokens.

Source: `preprocess_internvl2_5` in OpenGVLab/InternVL `internvl_chat/internvl/train/dataset.py`. Each turn is
tokenised by itself. The loss is on the assistants' texts and their `<|im_end|>`, but not on role headers and
the newline after a turn. Deviation: an assistant's header is tokenised apart from its text, as it is when the
model answers. This matters only for a text that begins with a line break.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.image_tokens import IMAGE_CONTEXT, IMAGE_END, IMAGE_START, IMAGE_TEXT, image_tokens
from ttscaling.records.bad_records import RecordError
from ttscaling.records.chats import Turn

HEADER = "<|im_start|>assistant\n"
END = "<|im_end|>"


@dataclass(frozen=True)
class EncodedChat:
    """A conversation's tokens.

    `assistant_mask_T` marks the assistants' tokens and the ends of their turns, which are the targets of
    fine-tuning. `slots` are the positions of the last header token of every assistant turn, from which the
    turn's first token is predicted.
    """

    ids_T: NDArray[np.int64]
    assistant_mask_T: NDArray[np.bool_]
    slots: tuple[int, ...]


class ChatEncoder:
    """Encodes conversations with a checkpoint's tokenizer.

    `tokens_per_tile` is 256 in the released models. `system` is put in front of a conversation that has no
    system turn (see `model.checkpoint.templates.system_message`); None puts nothing there. Threads may share
    an encoder. Only one of them uses the tokenizer at a time, because its settings aren't safe to touch from
    several threads.

    Raises ValueError if the tokenizer isn't InternVL's.
    """

    def __init__(self, tokenizer: Any, *, tokens_per_tile: int, system: str | None):
        self.tokenizer = tokenizer
        self._turn = Lock()
        self.tokens_per_tile = tokens_per_tile
        self.system = system
        self.image_token = image_tokens(tokenizer).context
        self.header = self.ids(HEADER)
        (self.end,) = self.ids(END)
        # InternLM's tokenizers begin a text with <s>. Qwen's have no such token.
        self.begin = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]

    def ids(self, text: str) -> list[int]:
        """Return the token ids of a text; special tokens are recognised, but none is added."""
        with self._turn:
            return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def encode(
        self, turns: Sequence[Turn], image_tiles: Sequence[int] = (), *, answering: bool = False
    ) -> EncodedChat:
        """Return a conversation as tokens.

        Args:
            turns: the conversation; `<image>` in a user's turn stands for an image if there are images.
            image_tiles: the number of tiles of each image, in order.
            answering: end with an assistant's header, after which the next answer begins.

        Raises:
            RecordError: the texts hold another number of image tokens than there are images.
        """
        if self.system and turns[0].role != "system":
            turns = [Turn("system", self.system), *turns]
        ids, mask, slots = list(self.begin), [False] * len(self.begin), []
        for turn in turns:
            if turn.role == "assistant":
                slots.append(len(ids) + len(self.header) - 1)
                answer = self.ids(f"{turn.text}{END}\n")
                after_end = answer[::-1].index(self.end)  # The newline after a turn may be several tokens.
                ids += [*self.header, *answer]
                mask += [False] * len(self.header) + [True] * (len(answer) - after_end) + [False] * after_end
            else:
                text = _with_images(turn.text) if image_tiles and turn.role == "user" else turn.text
                turn_ids = self.ids(f"<|im_start|>{turn.role}\n{text}{END}\n")
                ids += turn_ids
                mask += [False] * len(turn_ids)
        if answering:
            ids += self.header
            mask += [False] * len(self.header)
            slots.append(len(ids) - 1)
        return self._expanded(np.array(ids, dtype=np.int64), np.array(mask), slots, image_tiles)

    def _expanded(
        self,
        ids_S: NDArray[np.int64],
        mask_S: NDArray[np.bool_],
        slots: Sequence[int],
        image_tiles: Sequence[int],
    ) -> EncodedChat:
        """Return the chat with each image's one context token repeated for all of its tiles."""
        indices = np.flatnonzero(ids_S == self.image_token)
        if len(indices) != len(image_tiles):
            raise RecordError(
                f"there are {len(indices)} image tokens for {len(image_tiles)} images: "
                f"remove {IMAGE_CONTEXT} from the texts"
            )
        times_S = np.ones(len(ids_S), dtype=np.int64)
        times_S[indices] = np.array(image_tiles, dtype=np.int64) * self.tokens_per_tile
        last_S = np.cumsum(times_S) - 1
        return EncodedChat(
            ids_T=np.repeat(ids_S, times_S),
            assistant_mask_T=np.repeat(mask_S, times_S),
            slots=tuple(int(last_S[slot]) for slot in slots),
        )


def _with_images(text: str) -> str:
    return text.replace(IMAGE_TEXT, f"{IMAGE_START}{IMAGE_CONTEXT}{IMAGE_END}")
