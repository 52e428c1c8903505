"""The command `internvl3 ask`, which prints the answer to one question and how it was chosen."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text

from clients.sdk.client import Client
from clients.sdk.completions import Completion
from clients.sdk.errors import ClientError
from clients.sdk.event_stream import Chunk, Comment
from clients.sdk.messages import user_message
from clients.sdk.sending.connection import DEFAULT_URL
from clients.sdk.streamed_completion import StreamedCompletion

from .candidates_table import candidates_view, printable


def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    image: Annotated[
        list[str] | None, typer.Option(help="Path or http(s) URL of an image; may be given several times.")
    ] = None,
    video: Annotated[
        list[str] | None, typer.Option(help="Path or http(s) URL of a video; may be given several times.")
    ] = None,
    num_frames: Annotated[
        int | None, typer.Option(help="Frames to take from each video; by default the server takes 32.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Frames to take from each second of a video.")] = None,
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
    base_url: Annotated[str, typer.Option(help="Address of the server.")] = DEFAULT_URL,
    stream: Annotated[bool, typer.Option(help="Show the answer while it is written.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Ask a question and print the answer.

    With --best-of, all candidates are shown with the critic's scores of their steps:

        internvl3 ask "What is the sum of row 2?" --image sheet.png --best-of 8
    """
    out, err = Console(), Console(stderr=True)
    frames = without_none(num_frames=num_frames, fps=fps, timestamps=timestamps or None)
    fields = request_fields(best_of=best_of, delta=delta, max_tiles=max_tiles, frames=frames) | without_none(
        model=model, max_tokens=max_tokens, temperature=temperature, seed=seed
    )
    try:
        message = user_message(question, image or (), video or ())
        out.print(Text(f"Question: {question}\n"), soft_wrap=True)
        with Client(base_url) as client:
            if stream:
                completion = _print_as_it_comes(client.stream_chat([message], **fields), out, err)
            else:
                completion = client.chat([message], **fields)
                out.print(printable(completion.text), soft_wrap=True)
    except OSError as error:
        err.print(Text(f"error: can't read {error.filename}: {error.strerror}"), soft_wrap=True)
        raise typer.Exit(1) from None
    except ClientError as error:
        err.print(Text(f"error: {error}"), soft_wrap=True)
        raise typer.Exit(1) from None
    if completion.test_time_scaling:
        out.print()
        out.print(candidates_view(completion.test_time_scaling))
    if as_json:
        print(json.dumps(record(question, completion)))


def request_fields(
    *, best_of: int | None, delta: str | None, max_tiles: int | None, frames: Mapping[str, Any]
) -> dict[str, Any]:
    """Return those of this server's own fields that options ask for. The server checks their limits."""
    fields: dict[str, Any] = {}
    if best_of is not None:
        fields["test_time_scaling"] = {"n": best_of, "return_candidates": True}
    vision = without_none(v2pe_delta=_number(delta), max_dynamic_patch=max_tiles)
    media = {"video": frames} if frames else None
    return fields | without_none(mm_processor_kwargs=vision or None, media_io_kwargs=media)


def without_none(**fields: Any) -> dict[str, Any]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def _number(delta: str | None) -> float | str | None:
    """Return a delta as a number if it is one. Other text stays, and the server accepts or refuses it."""
    try:
        return None if delta is None else float(delta)
    except ValueError:
        return delta


def record(question: str, completion: Completion) -> dict[str, Any]:
    """Return the object that --json prints: question, answer, and the reply under the server's names."""
    reply = completion.model_dump(mode="json", exclude={"choices"})
    finish_reason = completion.choices[0].finish_reason
    return {"question": question, "answer": completion.text, "finish_reason": finish_reason, **reply}


def _print_as_it_comes(stream: Iterator[Comment | Chunk], out: Console, err: Console) -> Completion:
    """Print the answer while it is written, and return the completion.

    Before the answer comes, the progress of its candidates is shown on standard error.
    """
    answer = StreamedCompletion()
    with Status("waiting for the server", console=err) as status:
        for event in stream:
            if isinstance(event, Comment):
                status.update(printable(event.text))
                continue
            text = answer.add(event)
            if text:
                status.stop()
                out.print(printable(text), end="", soft_wrap=True)
    out.print()
    return answer.completion()
