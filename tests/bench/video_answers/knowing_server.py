"""A chat server on a real socket that knows a video's events, and sees those in a request's frames."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from bench.video_answers.scoring import Span
from clients.video_jobs.requests.time_tags import time_tag

FRAME_TOKENS, IMAGE = 9, 7


def prompt_of(body: Mapping[str, Any]) -> list[int]:
    """The token ids of a body: a token for a character, and FRAME_TOKENS for a frame."""
    ids = [1, *map(ord, body["messages"][0]["content"][-1]["text"])]
    for time in times_of(body):
        ids += [*map(ord, f"({time_tag(time)})"), *[IMAGE] * FRAME_TOKENS]
    return ids


def times_of(body: Mapping[str, Any]) -> list[float]:
    """When a body's frames are shown, in seconds."""
    video = body.get("media_io_kwargs", {}).get("video")
    return [index / video["fps"] for index in video["frames_indices"]] if video else []


def answer_to(body: Mapping[str, Any], events: Sequence[Span]) -> dict[str, Any]:
    """The reply: a yes for one token if an event is seen, or else the list of all events that are seen."""
    times = times_of(body)
    rows = []
    for event in events:
        seen = [time for time in times if event.start <= time < event.end]
        if seen:
            rows.append({"start": time_tag(seen[0]), "end": time_tag(seen[-1]), "text": event.text})
    yes = -0.1 if rows or not times else -3.0
    tokens = [{"token": "yes", "logprob": yes}, {"token": "no", "logprob": -1.5}]
    return {
        "choices": [
            {
                "message": {"role": "assistant", "content": json.dumps({"events": rows})},
                "logprobs": {"content": [{"top_logprobs": tokens}]},
            }
        ],
        "usage": {"prompt_tokens": len(prompt_of(body))},
    }


@contextmanager
def knowing_server(events: Sequence[Span]) -> Iterator[str]:
    """Yield the address of the server while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            ids = prompt_of(body)
            rendered = {"prompt_token_ids": ids, "prompt_tokens": len(ids), "window": 8192}
            content = json.dumps(
                rendered if self.path.endswith("/render") else answer_to(body, events)
            ).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Print no line for a request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
