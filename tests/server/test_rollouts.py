"""Rollouts through the real server: it goes on with answers, and finds what they begin with in its cache."""

import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from tests.checkpoints import byte_tokenizer
from tests.server.media.test_loader import encoded
from tests.server.running import RunningServer
from tests.server.test_economy import BLOCK
from tests.server.test_usage import counted
from ttscaling.asking.client import connected
from ttscaling.asking.user_message import user_message
from ttscaling.train.cli import app
from ttscaling.train.rollouts.server_sampler import ServerSampler

pytestmark = pytest.mark.engine
LETTERS = "abcdefgh"
# The random model would write bytes that are no text; so it chooses among these letters.
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
    async with connected(server.url) as asked:
        sampler = ServerSampler(asked, {**SPELLING, "temperature": 0})
        await sampler.check_continues()
        (whole,), _ = await sampler.answers(message, n=1, seed=0)
        assert set(whole.text) <= set(LETTERS)
        assert not whole.complete
        for cut in (1, 7, 33):
            (rest,), _ = await sampler.answers(message, n=1, seed=0, begun=whole.text[:cut])
            assert rest.text.startswith(whole.text[cut:])


async def test_a_prefix_is_computed_once_for_all_its_continuations(
    server: RunningServer, client: httpx.AsyncClient, photo: Path
) -> None:
    message = user_message("What is it? " + "Say why. " * 30, [photo])
    begun = "".join(LETTERS[at % 8] for at in range(100))
    async with connected(server.url) as asked:
        sampler = ServerSampler(asked, {**SPELLING, "max_tokens": 2})
        _, first = await sampler.answers(message, n=1, seed=0)
        for length in (40, 100):
            before = await counted(client)
            answers, tokens = await sampler.answers(message, n=16, seed=0, begun=begun[:length])
            spent = await counted(client) - before
            assert len(answers) == 16
            assert tokens.prompt == first.prompt + length
            assert spent["nano prompt_tokens"] == 16 * tokens.prompt
            computed = spent["nano prompt_tokens"] - spent["nano prompt_tokens_cached"]
            new = 40 if length == 40 else 60
            assert computed <= new + 16 * BLOCK, "the question and what came before are in the cache"


def test_data_is_made_of_a_real_server_s_answers(server: RunningServer, photo: Path) -> None:
    questions, out = photo.parent / "questions.jsonl", photo.parent / "out"
    row = {"image": photo.name, "question": "What is it?", "answer": "a"}
    questions.write_text(f"{json.dumps(row)}\n")
    fields = {key: value for key, value in SPELLING.items() if key != "max_tokens"}
    command = ["rollouts", "--questions", str(questions), "--output", str(out), "--base-url", server.url]
    command += ["--fields", json.dumps(fields), "--max-tokens", "8", "--solutions", "2", "--json"]
    made = CliRunner().invoke(app, command)
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout.splitlines()[-1])["records"]["judged"] > 0
    checked = CliRunner().invoke(app, ["check", str(out / "critic.json"), "--format", "judged"])
    assert checked.exit_code == 0, checked.output
