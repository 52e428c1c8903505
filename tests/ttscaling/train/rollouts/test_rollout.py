"""Solutions, step values and continuations without the image, each requested once despite interruptions."""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.ttscaling.train.rollout_policy import PIXEL, RIGHT, PolicyServer, begun_of, written
from ttscaling.asking.client import connected
from ttscaling.asking.results_file import ResultsFile
from ttscaling.console import CommandError
from ttscaling.records.bad_records import BadRecords
from ttscaling.records.questions import Question
from ttscaling.train.rollouts.rollout import Rollout, RolloutPlan, prefixes, roll_out
from ttscaling.train.rollouts.server_sampler import ServerSampler

PLAN = RolloutPlan(solutions=4, continuations=8, without_image=2, max_steps=None, seed=3)
QUESTIONS = [
    Question(text="<image>\nWhich?", answer=RIGHT, images=("a.png",)),
    Question(text="How many?", answer=RIGHT, images=("a.png",)),
    Question(text="3 + 4?", answer=RIGHT),
]


async def run(
    policy: PolicyServer,
    folder: Path,
    *,
    plan: RolloutPlan = PLAN,
    questions: Sequence[Question] = QUESTIONS,
    concurrency: int = 2,
    allowed: float = 0.0,
) -> list[Rollout]:
    (folder / "a.png").write_bytes(PIXEL)
    with ResultsFile(folder / "rollouts.jsonl", {"seed": plan.seed}) as results:
        async with connected(policy.url, pauses=()) as server:
            return await roll_out(
                ServerSampler(server, {}),
                questions,
                folder,
                plan,
                verdict=lambda question, answer: answer == question.answer,
                results=results,
                bad_records=BadRecords(allowed=allowed, tell=lambda problem: None),
                concurrency=concurrency,
            )


def test_prefixes_are_the_beginnings_before_the_last_step() -> None:
    assert prefixes("a\n\nb\n\nc", None) == ["a", "a\n\nb"]
    assert prefixes("a\n\nb\n\nc\n\nd", 2) == ["a\n\nb"]
    assert prefixes("a", None) == []


async def test_every_prefix_has_its_value(tmp_path: Path) -> None:
    with PolicyServer().running() as policy:
        rollouts = await run(policy, tmp_path)
    for rollout in rollouts:
        assert len(rollout.solutions) == 4
        expected = {prefix for solution in rollout.solutions for prefix in prefixes(solution.text, None)}
        assert rollout.values.keys() == expected
        assert all(value.total == 8 for value in rollout.values.values())
        for solution in rollout.solutions:
            assert solution.right == (solution.answer == RIGHT)
    values = [value.right for rollout in rollouts for value in rollout.values.values()]
    assert 0 < sum(values) < 8 * len(values)


async def test_values_are_the_counts_of_what_was_written(tmp_path: Path) -> None:
    with PolicyServer().running() as policy:
        rollouts = await run(policy, tmp_path, concurrency=1)
    bodies = {begun_of(body): body for body in policy.bodies if body["n"] == 8}
    last = rollouts[-1]
    for prefix, value in last.values.items():
        ends = [prefix + written(bodies[prefix], index) for index in range(8)]
        assert value.right == sum(end.endswith(f"Final answer: {RIGHT}") for end in ends)


async def test_prefixes_are_continued_once_and_the_shorter_first(tmp_path: Path) -> None:
    with PolicyServer().running() as policy:
        (rollout, *_) = await run(policy, tmp_path, concurrency=1)
    shared = Counter(prefix for s in rollout.solutions for prefix in prefixes(s.text, None))
    assert max(shared.values()) > 1, "the policy's few steps are shared"
    first = policy.begun[: len(rollout.values)]
    assert first == list(rollout.values)
    for number, prefix in enumerate(first):
        assert all(begun in first[:number] for begun in prefixes(prefix, None))


async def test_only_what_shows_something_is_continued_blindly(tmp_path: Path) -> None:
    with PolicyServer().running() as policy:
        rollouts = await run(policy, tmp_path)
    assert rollouts[0].without_image
    assert not rollouts[2].without_image
    for chosen, rejected in rollouts[0].without_image.items():
        beginning, guess = rejected.split(" and so I guess")
        assert chosen.startswith(beginning)
        assert guess == ""
    without_image = [body for body in policy.bodies if body["n"] == 1]
    assert {body["messages"][0]["content"] for body in without_image} == {"Which?", "How many?"}
    assert max(len(rollout.without_image) for rollout in rollouts) <= PLAN.without_image


async def test_without_continuations_solutions_are_all(tmp_path: Path) -> None:
    plan = RolloutPlan(solutions=2, continuations=0, without_image=0, max_steps=None, seed=0)
    with PolicyServer(continues=False).running() as policy:
        rollouts = await run(policy, tmp_path, plan=plan)
    assert [len(rollout.solutions) for rollout in rollouts] == [2, 2, 2]
    assert len(policy.answered) == 3


async def test_a_run_cut_off_anywhere_goes_on_without_asking_twice(tmp_path: Path) -> None:
    (tmp_path / "uninterrupted").mkdir()
    with PolicyServer().running() as policy:
        uninterrupted = await run(policy, tmp_path / "uninterrupted")
    expected = sorted(json.dumps(body) for body in policy.bodies)
    for last in range(4, policy.num_requests, 5):
        folder = tmp_path / str(last)
        folder.mkdir()
        broken = PolicyServer(lambda number, body, last=last: 500 if number > last else None)
        with broken.running(), pytest.raises(CommandError, match="500"):
            await run(broken, folder)
        with PolicyServer().running() as mended:
            assert await run(mended, folder) == uninterrupted
            content = (folder / "rollouts.jsonl").read_bytes()
            bodies = [json.dumps(body) for body in broken.bodies + mended.bodies]
            repeated = Counter(bodies) - Counter(expected)
            assert len(bodies) <= len(expected) + 1, "the other worker's reply may have been under way"
            assert sorted(set(bodies)) == expected
            assert sum(repeated.values()) <= 1
            mended.answered.clear()
            assert await run(mended, folder) == uninterrupted
            assert mended.bodies == []
            assert (folder / "rollouts.jsonl").read_bytes() == content


async def test_a_bad_question_is_named_and_left_out(tmp_path: Path) -> None:
    def fails(number: int, body: object) -> int | None:
        return 400 if "How many" in json.dumps(body) else None

    with PolicyServer(fails).running() as policy:
        rollouts = await run(policy, tmp_path, allowed=0.5)
        assert [rollout.bad is None for rollout in rollouts] == [True, False, True]
        assert "question 2: the server refused (HTTP 400)" in str(rollouts[1].bad)
        with pytest.raises(CommandError, match="1 of 3 records were bad"):
            await run(policy, tmp_path, allowed=0.2)
    with PolicyServer().running() as mended:
        assert all(rollout.bad is None for rollout in await run(mended, tmp_path)), "asked again"


async def test_a_video_is_shown_in_front_of_its_question(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"frames")
    questions = [Question(text="<video>\nWhat moves?", answer=RIGHT, video="clip.mp4")]
    plan = RolloutPlan(solutions=1, continuations=1, without_image=1, max_steps=None, seed=0)
    with PolicyServer().running() as policy:
        await run(policy, tmp_path, plan=plan, questions=questions)
    video, text = policy.bodies[0]["messages"][0]["content"]
    assert text == {"type": "text", "text": "What moves?"}
    assert video["video_url"]["url"] == "data:video/mp4;base64," + b64encode(b"frames").decode()
