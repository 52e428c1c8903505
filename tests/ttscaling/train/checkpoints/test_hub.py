"""A checkpoint by its folder or by its name on the hub, which is a server on 127.0.0.1 here."""

from pathlib import Path

import pytest

from tests.checkpoints import build_checkpoint
from tests.hub_server import HubServer
from ttscaling.train.checkpoints.hub import checkpoint_folder


@pytest.fixture
def hub(tmp_path: Path) -> HubServer:
    folder = tmp_path / "hub" / "models" / "lab" / "tiny"
    folder.mkdir(parents=True)
    build_checkpoint(folder, "opengvlab")
    (folder / "modeling_internvl_chat.py").write_text("raise SystemExit")
    return HubServer(tmp_path / "hub")


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert checkpoint_folder(str(tmp_path)) == tmp_path


def test_a_name_is_downloaded_once_and_without_code(hub: HubServer, tmp_path: Path) -> None:
    source = hub.root / "models" / "lab" / "tiny"
    with hub.running():
        folders = {
            checkpoint_folder("lab/tiny", endpoint=hub.url, cache=tmp_path / "cache") for _ in range(2)
        }
    (folder,) = folders
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in source.iterdir() if path.suffix != ".py")
    assert all((folder / name).read_bytes() == (source / name).read_bytes() for name in names)
    assert sorted(hub.downloads()) == names


def test_the_weights_are_left_out_where_they_are_not_needed(hub: HubServer, tmp_path: Path) -> None:
    with hub.running():
        folder = checkpoint_folder("lab/tiny", weights=False, endpoint=hub.url, cache=tmp_path / "cache")
    assert (folder / "config.json").is_file()
    assert "model.safetensors" not in hub.downloads()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lab/none", "the hub has no checkpoint of this name"),
        ("runs/sft/model", "there is no folder runs/sft/model: name the folder of a checkpoint"),
        ("/lab/tiny", "there is no folder /lab/tiny"),
        ("../lab", "there is no folder"),
    ],
)
def test_what_is_neither_is_named(name: str, message: str, hub: HubServer, tmp_path: Path) -> None:
    with hub.running(), pytest.raises(ValueError, match=message):
        checkpoint_folder(name, endpoint=hub.url, cache=tmp_path / "cache")


def test_a_hub_that_cannot_be_reached(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the hub can't be reached .*: correct the path, or the connection"):
        checkpoint_folder("lab/tiny", endpoint="http://127.0.0.1:9", cache=tmp_path)
