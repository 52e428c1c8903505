"""The error for a video that can't be used."""

from typing import Literal

Stage = Literal["probe", "decode", "cache"]


class VideoError(Exception):
    """A video gives no frames. The message is one line and says what to change.

    `stage` is where it failed: while the file was looked at, while it was decoded, or while its frames were
    kept. `retryable` is whether another try with the same file may succeed.
    """

    def __init__(self, message: str, stage: Stage, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.stage = stage
        self.retryable = retryable
