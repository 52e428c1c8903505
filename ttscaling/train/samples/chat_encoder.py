"""Conversations as token ids in the published template, with marks on what an assistant says.

Source: `preprocess_internvl2_5` in OpenGVLab/InternVL `internvl_chat/internvl/train/dataset.py`. Each turn is
tokenised by itself; the loss is on the assistants' texts and their `<|im_end|>`, not on role headers nor the
newline after a turn. Deviation: an assistant's header is tokenised apart from its text, as it is when the
model answers; it matters only for a text that begins with a line break.
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

    `assistant_mask_T` marks assistants' tokens and the ends of their turns: what the loss is on in
    fine-tuning. `slots` are the positions of the last header token of every assistant turn: where its first
    token is predicted.
    """

    ids_T: NDArray[np.int64]
    assistant_mask_T: NDArray[np.bool_]
    slots: tuple[int, ...]


class ChatEncoder:
    """Encodes conversations with a checkpoint's tokenizer.

    `tokens_per_tile` is 256 in the released models. `system` is put in front of a conversation without a
    system turn of its own (`model.checkpoint.templates.system_message`); None puts nothing there. Threads may
    share an encoder: they take turns with the tokenizer, whose settings aren't safe to touch at the same
    time.

    Raises ValueError where the tokenizer isn't InternVL's.
    """

    def __init__(self, tokenizer: Any, *, tokens_per_tile: int, system: str | None):
        self.tokenizer = tokenizer
        self._turn = Lock()
        self.tokens_per_tile = tokens_per_tile
        self.system = system
        self.image_token = image_tokens(tokenizer).context
        self.header = self.ids(HEADER)
        (self.end,) = self.ids(END)
        # InternLM's tokenizers begin a text with <s>; Qwen's have no such token.
        self.begin = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]

    def ids(self, text: str) -> list[int]:
        """Token ids of a piece of text, special tokens recognised, none added."""
        with self._turn:
            return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def encode(
        self, turns: Sequence[Turn], image_tiles: Sequence[int] = (), *, answering: bool = False
    ) -> EncodedChat:
        """A conversation as tokens.

        Args:
            turns: what is said; `<image>` stands for an image in users' turns if there are images.
            image_tiles: how many tiles each image has, in order.
            answering: end with an assistant's header, where the next answer begins.

        Raises:
            RecordError: the images don't match their places.
        """
        if self.system and turns[0].role != "system":
            turns = [Turn("system", self.system), *turns]
        ids, said, slots = list(self.begin), [False] * len(self.begin), []
        for turn in turns:
            if turn.role == "assistant":
                slots.append(len(ids) + len(self.header) - 1)
                answer = self.ids(f"{turn.text}{END}\n")
                newline = answer[::-1].index(self.end)  # tokens after the turn's end
                ids += [*self.header, *answer]
                said += [False] * len(self.header) + [True] * (len(answer) - newline) + [False] * newline
            else:
                text = _with_images(turn.text) if image_tiles and turn.role == "user" else turn.text
                asked = self.ids(f"<|im_start|>{turn.role}\n{text}{END}\n")
                ids += asked
                said += [False] * len(asked)
        if answering:
            ids += self.header
            said += [False] * len(self.header)
            slots.append(len(ids) - 1)
        return self._expanded(np.array(ids, dtype=np.int64), np.array(said), slots, image_tiles)

    def _expanded(
        self,
        ids_S: NDArray[np.int64],
        said_S: NDArray[np.bool_],
        slots: Sequence[int],
        image_tiles: Sequence[int],
    ) -> EncodedChat:
        """Each image's one context token repeated for all of its tiles."""
        at = np.flatnonzero(ids_S == self.image_token)
        if len(at) != len(image_tiles):
            raise RecordError(
                f"{len(at)} image tokens for {len(image_tiles)} images: remove {IMAGE_CONTEXT} from the texts"
            )
        times_S = np.ones(len(ids_S), dtype=np.int64)
        times_S[at] = np.array(image_tiles, dtype=np.int64) * self.tokens_per_tile
        last_S = np.cumsum(times_S) - 1
        return EncodedChat(
            ids_T=np.repeat(ids_S, times_S),
            assistant_mask_T=np.repeat(said_S, times_S),
            slots=tuple(int(last_S[slot]) for slot in slots),
        )


def _with_images(text: str) -> str:
    return text.replace(IMAGE_TEXT, f"{IMAGE_START}{IMAGE_CONTEXT}{IMAGE_END}")
