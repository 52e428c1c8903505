"""The images and videos that other servers have sent for their questions, which name them by an id."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.video.tiles import Video
from server.errors import ApiError
from server.request_media import LoadedImage

MIB = 2**20
Owner = tuple[str, str | None]  # the name of an API key, and the salt of its caches


@dataclass(frozen=True, kw_only=True)
class StoredMedium:
    """An image or a video that was checked."""

    medium: LoadedImage | Video
    size: int  # bytes of memory


class UnknownMedia(ApiError):
    """A question names media that this server doesn't keep (any more)."""

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__(
            f"This server doesn't keep {len(missing)} of the media that the question names. Send them with "
            "PUT /v1/critic/media/ID, and then the request again.",
            status=409,
            param="messages",
            code="unknown_media",
        )
        self.missing = tuple(missing)

    @property
    def body(self) -> Mapping[str, Any]:
        """OpenAI's error body, with the ids in `missing`."""
        return {"error": {**super().body["error"], "missing": list(self.missing)}}


class MediaStore:
    """Media by owner and id. Those that were used longest ago are dropped when the memory is used up."""

    def __init__(self, limit_mib: int) -> None:
        self.limit = limit_mib * MIB
        self.used = 0  # bytes
        self._media: OrderedDict[tuple[Owner, str], StoredMedium] = OrderedDict()

    def keep(self, owner: Owner, name: str, medium: StoredMedium) -> None:
        """Keep a medium, in place of one with the same owner and id.

        Nobody but the owner can use the medium. Raises ApiError (413) if it is larger than the whole memory.
        """
        if medium.size > self.limit:
            raise too_large_to_keep(self.limit)
        self._drop((owner, name))
        self._media[owner, name] = medium
        self.used += medium.size
        while self.used > self.limit:
            self._drop(next(iter(self._media)))

    def find(self, owner: Owner, names: Sequence[str]) -> Mapping[str, StoredMedium]:
        """Return an owner's media by id. Raises UnknownMedia if one of them isn't kept."""
        missing = [name for name in dict.fromkeys(names) if (owner, name) not in self._media]
        if missing:
            raise UnknownMedia(missing)
        for name in names:
            self._media.move_to_end((owner, name))
        return {name: self._media[owner, name] for name in names}

    def _drop(self, key: tuple[Owner, str]) -> None:
        medium = self._media.pop(key, None)
        self.used -= 0 if medium is None else medium.size


def too_large_to_keep(limit: int) -> ApiError:
    """Return the error for a medium that is larger than all that a server keeps."""
    return ApiError(
        f"The image or video is larger than the {limit} bytes that this server keeps for questions. Send a "
        "smaller one, or raise --critic-media-mib.",
        status=413,
        code="request_too_large",
    )
