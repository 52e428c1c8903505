"""The body of a chat request that asks one question."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .files.stored_files import StoredFile
from .messages import Medium, several, user_message

FileIds = str | StoredFile | Sequence[str | StoredFile]
Delta = float | Literal["auto"] | Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Which frames are taken from the videos of a question; what is None is left to the server.

    `num_frames` frames are spread over the video, or `fps` are taken from each second. `start` and `end`
    limit both, in seconds; `times` names the seconds themselves. With `timestamps` the prompt says when each
    frame is shown. `max_dynamic_patch` is the number of tiles of one frame, and `mode` `keyframe` takes the
    nearest keyframes, which is cheap and not exact.
    """

    num_frames: int | None = None
    fps: float | None = None
    start: float | None = None
    end: float | None = None
    times: Sequence[float] | None = None
    timestamps: bool | None = None
    mode: Literal["exact", "keyframe"] | None = None
    max_dynamic_patch: int | None = None

    def fields(self) -> dict[str, Any]:
        """Return `media_io_kwargs.video` of the request."""
        chosen = {name: value for name, value in vars(self).items() if value is not None}
        if "times" in chosen:
            chosen["times"] = list(chosen["times"])
        return chosen


def question(
    text: str,
    *,
    images: Medium | Iterable[Medium] | None = None,
    video: Medium | Iterable[Medium] | None = None,
    files: FileIds = (),
    best_of: int | None = None,
    delta: Delta | None = None,
    frames: Frames | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Return the body of a chat request. It holds only OpenAI's fields as long as the last four are not used.

    `images`, `video` and `files` stand before the text; each is a path, a URL, bytes or an uploaded file. The
    critic chooses among `best_of` candidates. `delta` is V2PE's. `fields` are further fields of the request,
    such as `temperature`, `max_tokens`, `seed` and `model`. Raises OSError if a file can't be read.
    """
    body: dict[str, Any] = {"messages": [user_message(text, several(images), several(video), _ids(files))]}
    if best_of is not None:
        body["test_time_scaling"] = {"n": best_of, "return_candidates": True}
    if delta is not None:
        body["mm_processor_kwargs"] = {"v2pe_delta": delta}
    if frames is not None and frames.fields():
        body["media_io_kwargs"] = {"video": frames.fields()}
    return {name: _joined(body.get(name), fields.get(name, value)) for name, value in (body | fields).items()}


def _ids(files: FileIds) -> Sequence[str | StoredFile]:
    """Return one id or many as a sequence. A text is one id and not its letters."""
    return [files] if isinstance(files, str | StoredFile) else files


def _joined(ours: Any, theirs: Any) -> Any:
    """Return a field that an argument and a further field may both fill; the further field wins."""
    return {**ours, **theirs} if isinstance(ours, Mapping) and isinstance(theirs, Mapping) else theirs
