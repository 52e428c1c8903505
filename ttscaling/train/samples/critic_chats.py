"""Make a critic's training conversations, which have VisualPRM's questions, steps and labels.

The conversation is the one that the server shows its critic (`ttscaling.critic_prompt`), so that training and
read-out can't differ. Sources: arXiv 2503.10291 sections 3 and 4; OpenGVLab/InternVL
`visualprm_data_pipeline_postprocess.py`.
"""

from dataclasses import dataclass, replace
from typing import Literal

from ttscaling.critic_prompt import MINUS, PLUS, critic_prefixes
from ttscaling.records.bad_records import RecordError
from ttscaling.records.chats import ChatRecord, Turn
from ttscaling.records.judged_steps import JudgedRecord
from ttscaling.train.settings.kinds import History, Labelling
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


def labels_of_chat(record: ChatRecord) -> CriticRecord:
    """Return the steps of a published VisualPRM400K conversation with the labels of its `gpt` turns.

    Raises:
        RecordError: the conversation doesn't have VisualPRM400K's form.
    """
    system = record.turns[0].text if record.turns[0].role == "system" else None
    turns = record.turns[system is not None :]
    step_turns, label_turns = turns[0::2], turns[1::2]
    if len(step_turns) != len(label_turns) or any(turn.role != "user" for turn in step_turns):
        raise RecordError("this is no critic's conversation: 'human' and 'gpt' turns must alternate")
    opening, heading, first = step_turns[0].text.partition(_PROCESS)
    if not heading or not opening.startswith(_QUESTION):
        form = f"{_QUESTION}..{_PROCESS}.."
        raise RecordError(
            f"the first turn isn't of the form {form!r}: write question and first step like this"
        )
    labels = tuple(_label(turn) for turn in label_turns)
    return CriticRecord(
        question=opening.removeprefix(_QUESTION),
        steps=(first, *(turn.text for turn in step_turns[1:])),
        labels=labels,
        images=record.images,
        video=record.video,
        system=system,
    )


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


def _label(turn: Turn) -> Label:
    text = turn.text.strip()
    if turn.role != "assistant" or text not in (PLUS, MINUS, EQUAL):
        raise RecordError(f"a judgement is {turn.text[:40]!r}: use '+', '-' or '='")
    return text  # type: ignore[return-value]
