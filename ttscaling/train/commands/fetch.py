"""The command `internvl3 train fetch`, which downloads published data and makes them ready for use."""

from pathlib import Path
from typing import Annotated

import typer

from ttscaling.train.fetch.published_sets import Name

from .launching import exit_with


def fetch(
    name: Annotated[Name, typer.Argument(help="The data set, in its newest published version.")],
    output: Annotated[
        Path, typer.Option(help="Folder for data sets. This one gets a folder of its own name in it.")
    ] = Path("data"),
    repository: Annotated[
        str | None,
        typer.Option(help="Another data set on the hub with the same layout, like OpenGVLab/MMPR."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit on the hub. By default the newest.")
    ] = None,
) -> None:
    """Download a published data set, unpack it, and name the meta.json that the other commands take.

    visualprm400k has step scores for `train critic`, visualprm400k-chats the same with labels (`--format
    chats`), mmpr preference pairs for `train mpo`, and visualprocessbench marked steps for `eval critic`. If
    it is cut off, the same command goes on. It needs disk space for the archives and for their contents.

        internvl3 train fetch visualprm400k --output data
    """
    from ttscaling.train.fetch.data_roots import data_root, usable_meta
    from ttscaling.train.fetch.published_sets import download, published_set
    from ttscaling.train.fetch.unpacking import archives_in, is_unpacked, unpack

    published = published_set(name)
    repository = repository or published.repository
    folder = output / repository.rsplit("/", 1)[-1]
    try:
        download(repository, folder, revision=revision)
        for archive in archives_in(folder):
            if not is_unpacked(folder, archive.name):
                unpack(archive, folder)
        meta = usable_meta(folder)
        bench = [(path, data_root(path, folder)) for path in folder.glob("*.jsonl")]
    except (ValueError, OSError) as error:
        raise exit_with(error) from error
    typer.echo(f"data: {meta}")
    typer.echo(f"next: internvl3 train check {meta} --base {output} --format {published.form}")
    if published.form == "marked":
        for path, root in bench:
            typer.echo(f"      internvl3 eval critic {path} --images {root}")
