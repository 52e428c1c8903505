"""Print an answer while it is written, and what is known of it afterwards."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.status import Status

from clients.sdk.answer_stream import AnswerStream, Progress, TextPiece
from clients.sdk.answers import Answer

from .boxes_picture import draw_boxes
from .printable import printable, printable_line


def print_as_it_comes(stream: AnswerStream, out: Console, err: Console) -> Answer:
    """Print the answer while it is written, and return it.

    Before the answer comes, the progress of its candidates is shown on standard error.
    """
    with Status("waiting for the server", console=err) as status:
        for event in stream:
            if isinstance(event, Progress):
                status.update(printable_line(event.text))
            elif isinstance(event, TextPiece) and event.choice == 0:
                status.stop()
                out.print(printable(event.text), end="", soft_wrap=True)
    out.print()
    return stream.answer


def show_boxes(answer: Answer, image: Path, output: Path, out: Console, err: Console) -> None:
    """Print the boxes of an answer, and write a copy of the picture with them.

    Each has its number, its label and its edges in thousandths of the picture. Without a box there is no
    picture, and a line on standard error says so. Raises OSError and InvalidRequest.
    """
    if not answer.boxes:
        err.print(printable_line(f"the answer holds no <box>, so {output} was not written"), soft_wrap=True)
        return
    draw_boxes(image, answer.boxes, output)
    out.print()
    for number, box in enumerate(answer.boxes, 1):
        edges = ", ".join(f"{edge:g}" for edge in (box.left, box.top, box.right, box.bottom))
        out.print(printable_line(f"box {number}: {box.label or 'without a label'} [{edges}]"), soft_wrap=True)
    out.print(printable_line(f"drawn on {output}"), soft_wrap=True)


def record(question: str, answer: Answer) -> dict[str, Any]:
    """Return the object that --json prints: question, answer, and the reply under the server's names."""
    reply = answer.completion.model_dump(mode="json", exclude={"choices"})
    return {"question": question, "answer": answer.text, "finish_reason": answer.finish_reason, **reply}
