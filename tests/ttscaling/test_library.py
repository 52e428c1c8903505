"""The README's example of ttscaling as a library runs unchanged against a real socket."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.clients.chat_server import Reply, chat_server, completion

ROOT = Path(__file__).parent.parent.parent
SERVER = "http://127.0.0.1:8000"
# An entry of None makes the import fail, as if the package weren't installed.
WITHOUT_ENGINE = "import sys\nsys.modules.update(vllm=None, torch=None, transformers=None)\n"


def example() -> str:
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if "from ttscaling" in block]
    return block


def test_the_readmes_example_runs_without_an_engine() -> None:
    bodies: list[dict[str, Any]] = []

    def reply(body: dict[str, Any]) -> Reply:
        bodies.append(body)
        if body["model"] == "InternVL3-8B":
            greedy = body["temperature"] == 0
            return Reply(
                completion("3 + 4 = 8.\n\nFinal answer: 8" if greedy else "3 + 4 = 7.\n\nFinal answer: 7")
            )
        plus, minus = (-0.1, -2.3) if "7" in str(body["messages"]) else (-2.3, -0.1)
        top = [{"token": "+", "logprob": plus}, {"token": "-", "logprob": minus}]
        labelled = completion("+")
        labelled["choices"][0]["logprobs"] = {"content": [{"token": "+", "top_logprobs": top}]}
        return Reply(labelled)

    with chat_server(reply) as url:
        program = WITHOUT_ENGINE + example().replace(SERVER, url)
        finished = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == "3 + 4 = 7.\n\nFinal answer: 7\n\nscore 0.900\n"
    assert [body["model"] for body in bodies].count("InternVL3-8B") == 8
    assert [body["model"] for body in bodies].count("VisualPRM-8B") == 4  # two different answers of two steps
