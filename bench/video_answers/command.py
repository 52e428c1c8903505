"""Measure which events strategies find in a long video (`internvl3 bench video-answers`)."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bench.harness.logs import logs_folder
from bench.harness.output import JsonOption
from bench.harness.report import machine
from clients.sdk.errors import ClientError
from clients.video_jobs.frames.errors import VideoError
from clients.video_jobs.requests.settings import AskSettings
from ttscaling.asking.address import Address, ApiKey, Header, address_of
from ttscaling.asking.local_server import serving
from ttscaling.console import CommandError

from .material import FOLDER, NAMES, make_material
from .measuring import measure

COLUMNS = (
    ("system", "system"),
    ("case", "video"),
    ("visible", "visible"),
    ("recall", "recall"),
    ("precision", "precision"),
    ("duplicates", "duplicates"),
    ("invented", "invented"),
    ("median_error_s", "median error, s"),
    ("requests", "requests"),
    ("prompt_tokens", "prompt tokens"),
    ("decode_passes", "decodes"),
    ("answer_s", "answer, s"),
    ("client_peak_mib", "client, MiB"),
)


def video_answers(
    minutes: Annotated[float, typer.Option(min=0.2, help="Length of the videos.")] = 60,
    events: Annotated[int, typer.Option(min=1, help="Number of events in a video.")] = 60,
    base_url: Annotated[
        str | None, typer.Option(help="Address of a server; by default one with nano is started.")
    ] = None,
    api_key: ApiKey = None,
    header: Header = None,
    policy: Annotated[
        Path | None, typer.Option(help="Checkpoint of the policy to start instead of nano.")
    ] = None,
    segment_seconds: Annotated[float, typer.Option(min=2, max=600, help="Length of a segment.")] = 45.0,
    as_json: JsonOption = False,
) -> None:
    """Ask which digits are shown in a video of drawn digits, its empty twin and one of a varying frame rate.

    An event counts as found if its digit is named and its start and end are right within 2 seconds. It is
    visible if a strategy has looked at one of its frames, so that a model could find it. The oracle is told
    where each event is. Chance has the findings of the segments at random times. The videos are made in
    runs/bench on first use.
    """
    step = segment_seconds - AskSettings(segment_seconds=segment_seconds).overlap
    folder = make_material(minutes, events, Console(stderr=True), edges_every=step)
    flags = ["--max-model-len", "32768", "--max-frames", "512", "--critic", "none"]
    flags += [] if policy is None else ["--policy", str(policy)]
    try:
        if base_url is not None:
            address = address_of(base_url, api_key, header)
            rows = asyncio.run(_all(folder, address, segment_seconds))
        else:
            with serving(flags, logs_folder("video-answers") / "server.log") as url:
                rows = asyncio.run(_all(folder, address_of(url, api_key, header), segment_seconds))
    except (ClientError, VideoError, CommandError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    console = Console()
    console.print(_table(rows))
    for row in rows:
        if row.get("problem"):
            console.print(f"{row['system']}, {row['case']}: {row['problem']}", markup=False, soft_wrap=True)
    if as_json:
        print(json.dumps({"bench": "video-answers", "minutes": minutes, "rows": rows, "machine": machine()}))


async def _all(folder: Path, address: Address, segment_seconds: float) -> list[dict[str, Any]]:
    rows = []
    for name in NAMES:
        rows += await measure(folder, name, address, FOLDER / "frames", segment_seconds)
    return rows


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="bench video-answers")
    for _, title in COLUMNS:
        table.add_column(title)
    for row in rows:
        values = (row.get(name) for name, _ in COLUMNS)
        table.add_row(
            *(
                "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
                for value in values
            )
        )
    return table
