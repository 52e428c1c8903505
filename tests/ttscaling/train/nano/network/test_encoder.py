"""Test that nano conversations get the token ids of the chat template, which the server uses."""

import numpy as np
import pytest

from model.image_tokens import IMAGE_CONTEXT
from model.images.tiling import tile_image
from ttscaling.critic_prompt import critic_prefixes
from ttscaling.nano_tasks.digits import digit_pool
from ttscaling.nano_tasks.problems import draw_task, random_task
from ttscaling.train.nano.network.architecture import CONTEXT, TILING, TOKENS_PER_TILE
from ttscaling.train.nano.network.encoder import NanoEncoder
from ttscaling.train.nano.network.tokenizer import build_tokenizer
from ttscaling.train.nano.stages.critic import UNKNOWN, encode_exercise
from ttscaling.train.nano.stages.exercises import CriticExercise, Statement, facts, readings
from ttscaling.types import Conversation


@pytest.fixture(scope="module")
def encoder() -> NanoEncoder:
    return NanoEncoder(build_tokenizer(CONTEXT))


def rendered(encoder: NanoEncoder, messages: list[dict[str, object]], *, tiles: int) -> str:
    text = encoder.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert isinstance(text, str)
    return text.replace("<image>", f"<img>{IMAGE_CONTEXT * (TOKENS_PER_TILE * tiles)}</img>")


def test_any_text_survives_the_tokenizer(encoder: NanoEncoder) -> None:
    for text in ("Row 1: 3 7 4\n\n3+7=10", "héllo wörld 书生 🙂\t<x>", "   ", "a\n\n\nb"):
        assert encoder.tokenizer.decode(encoder.ids(text)) == text


def test_digits_are_single_tokens(encoder: NanoEncoder) -> None:
    assert len(encoder.ids("1234567890")) == 10
    assert len(encoder.ids(" 1 2 3")) == 3


@pytest.mark.parametrize("seed", range(6))
def test_a_question_encodes_as_the_chat_template_renders_it(encoder: NanoEncoder, seed: int) -> None:
    rng = np.random.default_rng(seed)
    question = random_task(rng)
    image = draw_task(question, digit_pool("train"), rng)
    content = [{"type": "image"}, {"type": "text", "text": question.question}]
    text = rendered(encoder, [{"role": "user", "content": content}], tiles=len(tile_image(image, TILING)))
    assert tuple(encoder.prompt(question.question, image, delta=1.0).ids_T) == encoder.ids(text)


def test_the_loss_is_on_the_answer_and_its_end(encoder: NanoEncoder) -> None:
    sample = encoder.answered("What is 1+2?", "1+2=3\n\nFinal answer: 3", None, delta=1.0)
    supervised = sample.target_T[sample.weight_T > 0]
    assert encoder.tokenizer.decode(supervised) == "1+2=3\n\nFinal answer: 3<|im_end|>"
    assert np.sum(sample.weight_T) == pytest.approx(np.sqrt(len(supervised)))


def test_with_all_text_the_loss_is_on_every_text_token_and_on_no_visual_one(encoder: NanoEncoder) -> None:
    rng = np.random.default_rng(0)
    image = draw_task(random_task(rng), digit_pool("train"), rng)
    sample = encoder.answered("Read the sheet.", "Row 1: 1 2 3", image, delta=1.0, all_text=True)
    supervised = sample.target_T[sample.weight_T > 0]
    assert encoder.image_token not in supervised
    assert len(supervised) == np.sum(sample.ids_T[1:] != encoder.image_token)


def test_an_exercise_encodes_as_the_critic_conversation_of_the_server(encoder: NanoEncoder) -> None:
    rng = np.random.default_rng(2)
    exercise = readings(digit_pool("train"), rng, large=True)
    steps = [statement.shown for statement in exercise.statements]
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": exercise.question}]}
    prefixes = critic_prefixes(Conversation(messages=(message,), mm_processor_kwargs={}), steps)
    assert exercise.image is not None
    tiles = len(tile_image(exercise.image, TILING))
    sample = encode_exercise(encoder, exercise, delta=1.0)
    for prefix, end in zip(prefixes, np.flatnonzero(sample.label_T != UNKNOWN), strict=True):
        text = rendered(encoder, list(map(dict, prefix)), tiles=tiles)
        assert tuple(sample.sample.ids_T[: end + 1]) == encoder.ids(text)


def test_token_labels_stop_at_a_solution_s_first_wrong_token_and_go_on_in_single_facts(
    encoder: NanoEncoder,
) -> None:
    solution = CriticExercise("?", None, (Statement("8+5=32", False, "8+5=13"),))
    fact = CriticExercise("?", None, (Statement("8+5=32", False, "8+5=13", num_given=4),))
    of_solution, of_fact = (
        encode_exercise(encoder, exercise, delta=1.0).right_T for exercise in (solution, fact)
    )
    assert of_solution[of_solution != UNKNOWN].tolist() == [1, 1, 1, 1, 0]
    assert of_fact[of_fact != UNKNOWN].tolist() == [0, 0, 1], "3, 2, and the end of the turn"


def test_about_half_of_the_single_facts_are_right() -> None:
    rng = np.random.default_rng(3)
    labels = [statement.value for _ in range(200) for statement in facts(rng).statements]
    assert 0.45 < np.mean(labels) < 0.55
