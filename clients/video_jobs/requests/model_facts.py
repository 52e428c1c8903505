"""What requests cost on a model: tokens, positions, and the V2PE delta with which they fit its window."""

import math
from dataclasses import dataclass

TRAINED_DELTAS = tuple(2.0**-k for k in range(9))  # 1, 1/2, ... 1/256 (InternVL3, section 2.1)
GROWTH = 8  # delta "auto" of the server keeps this part of the window free behind the last frame


@dataclass(frozen=True)
class ModelFacts:
    """The numbers that a model's requests follow. The defaults are those of the published InternVL3.

    A frame has `frame_tokens` visual tokens and `label_tokens` of text: its label with its time, its brackets
    and the end of its line. A conversation has `other_tokens` beside frames and question. `window` is the
    number of positions that the model was trained on, and `max_tokens_total` is the most tokens that a prompt
    and its answer may have. `is_measured` is whether a server has said so.
    """

    frame_tokens: int = 256
    label_tokens: float = 14.0
    other_tokens: int = 60
    characters_per_token: float = 3.6
    window: int = 32768
    is_measured: bool = False

    @property
    def side(self) -> int:
        """The side of the model's tile in pixels. A visual token stands for 2 x 2 patches of 14 pixels."""
        return 28 * math.isqrt(self.frame_tokens)

    def text_tokens(self, text: str) -> int:
        """Return about how many tokens a text has."""
        return math.ceil(len(text) / self.characters_per_token)

    def prompt_tokens(self, frames: int, text: str) -> int:
        """Return about how many tokens a prompt with so many frames and this text has."""
        return (
            round(frames * (self.frame_tokens + self.label_tokens))
            + self.other_tokens
            + self.text_tokens(text)
        )

    def positions(self, frames: int, text: str, delta: float) -> int:
        """Return about how many positions such a prompt takes at a delta."""
        tokens = self.prompt_tokens(frames, text)
        return tokens - frames * self.frame_tokens + frames * math.ceil(self.frame_tokens * delta)

    def fitting_delta(self, frames: int, text: str, max_tokens: int) -> float | None:
        """Return the largest trained delta with which prompt and answer fit the window, or None.

        As with the server's "auto", room stays behind the last frame if a delta allows it. So all questions
        on the same frames get one delta, and the server finds the frames in its cache.
        """

        def fits(delta: float) -> bool:
            return self.positions(frames, text, delta) + max_tokens <= self.window

        def leaves_room(delta: float) -> bool:
            return self.positions(frames, "", delta) + self.window // GROWTH <= self.window

        roomy = [delta for delta in TRAINED_DELTAS if fits(delta) and leaves_room(delta)]
        return max(roomy or [delta for delta in TRAINED_DELTAS if fits(delta)], default=None)
