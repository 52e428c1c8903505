"""Turn a rendered conversation into token ids, in which a client's text is never a special token.

The template's special tokens and placeholders are cut out first. A tokenizer would do the same, so the text
between them gets the ids that it would get in one piece.
"""

import re
from collections.abc import Collection
from typing import Any

from model.image_tokens import IMAGE_CONTEXT, IMAGE_TEXT, VIDEO_TEXT, special_ids
from model.plugin.inputs.literal_tokenizer import LiteralTokenizer
from model.plugin.inputs.placeholders import IMAGE_MARKER, VIDEO_MARKER

from .request_marks import RequestMarks
from .reserved_texts import cut

_MARKERS = {"image": IMAGE_MARKER, "video": VIDEO_MARKER}


class PromptEncoder:
    """Encodes prompts with one tokenizer. It never changes the state of that tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._literal = LiteralTokenizer(tokenizer)
        self._special_ids = special_ids(tokenizer)

    @property
    def special_texts(self) -> Collection[str]:
        """The texts of the special tokens."""
        return self._special_ids.keys()

    def encode(self, prompt: str, marks: RequestMarks, *, add_special_tokens: bool) -> list[int]:
        """Return the ids of a prompt, with IMAGE_MARKER and VIDEO_MARKER where media stand.

        Args:
            prompt: what `name_slots` made of a rendered conversation with these marks.
            marks: the marks of the request.
            add_special_tokens: whether the tokenizer puts its own special tokens around the prompt.
        """
        slots = {marks.slot(modality): marker for modality, marker in _MARKERS.items()}
        ids, plain = list[int](), ""
        for piece, is_cut_out in cut(prompt, [*slots, *self._special_ids]):
            if piece in slots:
                ids += [*self._ids(plain), slots[piece]]
                plain = ""
            elif not is_cut_out and marks.text in piece:
                ids += [*self._ids(plain), *self._ids_of_text(piece, marks.text)]
                plain = ""
            else:
                plain += piece
        ids += self._ids(plain)
        if not add_special_tokens:
            return ids
        before, after = self._added_special_tokens()
        return [*before, *ids, *after]

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False)) if text else []

    def _ids_of_text(self, text: str, mark: str) -> list[int]:
        """Return the ids of a client's text with marks, in which special tokens are ordinary text."""
        ids = self._literal.encode(text.replace(mark, ""))
        if set(ids).isdisjoint(self._special_ids.values()):
            return ids
        # InternLM's vocabularies hold their special tokens a second time, as pieces of text.
        return [token for half in text.split(mark) for token in self._literal.encode(half)]

    def _added_special_tokens(self) -> tuple[list[int], list[int]]:
        bare = self._ids("a")
        whole = list(self._tokenizer.encode("a", add_special_tokens=True))
        begin = next(
            (index for index in range(len(whole)) if whole[index : index + len(bare)] == bare), len(whole)
        )
        return whole[:begin], whole[begin + len(bare) :]


def name_slots(prompt: str, marks: RequestMarks, modalities: Collection[str]) -> str:
    """Return a rendered conversation with `marks.slot` where each medium stands.

    Only the template can have written a placeholder that has no mark in it. What the template writes between
    two edges, such as a line break behind the placeholder, is left out.

    Args:
        prompt: what the template made of a conversation with these marks.
        marks: the marks of the request.
        modalities: the kinds of media that the request has.
    """
    pieces = re.split(f"{marks.edge}(.*?){marks.edge}", prompt, flags=re.DOTALL)
    image_text = IMAGE_CONTEXT if IMAGE_CONTEXT in prompt else IMAGE_TEXT
    for placeholder, modality in ((image_text, "image"), (VIDEO_TEXT, "video")):
        if modality in modalities:
            slot = marks.slot(modality)
            pieces[::2] = [piece.replace(placeholder, slot) for piece in pieces[::2]]
            pieces[1::2] = [slot if placeholder in piece else piece for piece in pieces[1::2]]
    return "".join(pieces)
