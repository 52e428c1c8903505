"""The options of `internvl3 train critic` that no other command has."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ttscaling.train.settings.kinds import CriticData, CriticLoss, Form, History, Labelling

from .system_option import text_or_file


def critic(
    form: Annotated[
        Form,
        typer.Option(
            "--format", help="Format of the records: judged (VisualPRM400K-Raw) or chats (VisualPRM400K)."
        ),
    ] = "judged",
    labelling: Annotated[
        Labelling, typer.Option(help="How a step's Monte-Carlo score becomes a label.")
    ] = "value",
    threshold: Annotated[
        float,
        typer.Option(help="A step is labelled + if more than this share of its continuations are right."),
    ] = 0.0,
    early_stop: Annotated[
        bool, typer.Option("--early-stop", help="Drop the steps after the first step labelled -.")
    ] = False,
    history: Annotated[
        History,
        typer.Option(help="Earlier answers of the critic in its input: always + (plus), or the labels."),
    ] = "plus",
    critic_system: Annotated[
        str | None,
        typer.Option(
            help="System message of the critic, a file with it, or `none` for none. The server reads it from "
            "the trained checkpoint. By default that of the data (chats), or else that of --model."
        ),
    ] = None,
    loss: Annotated[
        CriticLoss,
        typer.Option(help="Cross-entropy of a label among the labels (labels) or all tokens (full)."),
    ] = "labels",
    text_weight: Annotated[
        float,
        typer.Option(min=0, help="Weight of a token of a step labelled +, beside 1 for a label."),
    ] = 0.0,
    early_weight: Annotated[
        float,
        typer.Option(min=0, help="Weight of predicting a label at the tokens of its step, too, beside 1."),
    ] = 0.0,
) -> Mapping[str, Any]:
    """Train a process reward critic as VisualPRM does, with the loss on its label for each step.

    internvl3 train critic --model OpenGVLab/InternVL3-8B --data meta.json --output runs/critic --epochs 1
    """
    return {
        "critic": CriticData(
            form=form,
            labelling=labelling,
            threshold=threshold,
            early_stop=early_stop,
            history=history,
            system=text_or_file(critic_system),
            loss=loss,
            text_weight=text_weight,
            early_weight=early_weight,
        )
    }
