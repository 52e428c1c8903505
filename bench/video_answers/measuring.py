"""Measure what each strategy finds in the videos of the bench."""

import json
import random
import resource
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import httpx

from clients.video_jobs.frames.cache import FrameCache
from clients.video_jobs.frames.take import Take
from clients.video_jobs.frames.video_frames import FrameSource, VideoFrames
from clients.video_jobs.planning.measuring import measured_facts
from clients.video_jobs.questions import VideoQuestion
from clients.video_jobs.requests.settings import AskSettings
from ttscaling.asking.address import Address

from .asking import QUESTION, SCHEMA, Findings, Posting, found_events
from .material import TRUTH
from .scoring import Span, score

SHUFFLES = 200
KIB_PER_MIB = 1024


@dataclass(frozen=True)
class Case:
    """A row of the table: a strategy, and how many frames its answer may look at."""

    name: str
    strategy: str
    num_frames: int


CASES = (
    Case("window 64", "window", 64),
    Case("window 512", "window", 512),
    Case("search 64", "search", 64),
    Case("segments", "segments", 64),
)


def truth_of(folder: Path) -> list[Span]:
    """Return the events that the videos of a folder show."""
    rows = json.loads((folder / TRUTH).read_text())
    return [Span(row["start"], row["end"], f"digit {row['digit']}") for row in rows]


async def measure(
    folder: Path,
    name: str,
    address: Address,
    cache: Path,
    segment_seconds: float,
    cases: Sequence[Case] = CASES,
) -> list[dict[str, Any]]:
    """Return a row for each case on one video, and for `events` also what chance and the oracle find.

    Raises ClientError if the server can't count tokens, and VideoError.
    """
    truth = [] if name == "empty" else truth_of(folder)
    rows = []
    async with httpx.AsyncClient(base_url=address.url, headers=address.headers, timeout=1200) as client:
        facts = await measured_facts(Posting(client).render, AskSettings())
        base = AskSettings(
            facts=facts,
            segment_seconds=segment_seconds,
            max_tokens=2048,
            fields={"temperature": 0},
        )
        for case in cases:
            question = VideoQuestion(folder / f"{name}.mp4", QUESTION, SCHEMA, strategy=case.strategy)
            async with _opened(question.video, cache, facts.side) as (frames, seconds):
                ask, began = Posting(client), time.monotonic()
                settings = replace(base, num_frames=case.num_frames)
                findings = await found_events(question, frames, ask, settings)
                rows.append(
                    _row(case.name, name, findings, truth, ask)
                    | {
                        "decode_passes": frames.decode_passes,
                        "decode_s": round(seconds, 1),
                        "answer_s": round(time.monotonic() - began, 1),
                        "client_peak_mib": round(
                            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB
                        ),
                    }
                )
                if case.strategy == "segments" and truth:
                    rows.append(
                        {
                            "system": "chance",
                            "case": name,
                            "recall": chance(findings.events, truth, frames.duration),
                        }
                    )
        if truth:
            async with _opened(folder / f"{name}.mp4", cache, facts.side) as (frames, _):
                rows.append(await _oracle(name, frames, folder, Posting(client), base, truth))
    return rows


def chance(findings: Sequence[Span], truth: Sequence[Span], duration: float) -> float:
    """Return the recall of the findings at times that say nothing: each is moved to a random place."""
    rng = random.Random(0)
    recalls = []
    for _ in range(SHUFFLES):
        starts = [rng.uniform(0, duration) for _ in findings]
        moved = [
            Span(start, start + one.end - one.start, one.text)
            for start, one in zip(starts, findings, strict=True)
        ]
        recalls.append(score(moved, truth).recall)
    return mean(recalls)


async def _oracle(
    name: str, frames: VideoFrames, folder: Path, ask: Posting, settings: AskSettings, truth: Sequence[Span]
) -> dict[str, Any]:
    """Return the row of the oracle, which is told where each event is and looks at its frames only."""
    events: list[Span] = []
    for event in truth:
        question = VideoQuestion(
            folder / f"{name}.mp4", QUESTION, SCHEMA, start=event.start, end=event.end, strategy="segments"
        )
        events += (await found_events(question, frames, ask, settings)).events
    return _row("oracle", name, Findings(tuple(events), frames.times), truth, ask)


def _row(system: str, case: str, findings: Findings, truth: Sequence[Span], ask: Posting) -> dict[str, Any]:
    result = score(findings.events, truth)
    return {
        "system": system,
        "case": case,
        "visible": findings.visible(truth),
        "recall": result.recall,
        "precision": result.precision,
        "duplicates": result.duplicates,
        "invented": result.invented,
        "median_error_s": result.median_error,
        "requests": ask.requests,
        "prompt_tokens": ask.prompt_tokens,
        "problem": findings.problem,
    }


@asynccontextmanager
async def _opened(video: Path, cache: Path, side: int) -> AsyncIterator[tuple[VideoFrames, float]]:
    """Yield a video's frames, and the seconds that it took to open them."""
    began = time.monotonic()
    async with FrameSource(FrameCache(cache), Take(side=side)).open(video) as frames:
        yield frames, time.monotonic() - began
