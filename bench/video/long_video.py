"""Ask a real server about a video with more tokens than the window (`internvl3 bench long-video`).

Nothing is compared with other systems. The result shows the positions that V2PE gives such a prompt, and the
memory that the server takes for it.
"""

import base64
import json
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from bench.harness.logs import logs_folder
from bench.harness.output import JsonOption
from bench.harness.processes import PROC, family
from bench.harness.report import machine
from ttscaling.asking.local_server import serving_process

from .clip import make_clip

KIB_PER_MIB = 1024


def long_video(
    frames: Annotated[int, typer.Option(min=1, help="Frames to take from the video.")] = 512,
    max_model_len: Annotated[
        int, typer.Option(min=64, help="The most tokens that the engines take.")
    ] = 131_072,
    as_json: JsonOption = False,
) -> None:
    """Serve nano and ask about one long clip with delta auto, and with delta 1, which is refused.

    The output has the prompt's tokens, its highest position, the delta that auto chose, the refusal at
    delta 1, and the peak memory of the server with all its processes. The clip is made in runs/bench on first
    use.
    """
    clip = make_clip(max(0.05, frames / 30 / 60), Console(stderr=True))
    flags = ["--max-model-len", str(max_model_len), "--max-frames", str(frames)]
    with (
        serving_process(flags, logs_folder("video") / "server.log") as (url, pid),
        httpx.Client(base_url=url, timeout=600) as client,
    ):
        idle = peak_mib(pid)
        auto = _ask(client, clip, frames, "auto")
        refused = _ask(client, clip, frames, 1)
        facts = {
            "frames": auto["vision"]["frames"],
            "prompt_tokens": auto["usage"]["prompt_tokens"],
            "v2pe_delta": auto["vision"]["v2pe_delta"],
            "highest_position": auto["vision"]["highest_position"],
            "refusal_at_delta_1": refused["error"]["message"],
            "server_peak_mib": round(peak_mib(pid)),
            "server_peak_mib_before": round(idle),
        }
    out = Console()
    for name, value in facts.items():
        out.print(f"{name.replace('_', ' ')}: {value}", markup=False, soft_wrap=True)
    if as_json:
        print(json.dumps({"bench": "long-video", **facts, "machine": machine()}))


def peak_mib(root: int, proc: Path = PROC) -> float:
    """Return the sum of the peak resident memory, in MiB, of a process and of its living descendants.

    Each process has its peak at another time. Children that have ended, such as decoders, don't count.
    """
    peaks = (fields.get("VmHWM", "0").split()[0] for fields in family(root, proc).values())
    return sum(int(kib) for kib in peaks) / KIB_PER_MIB


def _ask(client: httpx.Client, clip: Path, frames: int, delta: float | str) -> dict[str, Any]:
    url = "data:video/mp4;base64," + base64.b64encode(clip.read_bytes()).decode()
    content = [
        {"type": "video_url", "video_url": {"url": url}},
        {"type": "text", "text": "What is the sum of row 1?"},
    ]
    body = {
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 16,
        "v2pe_delta": delta,
        "media_io_kwargs": {"video": {"num_frames": frames}},
    }
    reply: dict[str, Any] = client.post("/v1/chat/completions", json=body).json()
    return reply
