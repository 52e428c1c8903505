"""A critic is trained on the conversation that the server shows it, which has VisualPRM's form."""

from pathlib import Path

import pytest

from tests.ttscaling.train.data.material import data_set
from ttscaling.critic_prompt import critic_prefixes
from ttscaling.records.bad_records import RecordError
from ttscaling.records.chats import ChatRecord, Turn, chat_json
from ttscaling.records.jsonl import write_records
from ttscaling.records.judged_steps import JudgedRecord, JudgedStep
from ttscaling.train.samples.critic_chats import (
    CriticRecord,
    Label,
    critic_turns,
    label_steps,
    labels_of_chat,
    published_chat,
    with_system,
)
from ttscaling.train.settings.kinds import CriticData, Labelling
from ttscaling.types import Conversation


def judged_record(*scores: float) -> JudgedRecord:
    steps = tuple(JudgedStep(f"step {number}", score) for number, score in enumerate(scores))
    return JudgedRecord(question="<image>\n1+1?", steps=steps, images=("a.png",))


@pytest.mark.parametrize(
    ("scores", "labelling", "labels"),
    [
        ((1.0, 0.0625, 0.0), "value", "++-"),
        ((0.5, 0.75, 0.75, 0.25, 0.0), "advantage", "++=--"),
        ((0.0, 0.0, 0.5), "advantage", "-=+"),
        ((1.0, 0.5, 0.0), "outcome", "-"),
        ((0.0, 0.0625), "outcome", "+"),
    ],
)
def test_labels(scores: tuple[float, ...], labelling: Labelling, labels: str) -> None:
    assert "".join(label_steps(judged_record(*scores), labelling).labels) == labels


def test_a_threshold_is_exceeded_not_met() -> None:
    assert label_steps(judged_record(0.25, 0.3125), threshold=0.25).labels == ("-", "+")


def test_early_stop_keeps_up_to_the_first_wrong_step() -> None:
    record = label_steps(judged_record(1.0, 0.0, 0.5), early_stop=True)
    assert (record.steps, record.labels) == (("step 0", "step 1"), ("+", "-"))
    assert label_steps(judged_record(1.0, 0.5), early_stop=True).labels == ("+", "+")


def test_an_outcome_has_the_solution_as_one_step() -> None:
    assert label_steps(judged_record(1.0, 1.0), "outcome").steps == ("step 0\n\nstep 1",)


def test_the_conversation_is_the_server_s() -> None:
    record = label_steps(judged_record(1.0, 0.0, 0.0), system="Judge.")
    conversation = Conversation(
        messages=({"role": "user", "content": record.question},), mm_processor_kwargs={}
    )
    served = critic_prefixes(conversation, record.steps, system="Judge.")[-1]
    assert critic_turns(record) == tuple(Turn(message["role"], message["content"]) for message in served)
    labelled = critic_turns(record, history="labels")
    assert [turn.text for turn in labelled if turn.role == "assistant"] == ["+", "-"]


def test_published_conversations_are_read_as_written() -> None:
    record = label_steps(judged_record(1.0, 0.0, 0.5), system="Judge.")
    chat = published_chat(record)
    assert chat.turns == (
        Turn("system", "Judge."),
        Turn("user", "### Question:\n<image>\n1+1?\n\n### Solution Process:\nstep 0"),
        Turn("assistant", "+"),
        Turn("user", "step 1"),
        Turn("assistant", "-"),
        Turn("user", "step 2"),
        Turn("assistant", "+"),
    )
    assert labels_of_chat(chat) == record


@pytest.mark.parametrize(
    ("turns", "problem"),
    [
        ([Turn("user", "### Question:\nq\n\n### Solution Process:\ns")], "must alternate"),
        ([Turn("assistant", "+"), Turn("assistant", "+")], "must alternate"),
        ([Turn("user", "What?"), Turn("assistant", "+")], "isn't of the form"),
        (
            [Turn("user", "### Question:\nq\n\n### Solution Process:\ns"), Turn("assistant", "good")],
            "a judgement is 'good'",
        ),
    ],
)
def test_other_conversations_are_refused(turns: list[Turn], problem: str) -> None:
    with pytest.raises(RecordError, match=problem):
        labels_of_chat(ChatRecord(turns=tuple(turns)))


def test_a_label_that_the_critic_does_not_learn_is_named() -> None:
    record = CriticRecord(question="q", steps=("a", "b"), labels=("+", "="))
    chat = published_chat(record)
    assert labels_of_chat(chat, "+-=") == record
    with pytest.raises(RecordError, match="add --labelling advantage"):
        labels_of_chat(chat, "+-")


def test_published_conversations_bring_their_system_message(tmp_path: Path) -> None:
    """All records are trained with that of the first one, unless the settings name another."""
    folder = data_set(tmp_path)
    chats = [published_chat(label_steps(judged_record(1.0), system=text)) for text in ("Judge.", "Other.")]
    write_records(folder.annotation, map(chat_json, chats))
    assert with_system(CriticData(form="chats"), [folder]).system == "Judge."
    assert with_system(CriticData(form="chats", system=""), [folder]).system == ""
    assert with_system(CriticData(), [folder]).system is None
    assert labels_of_chat(chats[1], system="Judge.").system is None, "the encoder puts it in front"
    assert labels_of_chat(chats[1]).system == "Other."


def test_a_question_may_hold_the_headings() -> None:
    labels: tuple[Label, ...] = ("+",)
    record = CriticRecord(
        question="### Question:\nq", steps=("a\n\n### Solution Process:\nb",), labels=labels
    )
    assert labels_of_chat(published_chat(record)) == record
