"""The command `internvl3 batch`, which asks questions about many videos, and pays for nothing twice."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from clients.sdk.errors import InvalidRequest
from clients.sdk.sending.connection import request_headers
from clients.video_jobs.frames.cache import GIB, FrameCache
from clients.video_jobs.items.source import SourceError, read_source
from clients.video_jobs.ledger.identity import OtherJob
from clients.video_jobs.outputs.exports import ExportError
from clients.video_jobs.requests.settings import AskSettings, Delta
from clients.video_jobs.run.dry_run import collect, show_costs, totals
from clients.video_jobs.run.options import Ending, Exit, JobOptions
from clients.video_jobs.run.session import run_job
from clients.video_jobs.run.video_answerer import AskOptions, VideoAnswererOf, check_take
from clients.video_jobs.run.video_group import shard_of
from clients.video_jobs.runners.ray import RayError, run_on_ray
from clients.video_jobs.strategies.answering import check_strategy

from .batch_outputs import Export, Report, check_exports, end, merge, say, write_outputs
from .server_options import ApiKey, Header, headers_of

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_CACHE = Path.home() / ".cache" / "internvl3" / "frames"


class DefaultToRun(TyperGroup):
    """A group whose command `run` is meant if the first word is no command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    add_completion=False,
    cls=DefaultToRun,
    no_args_is_help=True,
    help="Ask questions about many videos: internvl3 batch FOLDER --question TEXT --out FOLDER.",
)
app.command("merge")(merge)


@app.command("run")
def run(
    source: Annotated[
        str, typer.Argument(help="A folder, a pattern, a manifest (.jsonl, .csv) or one video.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder of the results; the same command goes on with what is there.")
    ],
    question: Annotated[
        list[str] | None, typer.Option(help="Question about each video; may be given several times.")
    ] = None,
    schema: Annotated[Path | None, typer.Option(help="File with the JSON schema of all answers.")] = None,
    base_url: Annotated[
        str, typer.Option(help="Address of the server; several with commas, which share the videos.")
    ] = DEFAULT_URL,
    model: Annotated[str | None, typer.Option(help="Name of the model; by default the server's.")] = None,
    api_key: ApiKey = None,
    header: Header = None,
    strategy: Annotated[str, typer.Option(help="How questions are answered.")] = "window",
    num_frames: Annotated[int, typer.Option(help="Frames in the request that gives the answer.")] = 64,
    fps: Annotated[float, typer.Option(help="Frames to take from each second of a video.")] = 1.0,
    delta: Annotated[str, typer.Option(help="V2PE's step: a number, `auto`, or `none` for others.")] = "auto",
    segment_seconds: Annotated[float, typer.Option(help="Length of a segment.")] = 45.0,
    overlap_seconds: Annotated[float, typer.Option(help="By how much segments overlap.")] = 6.0,
    scenes: Annotated[bool, typer.Option(help="Cut segments where shots change.")] = False,
    focus: Annotated[str | None, typer.Option(help="What the notes on segments are to be about.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Most tokens in an answer.")] = 1024,
    temperature: Annotated[float | None, typer.Option(help="Temperature of sampling.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of sampling.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at the servers at a time.")] = 4,
    decodes: Annotated[int, typer.Option(min=1, help="Videos that are decoded at a time.")] = 2,
    cache: Annotated[Path, typer.Option(help="Folder in which frames are kept.")] = DEFAULT_CACHE,
    cache_gib: Annotated[float, typer.Option(help="Most GiB of frames that are kept.")] = 20.0,
    patience: Annotated[float, typer.Option(help="Seconds to wait for servers that are away.")] = 1800.0,
    shard: Annotated[str | None, typer.Option(help="Do one part of the videos only: I/N, I from 0.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for new files in the folder.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed items again.")] = False,
    ray: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster that does the work, or `local`.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it will cost, and stop.")] = False,
    export: Export = None,
    report: Report = False,
) -> None:
    """Ask questions about many videos.

    The last line on standard output is a JSON object. Exit codes: 0 if all items have answers, 1 if some
    failed, 2 for wrong options or another model, 3 if the server is gone or the disk full, 130 after Ctrl-C.
    """
    console = Console(stderr=True)
    try:
        check_exports(export or ())
        check_strategy(strategy)
        how = AskOptions(
            AskSettings(
                model=model,
                fields={
                    name: value
                    for name, value in (("temperature", temperature), ("seed", seed))
                    if value is not None
                },
                delta=_delta(delta),
                num_frames=num_frames,
                anchors=min(AskSettings.anchors, num_frames),
                max_tokens=max_tokens,
                segment_seconds=segment_seconds,
                overlap_seconds=overlap_seconds,
                scenes=scenes,
                focus=focus,
                parallel=concurrency,
            ),
            strategy=strategy,
            fps=fps,
            schema=None if schema is None else _schema(schema),
        )
        options = JobOptions(
            source=source,
            questions=tuple(question or ()),
            out=out,
            base_urls=tuple(url.strip() for url in base_url.split(",")),
            model=model,
            headers=request_headers(api_key, headers_of(header)),
            settings=how.as_json(),
            concurrency=concurrency,
            patience=patience,
            shard=None if shard is None else shard_of(shard),
            follow=follow,
            retry_failed=retry_failed,
        )
        check_take(fps)
        frames = FrameCache(cache, int(cache_gib * GIB))
        if dry_run:
            _show_plan(options, how)
            return
    except (ValueError, SourceError, ExportError, InvalidRequest) as error:
        end(console, Ending(Exit.USAGE, str(error)))

    answerer_of = VideoAnswererOf(how, frames, decodes)
    if ray is None:
        ending = run_job(options, answerer_of, console)
    else:
        ending = _run_on_ray(options, answerer_of, ray, console)
    if ending.code in (Exit.ALL_GOOD, Exit.SOME_FAILED, Exit.INTERRUPTED):
        write_outputs(console, options.folder, export or (), report)
    end(console, ending, options.folder)


def _run_on_ray(options: JobOptions, answerer_of: VideoAnswererOf, address: str, console: Console) -> Ending:
    """Run a job on a Ray cluster, and return how it ended."""
    if options.follow or options.retry_failed:
        return Ending(Exit.USAGE, "--ray goes with neither --follow nor --retry-failed")
    try:
        return run_on_ray(options, answerer_of, address, lambda line: say(console, line))
    except (RayError, SourceError, OtherJob) as error:
        return Ending(Exit.USAGE, str(error))
    except OSError as error:
        return Ending(Exit.STOPPED_EARLY, str(error))


def _show_plan(options: JobOptions, how: AskOptions) -> None:
    """Print what the job will cost, and as the last line the sums as JSON."""
    items = read_source(options.source, options.questions).items
    ours = [item for item in items if options.shard is None or options.shard.holds(item)]
    costs, is_counted = collect(ours, how, options.base_urls, options.headers)
    show_costs(costs, Console(), is_counted=is_counted)
    print(json.dumps(totals(costs)))


def _delta(text: str) -> Delta:
    """Return a delta as the server takes it. Raises ValueError for other texts."""
    if text == "auto":
        return "auto"
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--delta is {text}: take a number above 0 and at most 1, auto or none") from None


def _schema(path: Path) -> Mapping[str, Any]:
    """Return the JSON schema in a file. Raises ValueError if there is none."""
    try:
        schema = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"--schema {path} can't be read as JSON: {error}") from None
    if not isinstance(schema, dict):
        raise ValueError(f"--schema {path} holds no JSON object")
    return schema
