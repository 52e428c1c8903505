"""Rollouts on a real server: it continues answers and finds their beginnings in its cache."""

import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from tests.checkpoints import byte_tokenizer
from tests.server.media.test_loader import encoded
from tests.server.running import RunningServer
from tests.server.test_economy import BLOCK
from tests.server.test_usage import engine_counts
from ttscaling.asking.client import connected
from ttscaling.asking.user_message import user_message
from ttscaling.train.cli import app
from ttscaling.train.rollouts.server_sampler import ServerSampler

pytestmark = pytest.mark.engine
LETTERS = "abcdefgh"
# The random model would write bytes that are no text, so the bias limits it to these letters.
SPELLING = {
    "model": "nano",
    "max_tokens": 48,
    "logit_bias": {str(byte_tokenizer().convert_tokens_to_ids(letter)): 100 for letter in LETTERS},
}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    path.write_bytes(encoded("PNG", (300, 200)))
    return path


async def test_an_answer_goes_on_as_it_was_written(server: RunningServer, photo: Path) -> None:
    message = user_message("What is it?", [photo])
    async with connected(server.url) as http_client:
        sampler = ServerSampler(http_client, {**SPELLING, "temperature": 0})
        await sampler.check_continues()
        (answer,), _ = await sampler.answers(message, n=1, seed=0)
        assert set(answer.text) <= set(LETTERS)
        assert not answer.complete
        for cut in (1, 7, 33):
            (continuation,), _ = await sampler.answers(message, n=1, seed=0, begun=answer.text[:cut])
            assert continuation.text.startswith(answer.text[cut:])


async def test_a_prefix_is_computed_once_for_all_its_continuations(
    server: RunningServer, client: httpx.AsyncClient, photo: Path
) -> None:
    message = user_message("What is it? " + "Say why. " * 30, [photo])
    begun = "".join(LETTERS[index % 8] for index in range(100))
    async with connected(server.url) as http_client:
        sampler = ServerSampler(http_client, {**SPELLING, "max_tokens": 2})
        _, first = await sampler.answers(message, n=1, seed=0)
        for length in (40, 100):
            before = await engine_counts(client)
            answers, tokens = await sampler.answers(message, n=16, seed=0, begun=begun[:length])
            used = await engine_counts(client) - before
            assert len(answers) == 16
            assert tokens.prompt == first.prompt + length
            assert used["nano prompt_tokens"] == 16 * tokens.prompt
            computed = used["nano prompt_tokens"] - used["nano prompt_tokens_cached"]
            new = 40 if length == 40 else 60
            assert computed <= new + 16 * BLOCK, "the question and what came before are in the cache"


def test_data_from_the_answers_of_a_real_server(server: RunningServer, photo: Path) -> None:
    questions, out = photo.parent / "questions.jsonl", photo.parent / "out"
    row = {"image": photo.name, "question": "What is it?", "answer": "a"}
    questions.write_text(f"{json.dumps(row)}\n")
    fields = {key: value for key, value in SPELLING.items() if key != "max_tokens"}
    command = ["rollouts", "--questions", str(questions), "--output", str(out), "--base-url", server.url]
    command += ["--fields", json.dumps(fields), "--max-tokens", "8", "--solutions", "2", "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["records"]["judged"] > 0
    check_result = CliRunner().invoke(app, ["check", str(out / "critic.json"), "--format", "judged"])
    assert check_result.exit_code == 0, check_result.output
