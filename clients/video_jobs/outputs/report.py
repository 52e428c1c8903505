"""Write report.html: one file that shows a job in a browser, and loads nothing from anywhere."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from clients.video_jobs.ledger.identity import read_manifest, write_texts

from .html import as_text, element
from .reading import VideoResult, read_lines, video_results
from .results import FILE_NAME as RESULTS
from .thumbnails import thumbnails_of

FILE_NAME = "report.html"
MOST_PICTURES = 24  # of an item
# The browser itself refuses everything that isn't in the file.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }
body { color: #1b1f24; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.05rem; margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
td, th { padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
section { border-top: 1px solid #d5d9de; padding: 1rem 0; }
.question { color: #57606a; margin: .1rem 0; } .answer { white-space: pre-wrap; margin: .3rem 0 .6rem; }
.line { position: relative; height: 1.4rem; background: #eef1f4; border-radius: 3px; overflow: hidden; }
.event { position: absolute; top: 0; bottom: 0; background: #2f6fdb; opacity: .65; min-width: 2px; }
.frame { position: absolute; bottom: 0; height: 30%; width: 1px; background: #1b1f24; opacity: .35; }
.ends { display: flex; justify-content: space-between; color: #57606a; font-size: .8rem; }
.events { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .8rem; }
.events { list-style: none; padding: 0; margin: .6rem 0; }
.events img { width: 100%; display: block; border-radius: 3px; } time { color: #57606a; font-size: .85rem; }
.facts { color: #57606a; font-size: .85rem; } .failed h2 { color: #b3261e; }
"""


def write_report(folder: Path) -> Path:
    """Write the report of a job or a shard from its results, errors and thumbnails, and return its path.

    Raises OtherJob if the folder holds no job, and OSError if the report can't be written.
    """
    path = folder / FILE_NAME
    write_texts(path, _pieces(folder))
    return path


def _pieces(folder: Path) -> Iterator[str]:
    manifest = read_manifest(folder)
    errors = list(read_lines(folder / "errors.jsonl"))
    tokens: Counter[str] = Counter()
    count = 0
    for result in video_results(folder / RESULTS):
        count += 1
        tokens.update({name: value for name, value in result.tokens.items() if isinstance(value, int)})
    head = [
        element("meta", charset="utf-8"),
        element("meta", **{"http-equiv": "Content-Security-Policy", "content": POLICY}),
        element("meta", name="viewport", content="width=device-width"),
        element("title", "Answers about videos"),
        element("style", STYLE),
    ]
    yield '<!DOCTYPE html>\n<html lang="en"><head>'
    yield "".join(map(as_text, head))
    yield "</head><body>\n"
    yield as_text(element("h1", f"{count} answers about videos, {len(errors)} failures"))
    yield as_text(_summary(manifest, tokens))
    if errors:
        yield as_text(_errors_by_class(errors))
    for result in video_results(folder / RESULTS):
        yield "\n" + as_text(_result(result, thumbnails_of(folder, result.item)))
    for error in errors:
        yield "\n" + as_text(_error(error))
    yield "\n</body></html>\n"


def _summary(manifest: Mapping[str, Any], tokens: Mapping[str, int]) -> Element:
    identity = manifest["identity"]
    server = identity.get("server") or {}
    progress = manifest.get("progress") or {}
    rows = [
        ("model", str(server.get("model") or "unknown")),
        *((name.replace("_", " "), f"{value:,}") for name, value in sorted(tokens.items())),
        *((f"questions {name}", str(value)) for name, value in progress.items() if name != "items"),
    ]
    return _table(rows)


def _errors_by_class(errors: Sequence[Mapping[str, Any]]) -> Element:
    counts = Counter((str(error.get("stage")), str(error.get("class"))) for error in errors)
    return element(
        "div",
        element("h2", "Failures by class"),
        _table([(f"{stage}: {kind}", str(number)) for (stage, kind), number in counts.most_common()]),
    )


def _table(rows: Iterable[tuple[str, str]]) -> Element:
    return element(
        "table",
        [element("tr", element("th", name), element("td", value, class_="number")) for name, value in rows],
    )


def _result(result: VideoResult, pictures: Mapping[float, str]) -> Element:
    delta = "" if result.delta is None else f", delta {result.delta:g}"
    tokens = result.tokens.get("prompt_tokens")
    facts = (
        f"{result.strategy}: {result.reason}; {len(result.frames)} frames{delta}"
        f"{'' if tokens is None else f', {tokens:,} prompt tokens'}, attempt {result.attempts}"
    )
    shown = result.events[:MOST_PICTURES]
    more = len(result.events) - len(shown)
    return element(
        "section",
        element("h2", result.item),
        element("p", result.question, class_="question"),
        element("p", result.answer, class_="answer"),
        _time_line(result),
        element("ul", [_event(event, pictures) for event in shown], class_="events"),
        [element("p", f"and {more} more events", class_="facts")] if more else [],
        element("p", facts, class_="facts"),
    )


def _time_line(result: VideoResult) -> Element:
    length = result.length
    frames = [
        element("span", class_="frame", style=f"left:{100 * time / length:.3f}%") for time in result.frames
    ]
    events = [
        element(
            "span",
            class_="event",
            style=f"left:{100 * start / length:.3f}%;width:{100 * max(0.0, end - start) / length:.3f}%",
            title=f"{clock(start)} to {clock(end)}: {text}",
        )
        for start, end, text in result.events
    ]
    ends = element("div", element("span", clock(0)), element("span", clock(length)), class_="ends")
    return element("div", element("div", events, frames, class_="line"), ends)


def _event(event: tuple[float, float, str], pictures: Mapping[float, str]) -> Element:
    start, end, text = event
    inside = [seconds for seconds in pictures if start <= seconds <= end]
    image = [
        element("img", src=f"data:image/jpeg;base64,{pictures[seconds]}", alt=f"at {clock(seconds)}")
        for seconds in sorted(inside)[:1]
    ]
    return element("li", image, element("time", f"{clock(start)} to {clock(end)} "), text)


def _error(error: Mapping[str, Any]) -> Element:
    status = "" if error.get("status") is None else f", HTTP {error['status']}"
    request = "" if error.get("request_id") is None else f", request {error['request_id']}"
    facts = f"{error.get('stage')}: {error.get('class')}{status}{request}, attempts {error.get('attempts')}"
    return element(
        "section",
        element("h2", str(error.get("custom_id"))),
        element("p", str(error.get("message")), class_="answer"),
        element("p", facts, class_="facts"),
        class_="failed",
    )


def clock(seconds: float) -> str:
    """Return a time as 1:02:03, or 02:03 within the first hour."""
    whole = int(seconds)
    hours = f"{whole // 3600}:" if whole >= 3600 else ""
    return f"{hours}{whole // 60 % 60:02}:{whole % 60:02}"
