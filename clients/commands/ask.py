"""`internvl3 ask`: one question, about images and videos if there are any, and how its answer was chosen."""

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
from clients.sdk.event_stream import Chunk, Comment, StreamedCompletion
from clients.sdk.exchange import DEFAULT_URL
from clients.sdk.messages import user_message

from .candidates_table import candidates_view, printable


def ask(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    image: Annotated[
        list[str] | None, typer.Option(help="An image's path or http(s) URL; may be given several times.")
    ] = None,
    video: Annotated[
        list[str] | None, typer.Option(help="A video's path or http(s) URL; may be given several times.")
    ] = None,
    num_frames: Annotated[
        int | None, typer.Option(help="Frames taken of each video; else the server's 32.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Frames taken of each second of a video.")] = None,
    timestamps: Annotated[bool, typer.Option(help="Tell the model when each frame is shown.")] = False,
    best_of: Annotated[
        int | None, typer.Option(help="Candidates to choose from; without it, one plain answer.")
    ] = None,
    delta: Annotated[
        str | None,
        typer.Option(help="V2PE: position step of a visual token, above 0 and at most 1, or `auto`."),
    ] = None,
    max_tiles: Annotated[int | None, typer.Option(help="Most tiles an image is cut into.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of an answer.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of sampling; else the server's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Repeats the same candidates.")] = None,
    model: Annotated[str | None, typer.Option(help="Model name; else the server's own.")] = None,
    base_url: Annotated[str, typer.Option(help="The server's address.")] = DEFAULT_URL,
    stream: Annotated[bool, typer.Option(help="Show the answer while it is written.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Ask a question and print the answer.

    With --best-of every candidate is shown with the critic's score of each of its steps:

        internvl3 ask "What is the sum of row 2?" --image sheet.png --best-of 8
    """
    out, err = Console(), Console(stderr=True)
    frames = given(num_frames=num_frames, fps=fps, timestamps=timestamps or None)
    fields = request_fields(best_of=best_of, delta=delta, max_tiles=max_tiles, frames=frames) | given(
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
    """The fields that this server adds to OpenAI's, where asked for; it checks their limits."""
    fields: dict[str, Any] = {}
    if best_of is not None:
        fields["test_time_scaling"] = {"n": best_of, "return_candidates": True}
    vision = given(v2pe_delta=_number(delta), max_dynamic_patch=max_tiles)
    media = {"video": frames} if frames else None
    return fields | given(mm_processor_kwargs=vision or None, media_io_kwargs=media)


def given(**fields: Any) -> dict[str, Any]:
    """The fields that were set."""
    return {name: value for name, value in fields.items() if value is not None}


def _number(delta: str | None) -> float | str | None:
    """A number where it is one; the rest ("auto", or a slip) as it is, for the server to judge."""
    try:
        return None if delta is None else float(delta)
    except ValueError:
        return delta


def record(question: str, completion: Completion) -> dict[str, Any]:
    """What --json prints: the reply in the server's own names, with question and answer on top."""
    reply = completion.model_dump(mode="json", exclude={"choices"})
    finish_reason = completion.choices[0].finish_reason
    return {"question": question, "answer": completion.text, "finish_reason": finish_reason, **reply}


def _print_as_it_comes(stream: Iterator[Comment | Chunk], out: Console, err: Console) -> Completion:
    """The answer while it is written; before that, news of its candidates on standard error."""
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
