"""The command `internvl3 ask`, which prints the answer to one question and how it was chosen."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from clients.sdk.client import Client
from clients.sdk.errors import InvalidRequest
from clients.sdk.files.progress_bar import progress_bar
from clients.sdk.files.stored_files import StoredFile
from clients.sdk.messages import is_url
from clients.sdk.questions import Frames
from clients.sdk.sending.connection import DEFAULT_URL

from .answer_printing import print_as_it_comes, record, show_boxes
from .boxes_picture import check_picture
from .candidates_table import candidates_view
from .exit_codes import exit_codes
from .printable import printable, printable_line
from .server_options import ApiKey, BaseUrl, Header, headers_of


def ask(
    text: Annotated[
        str, typer.Argument(metavar="QUESTION", help="The question, or `-` to read it from standard input.")
    ],
    image: Annotated[
        list[str] | None, typer.Option(help="Path or http(s) URL of an image; may be given several times.")
    ] = None,
    video: Annotated[
        list[str] | None, typer.Option(help="Path or http(s) URL of a video; may be given several times.")
    ] = None,
    file_id: Annotated[
        list[str] | None, typer.Option(help="Id of an uploaded image or video; may be given several times.")
    ] = None,
    upload: Annotated[
        bool,
        typer.Option(
            "--upload", help="Upload images and videos first, and print their ids for further questions."
        ),
    ] = False,
    num_frames: Annotated[
        int | None, typer.Option(help="Frames to take from each video; by default the server takes 32.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Frames to take from each second of a video.")] = None,
    start: Annotated[float | None, typer.Option(help="Second of the video at which frames begin.")] = None,
    end: Annotated[float | None, typer.Option(help="Second of the video at which frames end.")] = None,
    times: Annotated[
        str | None, typer.Option(help="The seconds of the frames themselves, as 1.5,3,20.")
    ] = None,
    timestamps: Annotated[bool, typer.Option(help="Tell the model when each frame is shown.")] = False,
    best_of: Annotated[
        int | None,
        typer.Option(help="Number of candidates to choose from; by default there is one plain answer."),
    ] = None,
    delta: Annotated[
        str | None,
        typer.Option(help="V2PE's position step of a visual token, above 0 and at most 1, or `auto`."),
    ] = None,
    max_tiles: Annotated[int | None, typer.Option(help="Most tiles that an image is cut into.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens in an answer.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Temperature of sampling; by default the server's.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of sampling; the same seed gives the same candidates.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Name of the model; by default the one that the server has.")
    ] = None,
    base_url: BaseUrl = DEFAULT_URL,
    api_key: ApiKey = None,
    header: Header = None,
    boxes: Annotated[
        Path | None,
        typer.Option(help="Draw the boxes of the answer on the image, and write the picture to this file."),
    ] = None,
    show_candidates: Annotated[
        bool, typer.Option(help="Show all candidates with the critic's scores of their steps.")
    ] = True,
    stream: Annotated[bool, typer.Option(help="Show the answer while it is written.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Ask a question and print the answer.

    With --best-of, all candidates are shown with the critic's scores of their steps:

        internvl3 ask "What is the sum of row 2?" --image sheet.png --best-of 8

    Exit codes: 0 there is an answer, 1 the server refused or failed, 2 the command is wrong, 130 interrupted.
    """
    out, err = Console(), Console(stderr=True)
    frames = Frames(
        num_frames=num_frames,
        fps=fps,
        start=start,
        end=end,
        times=seconds_in(times),
        timestamps=timestamps or None,
    )
    fields = without_none(
        mm_processor_kwargs=without_none(v2pe_delta=number_in(delta), max_dynamic_patch=max_tiles) or None,
        model=model,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
    )
    if best_of is not None and not show_candidates:
        fields["test_time_scaling"] = {"return_candidates": False}
    with (
        exit_codes(err),
        Client(base_url, api_key=api_key, headers=headers_of(header)) as client,
    ):
        if boxes:
            check_picture(image or (), boxes)
        text = from_standard_input() if text == "-" else text
        fields |= {
            "images": stored(client, image or (), err) if upload else image,
            "video": stored(client, video or (), err) if upload else video,
            "files": file_id or (),
            "best_of": best_of,
            "frames": frames,
        }
        out.print(printable(f"Question: {text}\n"), soft_wrap=True)
        if stream:
            answer = print_as_it_comes(client.stream_ask(text, **fields), out, err)
        else:
            answer = client.ask(text, **fields)
            out.print(printable(answer.text), soft_wrap=True)
        scaling = answer.completion.test_time_scaling
        if scaling and show_candidates:
            out.print()
            out.print(candidates_view(scaling))
        if boxes:
            show_boxes(answer, Path((image or [])[0]), boxes, out, err)
        if as_json:
            print(json.dumps(record(text, answer)))


def from_standard_input() -> str:
    """Return the text on standard input. Raises InvalidRequest if there is none, or it is no UTF-8."""
    try:
        text = sys.stdin.read().strip()
    except UnicodeDecodeError:
        raise InvalidRequest("the question on standard input is no UTF-8 text; convert it first") from None
    if not text:
        raise InvalidRequest("there is no question on standard input; write one, or give it as an argument")
    return text


def stored(client: Client, sources: Sequence[str], err: Console) -> list[str | StoredFile]:
    """Upload local files, and return each medium as it goes into a question."""
    found: list[str | StoredFile] = []
    for source in sources:
        if is_url(source):
            found.append(source)
            continue
        with progress_bar(Path(source).name) as show:
            file = client.files.upload(source, on_progress=show)
        err.print(printable_line(f"uploaded {source} as {file.id}"), soft_wrap=True)
        found.append(file)
    return found


def seconds_in(times: str | None) -> list[float] | None:
    """Return the numbers in a text such as 1.5,3,20. Raises typer.BadParameter."""
    try:
        return None if times is None else [float(time) for time in times.split(",")]
    except ValueError:
        raise typer.BadParameter("write the seconds as 1.5,3,20", param_hint="--times") from None


def number_in(delta: str | None) -> float | str | None:
    """Return a delta as a number if it is one. Other text stays, and the server accepts or refuses it."""
    try:
        return None if delta is None else float(delta)
    except ValueError:
        return delta


def without_none(**fields: Any) -> dict[str, Any]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}
