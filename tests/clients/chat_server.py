"""A chat server on a real socket whose replies a test gives."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Reply:
    """A reply of the server. Its body is a JSON object, or text such as an event stream."""

    body: Mapping[str, Any] | str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for the replies under way

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print every error but that of a client that left before its reply."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


SETUP: Mapping[str, Any] = MappingProxyType(
    {
        "version": "0.1.0",
        "policy": {
            "name": "nano",
            "checkpoint": "3f0c",
            "dtype": "float32",
            "sampling": {"temperature": 1.3},
        },
        "critic": {"name": "nano-critic", "checkpoint": "91ab", "dtype": "float32", "sampling": {}},
    }
)


@contextmanager
def chat_server(
    reply: Callable[[dict[str, Any]], Reply],
    path: str = "/v1/chat/completions",
    setup: Mapping[str, Any] | None = SETUP,
    *,
    lists_models: bool = True,
) -> Iterator[str]:
    """Yield the address of a server that answers POST requests to a path while the block runs.

    Its model nano has this setup, or none as the models of other servers. A server that doesn't list its
    models answers 404 instead.
    """
    card = {"id": "nano", "object": "model"} | ({} if setup is None else {"setup": dict(setup)})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/v1/models"
            listed = Reply({"object": "list", "data": [card]})
            self._send(listed if lists_models else Reply({"error": {"message": "Not Found"}}, 404))

        def do_POST(self) -> None:
            assert self.path == path
            self._send(reply(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

        def _send(self, answer: Reply) -> None:
            content = (answer.body if isinstance(answer.body, str) else json.dumps(answer.body)).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(content)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Print no line for a request."""

    server = _Server(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def completion(text: str, **fields: Any) -> dict[str, Any]:
    """Return OpenAI's chat completion with this answer."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "nano",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 6, "total_tokens": 26},
        **fields,
    }


def scaling(*answers: tuple[str, float | None], selected: int) -> dict[str, Any]:
    """Return the `test_time_scaling` of candidates, each a text and the score of all its steps."""
    candidates = [
        {
            "index": index,
            "answer": None,
            "score": score,
            "step_scores": None if score is None else [score] * len(text.split("\n\n")),
            "finish_reason": "stop",
            "completion_tokens": len(text),
            "text": text,
            "steps": text.split("\n\n"),
        }
        for index, (text, score) in enumerate(answers)
    ]
    return {
        "method": "best_of_n",
        "selected": selected,
        "critic": "nano-critic",
        "aggregation": "mean",
        "seed": 1,
        "stopped": None,
        "degraded": None,
        "candidates": candidates,
        "votes": [],
    }


def event_stream(reply: Mapping[str, Any], *, comments: tuple[str, ...] = ()) -> Reply:
    """Return a reply as server-sent events: one chunk for each word, and our fields in the last chunk."""
    common = {"id": reply["id"], "object": "chat.completion.chunk", "model": reply["model"]}
    words = reply["choices"][0]["message"]["content"].split(" ")
    pieces = [word if number == 0 else f" {word}" for number, word in enumerate(words)]
    bodies: list[dict[str, Any]] = [
        {**common, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
        for piece in pieces
    ]
    bodies.append({**common, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    ours = {key: reply[key] for key in ("usage", "test_time_scaling") if key in reply}
    bodies.append({**common, "choices": [], **ours})
    lines = [f": {comment}" for comment in comments]
    lines += [f"data: {json.dumps(body)}" for body in bodies] + ["data: [DONE]"]
    return Reply("".join(f"{line}\n\n" for line in lines), headers={"Content-Type": "text/event-stream"})
