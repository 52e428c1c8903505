"""What nano's critic is taught to answer: the labellings of VisualPRM (arXiv 2503.10291), and early stop.

Only whole solutions are labelled differently. A conversation of single statements is one of one-step
problems, whose outcome, value and advantage are the same thing.
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
    """How the steps of a solution are labelled; with `early_stop` it ends at its first `-`."""

    labelling: Labelling = "value"
    early_stop: bool = False

    @property
    def labels(self) -> tuple[Label, ...]:
        """What the critic answers with, in the order of its classes."""
        return ("-", "+", "=") if self.labelling == "advantage" else ("-", "+")

    def labelled_statements(self, judging: CriticExercise) -> tuple[tuple[Statement, ...], tuple[Label, ...]]:
        """The statements that a conversation shows, and the label of each.

        By outcome a solution is one statement. Nothing says then where a wrong one went wrong; a right one is
        its own right text.
        """
        statements = judging.statements
        if not judging.chained:
            return statements, tuple("+" if statement.value > 0 else "-" for statement in statements)
        steps = tuple(JudgedStep(statement.shown, statement.value) for statement in statements)
        record = label_steps(
            JudgedRecord(question=judging.question, steps=steps), self.labelling, early_stop=self.early_stop
        )
        if self.labelling == "outcome":
            (whole,) = record.steps
            right = whole if record.labels == ("+",) else None
            return (Statement(whole, statements[-1].value, right),), record.labels
        return statements[: len(record.labels)], record.labels

    def shown(self, question: str, image: Image.Image, steps: Sequence[str]) -> CriticExercise:
        """A solution to be scored, by outcome whole. All of it is shown: no step counts as wrong."""
        if self.labelling == "outcome":
            steps = (SEPARATOR.join(steps),)
        return CriticExercise(question, image, tuple(Statement(step, value=1, right=None) for step in steps))


BY_VALUE = Scheme()
BY_OUTCOME = Scheme(labelling="outcome")
