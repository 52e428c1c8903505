"""Label the conversations of the nano critic by value, by advantage or by outcome.

These are the labellings of VisualPRM (arXiv 2503.10291), and value labels can stop at the first wrong step.
The labelling matters only for whole solutions. A single statement is a problem of one step, so its outcome,
value and advantage are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from ttscaling.records.judged_steps import JudgedRecord, JudgedStep
from ttscaling.steps import SEPARATOR
from ttscaling.train.samples.critic_chats import Label, label_steps
from ttscaling.train.settings.kinds import Labelling

from .exercises import CriticExercise, Statement


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """How the steps of a solution are labelled; with `early_stop` a conversation ends at its first `-`."""

    labelling: Labelling = "value"
    early_stop: bool = False

    @property
    def labels(self) -> tuple[Label, ...]:
        """Return the labels that the critic answers with, in the order of its classes."""
        return ("-", "+", "=") if self.labelling == "advantage" else ("-", "+")

    def labelled_statements(
        self, exercise: CriticExercise
    ) -> tuple[tuple[Statement, ...], tuple[Label, ...]]:
        """Return the statements that a conversation shows, and the label of each.

        By outcome, a solution is one statement. If it is right, its text is also the right text; if it is
        wrong, the right text isn't known.
        """
        statements = exercise.statements
        if not exercise.chained:
            return statements, tuple("+" if statement.value > 0 else "-" for statement in statements)
        steps = tuple(JudgedStep(statement.shown, statement.value) for statement in statements)
        record = label_steps(
            JudgedRecord(question=exercise.question, steps=steps), self.labelling, early_stop=self.early_stop
        )
        if self.labelling == "outcome":
            (solution,) = record.steps
            right = solution if record.labels == ("+",) else None
            return (Statement(solution, statements[-1].value, right),), record.labels
        return statements[: len(record.labels)], record.labels

    def conversation(self, question: str, image: Image.Image, steps: Sequence[str]) -> CriticExercise:
        """Return the conversation in which the critic scores a solution.

        By outcome it shows the solution as one step. The values are all 1, so that early stop cuts nothing.
        """
        if self.labelling == "outcome":
            steps = (SEPARATOR.join(steps),)
        return CriticExercise(question, image, tuple(Statement(step, value=1, right=None) for step in steps))


BY_VALUE = Scheme()
BY_OUTCOME = Scheme(labelling="outcome")
