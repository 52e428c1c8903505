"""Send each image and video of a question to the critic's server once, however many answers wait for it."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from server.media.transfer import OutgoingMedium
from ttscaling.types import CriticError

REMEMBERED = 4096  # names, and times of uploads

Key = tuple[str | None, str]  # the salt of the caches with which a medium was sent, and its id

# Sends the medium under its key. Raises CriticError and ApiError.
Put = Callable[[Key, OutgoingMedium], Awaitable[None]]


class MediaUploads:
    """The uploads to one server, and the ids of the media."""

    def __init__(self, put: Put) -> None:
        self._put = put
        self._names: OrderedDict[str, str] = OrderedDict()  # ids by uuid
        self._sent: OrderedDict[Key, float] = OrderedDict()  # when the last upload ended
        self._running: dict[Key, asyncio.Task[None]] = {}

    async def names(self, media: Mapping[str, OutgoingMedium]) -> Mapping[str, str]:
        """Return the ids of media by the `uuid` of their parts. Each is computed once, in a thread."""
        for uuid, medium in media.items():
            if uuid not in self._names:
                self._names[uuid] = await asyncio.to_thread(medium.digest)
        chosen = {uuid: self._names[uuid] for uuid in media}
        while len(self._names) > REMEMBERED:
            self._names.popitem(last=False)
        return chosen

    async def send(
        self,
        media: Mapping[str, OutgoingMedium],
        missing: Sequence[str],
        *,
        cache_salt: str | None,
        since: float,
    ) -> None:
        """Send the media that the server lacks, and wait for those that another question sends.

        Args:
            media: the media of the question by id.
            missing: the ids that the server doesn't know.
            cache_salt: the salt of the question's caches.
            since: when it was asked, by the event loop's clock. What was sent after that is there now.

        Raises:
            CriticError: the server fails or can't be reached.
            ApiError: the server refuses a medium.
        """
        if not media.keys() >= set(missing):
            raise CriticError("the critic's server asks for media that the question doesn't have")
        late = [name for name in missing if self._sent.get((cache_salt, name), since) <= since]
        uploads = [self._upload((cache_salt, name), media[name]) for name in late]
        await asyncio.gather(*map(asyncio.shield, uploads))

    async def close(self) -> None:
        """End all uploads."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _upload(self, key: Key, medium: OutgoingMedium) -> asyncio.Task[None]:
        """Return the upload of a medium. It goes on if a question that waits for it is cancelled."""
        if key not in self._running:
            self._running[key] = asyncio.create_task(self._send(key, medium))
        return self._running[key]

    async def _send(self, key: Key, medium: OutgoingMedium) -> None:
        try:
            await self._put(key, medium)
            self._sent[key] = asyncio.get_running_loop().time()
            while len(self._sent) > REMEMBERED:
                self._sent.popitem(last=False)
        finally:
            del self._running[key]
