"""A critic's training conversations: VisualPRM's questions and steps, and a label for each step.

The conversation is the one that the server's critic is shown (`ttscaling.critic_prompt`), so that training
and read-out can't drift apart. Sources: arXiv 2503.10291 sections 3 and 4; OpenGVLab/InternVL
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
    """A question, its steps, and what the critic is to answer after each."""

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
    """Monte-Carlo scores as labels.

    - value: `+` where more than `threshold` of the continuations are right; with `early_stop` nothing after
      the first `-` is kept (the paper keeps all).
    - advantage: `+`, `=` or `-` as the score rises, stays or falls. The publication doesn't say what the
      first step is compared with; it gets its value label.
    - outcome: the whole solution as one step, with the value label of its last.

    `system` is the critic's system message, None for the template's own.
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
        kept = values.index("-") + 1
        steps, labels = steps[:kept], values[:kept]
    return CriticRecord(
        question=record.question,
        steps=steps,
        labels=labels,
        images=record.images,
        video=record.video,
        system=system,
    )


def labels_of_chat(record: ChatRecord) -> CriticRecord:
    """A published VisualPRM400K conversation, its labels taken from the `gpt` turns.

    Raises:
        RecordError: it isn't of that form.
    """
    system = record.turns[0].text if record.turns[0].role == "system" else None
    turns = record.turns[system is not None :]
    asked, answered = turns[0::2], turns[1::2]
    if len(asked) != len(answered) or any(turn.role != "user" for turn in asked):
        raise RecordError("not a critic's conversation: write 'human' and 'gpt' turns by turns")
    opening, found, first = asked[0].text.partition(_PROCESS)
    if not found or not opening.startswith(_QUESTION):
        raise RecordError(f"the first turn isn't of the form {_QUESTION + '..' + _PROCESS + '..'!r}")
    labels = tuple(_label(turn) for turn in answered)
    return CriticRecord(
        question=opening.removeprefix(_QUESTION),
        steps=(first, *(turn.text for turn in asked[1:])),
        labels=labels,
        images=record.images,
        video=record.video,
        system=system,
    )


def critic_turns(record: CriticRecord, *, history: History = "plus") -> tuple[Turn, ...]:
    """The conversation up to the last step; after every user turn stands a judgement.

    `history` says what earlier assistant turns hold: `plus`, what the read-out shows (`+` everywhere), or
    `labels`, what the published training conversations show.
    """
    conversation = Conversation(
        messages=({"role": "user", "content": record.question},), mm_processor_kwargs={}
    )
    messages = critic_prefixes(conversation, record.steps, system=record.system)[-1]
    turns = [Turn(message["role"], message["content"]) for message in messages]
    if history == "labels":
        said = iter(record.labels)
        turns = [replace(t, text=next(said)) if t.role == "assistant" else t for t in turns]
    return tuple(turns)


def published_chat(record: CriticRecord) -> ChatRecord:
    """The conversation as VisualPRM400K publishes it: every label is an assistant's turn."""
    turns = (*critic_turns(record, history="labels"), Turn("assistant", record.labels[-1]))
    return ChatRecord(turns=turns, images=record.images, video=record.video)


def _sign(difference: float) -> Label:
    return "+" if difference > 0 else "-" if difference < 0 else "="


def _label(turn: Turn) -> Label:
    text = turn.text.strip()
    if turn.role != "assistant" or text not in (PLUS, MINUS, EQUAL):
        raise RecordError(f"a judgement is {turn.text[:40]!r}: use '+', '-' or '='")
    return text  # type: ignore[return-value]
