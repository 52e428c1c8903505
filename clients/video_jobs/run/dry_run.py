"""Say what a job will cost, without decoding a video and without paying for anything."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from rich.text import Text

from clients.sdk.errors import ClientError, api_error
from clients.video_jobs.frames.errors import VideoError
from clients.video_jobs.frames.reader import VideoFacts, read_facts
from clients.video_jobs.items.item import Item, is_address
from clients.video_jobs.planning.measuring import Render
from clients.video_jobs.planning.plan import Plan, plan_question
from clients.video_jobs.requests.outline import Outline

from .failures import ItemError
from .servers import Server
from .time_left import in_words
from .video_answerer import AskOptions
from .video_group import grouped

COLUMNS = ("item", "length", "requests", "prompt tokens", "positions", "delta", "decoding", "frames on disk")
MOST_ROWS = 50


@dataclass(frozen=True)
class ItemCost:
    """What an item will cost, or why nobody can say. `pays_decode` is whether it is its video's first one."""

    item: Item
    duration: float | None
    plan: Plan | None
    problem: str | None = None
    pays_decode: bool = False


@asynccontextmanager
async def rendering(urls: Sequence[str], headers: Mapping[str, str]) -> AsyncIterator[Render | None]:
    """Yield what asks the first server about prompts, or None if it can't be asked."""
    server = Server(urls[0], headers=headers)

    async def render(body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            response = await server.post("/v1/chat/completions/render", body)
        except httpx.HTTPError as error:
            raise ClientError(f"the server at {server.url} went away: {error}") from error
        if not response.is_success:
            raise api_error(response.status_code, response.content)
        reply: Mapping[str, Any] = response.json()
        return reply

    try:
        yield render if await server.is_ready() else None
    finally:
        await server.close()


async def item_costs(
    items: Iterable[Item], options: AskOptions, render: Render | None
) -> AsyncIterator[ItemCost]:
    """Yield what each item will cost; the run makes its requests by the same functions."""
    if render is not None:
        options = await options.measured_by(options.settings.model, render)
    counting = render if options.settings.facts.is_measured else None
    for group in grouped(items):
        if is_address(group.video):
            for item in group.items:
                yield ItemCost(item, None, None, "it has to be fetched first")
            continue
        try:
            video = await read_facts(Path(group.video))
        except VideoError as error:
            for item in group.items:
                yield ItemCost(item, None, None, str(error))
            continue
        earlier: list[Outline] = []
        for number, item in enumerate(group.items):
            cost = await item_cost(item, video, options, counting, earlier, pays_decode=number == 0)
            earlier += cost.plan.outlines if cost.plan else ()
            yield cost


async def item_cost(
    item: Item,
    video: VideoFacts,
    options: AskOptions,
    render: Render | None,
    earlier: Sequence[Outline],
    *,
    pays_decode: bool,
) -> ItemCost:
    """Return what an item will cost after others on its video, or why nobody can say."""
    try:
        question, settings = options.question_of(item, Path(item.video))
        plan = await plan_question(question, video, options.take, settings, render, earlier=earlier)
    except (VideoError, ClientError, ItemError) as error:
        return ItemCost(item, video.duration, None, str(error))
    return ItemCost(item, video.duration, plan, pays_decode=pays_decode)


def show_costs(costs: Sequence[ItemCost], console: Console, *, is_counted: bool) -> None:
    """Print a row for each item and the sums. `is_counted` is whether a server has counted the tokens."""
    table = Table(*COLUMNS, box=None, pad_edge=False, header_style="bold")
    for cost in costs[:MOST_ROWS]:
        table.add_row(*map(Text, _row(cost)))
    if len(costs) > MOST_ROWS:
        table.add_row(f"and {len(costs) - MOST_ROWS} more")
    console.print(table)
    sums = totals(costs)
    lines = (
        f"{sums['items']} items: {sums['requests']:,} requests with {sums['prompt_tokens']:,} prompt tokens",
        f"and at most {sums['completion_tokens']:,} tokens of answers;",
        f"{in_words(sums['decode_seconds'])} of one core to decode;",
        f"{_mib(sums['cache_bytes'])} of frames on the disk",
    )
    console.print(Text("\n" + " ".join(lines)), soft_wrap=True)
    if not is_counted:
        console.print(Text("No server counted the tokens, so they follow from the published models."))
    if sums["unknown"]:
        console.print(Text(f"{sums['unknown']} items could not be looked at."))


def totals(costs: Iterable[ItemCost]) -> dict[str, Any]:
    """Return the sums over all items. Videos are decoded once, and their frames are kept once."""
    sums: dict[str, Any] = {
        "items": 0,
        "unknown": 0,
        "requests": 0,
        "prompt_tokens": 0,
        "note_tokens": 0,
        "completion_tokens": 0,
        "upload_bytes": 0,
        "decode_seconds": 0.0,
        "cache_bytes": 0,
    }
    for cost in costs:
        sums["items"] += 1
        if cost.plan is None:
            sums["unknown"] += 1
            continue
        for name in ("requests", "prompt_tokens", "note_tokens", "completion_tokens", "upload_bytes"):
            sums[name] += getattr(cost.plan.cost, name)
        if cost.pays_decode:
            sums["decode_seconds"] += cost.plan.decode_seconds
            sums["cache_bytes"] += cost.plan.cache_bytes
    return sums


def _row(cost: ItemCost) -> tuple[str, ...]:
    name = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in cost.item.id)
    length = "?" if cost.duration is None else in_words(cost.duration)
    if cost.plan is None:
        return name, length, cost.problem or "?", "", "", "", "", ""
    plan, once = cost.plan, cost.pays_decode
    return (
        name,
        length,
        str(plan.cost.requests),
        f"{plan.cost.prompt_tokens:,}",
        f"{plan.cost.positions:,}",
        "-" if plan.cost.delta is None else str(plan.cost.delta),
        in_words(plan.decode_seconds) if once else "-",
        _mib(plan.cache_bytes) if once else "-",
    )


def _mib(size: float) -> str:
    return f"{size / 2**20:,.0f} MiB"


def collect(
    items: Sequence[Item], options: AskOptions, urls: Sequence[str], headers: Mapping[str, str]
) -> tuple[list[ItemCost], bool]:
    """Return what each item will cost, and whether a server has counted the tokens."""

    async def work() -> tuple[list[ItemCost], bool]:
        async with rendering(urls, headers) as render:
            costs = [cost async for cost in item_costs(items, options, render)]
            return costs, render is not None

    return asyncio.run(work())
