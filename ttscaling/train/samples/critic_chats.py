"""Make a critic's training conversations, which have VisualPRM's questions, steps and labels.

The conversation is the one that the server shows its critic (`ttscaling.critic_prompt`), so that training and
read-out can't differ. Sources: arXiv 2503.10291 sections 3 and 4; OpenGVLab/InternVL
`visualprm_data_pipeline_postprocess.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ttscaling.critic_prompt import MINUS, PLUS, critic_prefixes
from ttscaling.records.bad_records import RecordError
from ttscaling.records.chats import ChatRecord, Turn, parse_chat
from ttscaling.records.jsonl import LineFile
from ttscaling.records.judged_steps import JudgedRecord
from ttscaling.records.meta import DataSet
from ttscaling.train.settings.kinds import CriticData, History, Labelling
from ttscaling.types import Conversation

EQUAL = "="
Label = Literal["+", "-", "="]

_QUESTION, _PROCESS = "### Question:\n", "\n\n### Solution Process:\n"


@dataclass(frozen=True, kw_only=True)
class CriticRecord:
    """A question, the steps of a solution, and the label that the critic must answer after each step."""

    question: str
    steps: tuple[str, ...]
    labels: tuple[Label, ...]
    images: tuple[str, ...] = ()
    video: str | None = None
    system: str | None = None


def label_steps(
    record: JudgedRecord,
    labelling: Labelling = "value",
    *,
    threshold: float = 0.0,
    early_stop: bool = False,
    system: str | None = None,
) -> CriticRecord:
    """Return a solution's steps with labels that follow from their Monte-Carlo scores.

    - value: `+` where more than `threshold` of the continuations are right. With `early_stop` nothing after
      the first `-` is kept (the paper keeps all).
    - advantage: `+`, `=` or `-` where the score rises, stays the same or falls. The publication doesn't say
      what the first step is compared with, so it gets its value label.
    - outcome: all of the solution is one step, with the value label of its last step.

    `system` is the critic's system message; None means the template's.
    """
    scores = [step.score for step in record.steps]
    steps = tuple(step.text for step in record.steps)
    values: tuple[Label, ...] = tuple("+" if score > threshold else "-" for score in scores)
    labels = values
    if labelling == "outcome":
        steps, labels = (record.solution,), values[-1:]
    elif labelling == "advantage":
        rises = zip(scores[1:], scores, strict=False)
        labels = (values[0], *(_sign(score - before) for score, before in rises))
    elif early_stop and "-" in values:
        length = values.index("-") + 1
        steps, labels = steps[:length], values[:length]
    return CriticRecord(
        question=record.question,
        steps=steps,
        labels=labels,
        images=record.images,
        video=record.video,
        system=system,
    )


def labels_of_chat(record: ChatRecord, labels: str = "+-=", *, system: str | None = None) -> CriticRecord:
    """Return the steps of a published VisualPRM400K conversation with the labels of its `gpt` turns.

    Args:
        record: the conversation.
        labels: the labels that the critic learns.
        system: the critic's system message. None keeps the conversation's own, and with any other value it
            is left out, because the encoder puts the critic's in front.

    Raises:
        RecordError: the conversation doesn't have VisualPRM400K's form, or has another label.
    """
    own_system = record.turns[0].text if record.turns[0].role == "system" else None
    turns = record.turns[own_system is not None :]
    step_turns, label_turns = turns[0::2], turns[1::2]
    if len(step_turns) != len(label_turns) or any(turn.role != "user" for turn in step_turns):
        raise RecordError("this is no critic's conversation: 'human' and 'gpt' turns must alternate")
    opening, heading, first = step_turns[0].text.partition(_PROCESS)
    if not heading or not opening.startswith(_QUESTION):
        form = f"{_QUESTION}..{_PROCESS}.."
        raise RecordError(
            f"the first turn isn't of the form {form!r}: write question and first step like this"
        )
    return CriticRecord(
        question=opening.removeprefix(_QUESTION),
        steps=(first, *(turn.text for turn in step_turns[1:])),
        labels=tuple(_label(turn, labels) for turn in label_turns),
        images=record.images,
        video=record.video,
        system=own_system if system is None else None,
    )


def with_system(critic: CriticData, data_sets: Sequence[DataSet]) -> CriticData:
    """Return the settings with the system message of published conversations, unless they name one already.

    It is that of the first record. All records are trained with it, because the server shows one to all.

    Raises:
        RecordError: the first record is bad; the message names it.
        OSError: its file can't be read.
    """
    if critic.form != "chats" or critic.system is not None:
        return critic
    for file in (LineFile(data_set.annotation) for data_set in data_sets):
        if len(file):
            first = file.record(0, lambda data: labels_of_chat(parse_chat(data)))
            return replace(critic, system=first.system)
    return critic


def critic_turns(record: CriticRecord, *, history: History = "plus") -> tuple[Turn, ...]:
    """Return the conversation up to the last step; an assistant's turn follows each earlier step.

    `history` says what these turns hold. With `plus` it is `+` everywhere, as in the read-out. With `labels`
    it is the steps' labels, as in the published training conversations.
    """
    conversation = Conversation(
        messages=({"role": "user", "content": record.question},), mm_processor_kwargs={}
    )
    messages = critic_prefixes(conversation, record.steps, system=record.system)[-1]
    turns = [Turn(message["role"], message["content"]) for message in messages]
    if history == "labels":
        labels = iter(record.labels)
        turns = [replace(t, text=next(labels)) if t.role == "assistant" else t for t in turns]
    return tuple(turns)


def published_chat(record: CriticRecord) -> ChatRecord:
    """Return the conversation as VisualPRM400K publishes it, where every label is an assistant's turn."""
    turns = (*critic_turns(record, history="labels"), Turn("assistant", record.labels[-1]))
    return ChatRecord(turns=turns, images=record.images, video=record.video)


def _sign(difference: float) -> Label:
    return "+" if difference > 0 else "-" if difference < 0 else "="


def _label(turn: Turn, labels: str) -> Label:
    text = turn.text.strip()
    if turn.role != "assistant" or text not in (PLUS, MINUS, EQUAL):
        raise RecordError(f"a judgement is {turn.text[:40]!r}: use '+' or '-'")
    if text not in labels:
        raise RecordError(
            f"a judgement is {text!r}, which is a label by advantage: add --labelling advantage"
        )
    return text  # type: ignore[return-value]
