"""The LoRA adapters that a running engine has, and who uses them."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vllm.engine.protocol import EngineClient
from vllm.entrypoints.openai.models.serving import OpenAIServingModels
from vllm.entrypoints.serve.exception_handling.utils import sanitize_message
from vllm.lora.request import LoRARequest
from vllm.v1.engine.exceptions import EngineDeadError

from model.checkpoint.digest import checkpoint_digest
from server.errors import ApiError, adapter_not_found, stopped

from .adapters import AdapterError, AdapterRoom, adapter_rank
from .internals.messages import CALL_FAILED

logger = logging.getLogger("internvl3.engine")


@dataclass(eq=False)
class LoadedAdapter:
    """One adapter in the engine."""

    request: LoRARequest
    digest: str
    users: int = 0  # the requests that run with it
    idle: asyncio.Event = field(default_factory=asyncio.Event)  # set while there are none


class LoadedAdapters:
    """The adapters of one engine by name. It belongs to the event loop and isn't safe for threads.

    vLLM's handlers find an adapter in `models.lora_requests`, which this class alone changes. An adapter that
    is unloaded loses its name at once. Its place in the engine is free when its last request has ended: vLLM
    would load it again for a request that goes on, into a place that is counted as free.
    """

    def __init__(
        self,
        models: OpenAIServingModels,
        client: EngineClient,
        room: AdapterRoom,
        *,
        digests: Mapping[str, str],
    ) -> None:
        """Take over the adapters that the engine has from the beginning.

        Args:
            models: vLLM's names of models and adapters.
            client: vLLM's client of the engine.
            room: how many adapters it can have.
            digests: those of the adapters in `models`, by name.
        """
        self._models = models
        self._client = client
        self._places = room.places
        config = client.vllm_config.lora_config
        self._highest_rank = 0 if config is None else config.max_lora_rank
        self._loaded = {
            name: _loaded(request, digests[name]) for name, request in models.lora_requests.items()
        }
        self._leaving: set[LoadedAdapter] = set()
        self._known_digests = {loaded.request.lora_path: loaded.digest for loaded in self._loaded.values()}
        self._change = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()  # that free the places of unloaded adapters

    @property
    def names(self) -> Collection[str]:
        """The adapters' names, in the order in which they were loaded."""
        return self._loaded.keys()

    @property
    def digests(self) -> dict[str, str]:
        """What tells an adapter from others that had its name, by name."""
        return {name: loaded.digest for name, loaded in self._loaded.items()}

    @contextmanager
    def use(self, name: str) -> Iterator[None]:
        """Keep the adapter of this name in the engine until the block ends, if it is one."""
        loaded = self._loaded.get(name)
        if loaded is None:
            yield
            return
        loaded.users += 1
        loaded.idle.clear()
        try:
            yield
        finally:
            loaded.users -= 1
            if not loaded.users:
                loaded.idle.set()

    def held(self, name: str, events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        """Return the events of a reply, while which `use` holds. The caller begins to read them at once."""
        return self._held(name, events) if name in self._loaded else events

    async def _held(self, name: str, events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        with self.use(name):
            async with aclosing(events):
                async for event in events:
                    yield event

    async def load(self, name: str, folder: Path) -> None:
        """Load the adapter in a folder under a name.

        Raises ApiError: 400 if it can't be used or has no room, 503 if the engine has died.
        """
        async with self._change:
            if name in self._loaded:
                raise ApiError(
                    f"lora_name: there is an adapter `{name}` already. Unload it, or choose another name.",
                    param="lora_name",
                    code="adapter_exists",
                )
            if len(self._loaded) + len(self._leaving) >= self._places:
                raise ApiError(
                    f"The server has room for {self._places} adapters, which are taken. Unload one and wait "
                    "until its requests have ended, or have the server started with a higher --max-adapters.",
                    code="too_many_adapters",
                )
            digest = await asyncio.to_thread(self._checked_digest, folder)
            request = LoRARequest(name, self._models.lora_id_counter.inc(1), str(folder))
            await self._add(request)
            self._models.lora_requests[name] = request
            self._loaded[name] = _loaded(request, digest)
            self._known_digests[str(folder)] = digest

    async def unload(self, name: str) -> None:
        """Take an adapter's name away, and return when its place is free.

        Raises ApiError: 404 if there is no such adapter, 503 if the engine has died.
        """
        loaded = self._loaded.pop(name, None)
        if loaded is None:
            raise adapter_not_found(f"There is no adapter `{name[:100]}`.", param="lora_name")
        del self._models.lora_requests[name]
        self._leaving.add(loaded)
        freeing = asyncio.create_task(self._free(loaded))
        self._tasks.add(freeing)
        freeing.add_done_callback(self._tasks.discard)
        await asyncio.shield(freeing)  # goes on if the client leaves

    async def _free(self, loaded: LoadedAdapter) -> None:
        await loaded.idle.wait()
        try:
            await self._client.remove_lora(loaded.request.lora_int_id)
        except EngineDeadError:
            raise stopped() from None
        finally:
            self._leaving.discard(loaded)

    def _checked_digest(self, folder: Path) -> str:
        """Return the digest of an adapter that fits. Raises ApiError (400) otherwise."""
        try:
            rank = adapter_rank(folder)
            digest = checkpoint_digest(folder)
        except AdapterError as error:
            raise _unusable(f"the folder {error}.") from None
        except (OSError, ValueError) as error:
            raise _unusable(f"its files can't be read: {sanitize_message(str(error))}.") from None
        if rank > self._highest_rank:
            raise _unusable(
                f"it has the rank {rank}, and the server takes {self._highest_rank} at most. Have it started "
                "with a higher --max-adapter-rank."
            )
        if (
            self._known_digests.get(str(folder), digest) != digest
        ):  # the prefix cache knows an adapter by its path
            raise _unusable(
                "it has changed since it was loaded from this folder. Put it into another folder."
            )
        return digest

    async def _add(self, request: LoRARequest) -> None:
        """Have the engine load an adapter. What it can't use leaves nothing behind."""
        adapters = {loaded.request.lora_int_id for loaded in (*self._loaded.values(), *self._leaving)}
        try:
            for stray in (
                set(await self._client.list_loras()) - adapters
            ):  # an ended request's last step loads one
                await self._client.remove_lora(stray)
            await self._client.add_lora(request)
        except EngineDeadError:
            raise stopped() from None
        except Exception as error:
            _, is_of_engine, cause = str(error).partition(CALL_FAILED)
            if not is_of_engine:
                raise
            await self._client.remove_lora(request.lora_int_id)
            logger.warning("the adapter in %s can't be used: %s", request.lora_path, cause)
            plain = sanitize_message(cause)  # without paths, which clients may not see
            raise _unusable(f"{plain.rstrip('.')}.") from None


def _loaded(request: LoRARequest, digest: str) -> LoadedAdapter:
    loaded = LoadedAdapter(request, digest)
    loaded.idle.set()
    return loaded


def _unusable(why: str) -> ApiError:
    return ApiError(f"lora_path: the adapter can't be used: {why}", param="lora_path", code="invalid_adapter")
