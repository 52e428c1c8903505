"""What an upload in parts has sent so far, so that it can go on later, also in another process."""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, kw_only=True)
class PartialUpload:
    """The state of an upload in parts.

    It holds plain values, so `json.dumps(dataclasses.asdict(partial))` keeps it, and
    `PartialUpload(**json.loads(text))` reads it. `size` (bytes) and `changed_ns` (the time of the file's last
    change) say whether the file is still the one that was begun. `part_bytes` is the size of each part but
    the last, and `part_ids` are those that the server has.
    """

    upload_id: str
    size: int
    changed_ns: int
    part_bytes: int
    part_ids: tuple[str, ...] | list[str]

    def with_part(self, part_id: str) -> Self:
        """Return the state with one more part at the server."""
        return replace(self, part_ids=(*self.part_ids, part_id))
