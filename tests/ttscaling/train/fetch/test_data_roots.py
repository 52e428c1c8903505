"""The folders of images are found in the published layouts, and meta.json is written where there is none."""

import json
import zipfile
from pathlib import Path

import pytest

from tests.ttscaling.train.fetch import published_layouts
from ttscaling.records.checking import check_data_set, parser_of
from ttscaling.records.meta import read_meta
from ttscaling.train.fetch.data_roots import data_root, usable_meta
from ttscaling.train.fetch.unpacking import archives_in, unpack


def unpacked_copy(written: Path) -> Path:
    for archive in archives_in(written):
        unpack(archive, written)
    return written


@pytest.mark.parametrize(
    ("write", "form", "media"),
    [
        ("write_raw", "judged", 18),
        ("write_mmpr", "pairs", 3),
        ("write_chats", "chats", 3),
        ("write_bench", "marked", 4),
    ],
)
def test_every_record_of_the_published_layouts_is_usable(
    write: str, form: str, media: int, tmp_path: Path
) -> None:
    folder = unpacked_copy(getattr(published_layouts, write)(tmp_path))
    meta = usable_meta(folder)
    assert meta == folder / "meta.json"
    data_sets = read_meta(meta, base=folder.parent)
    checked = [check_data_set(one, parser_of(form)) for one in data_sets]
    assert all(one.passed for one in checked), [one.summary() for one in checked]
    assert sum(one.media for one in checked) == media
    assert usable_meta(folder) == meta, "a second call finds what the first one wrote"


def test_images_of_the_same_names_belong_to_the_folder_that_the_annotation_names(tmp_path: Path) -> None:
    folder = unpacked_copy(published_layouts.write_raw(tmp_path))
    assert data_root(folder / "annotations/nlvr2_train_extracted.jsonl", folder) == folder / "images/nlvr2"
    other = folder / "annotations/abc_train.jsonl"
    other.write_bytes((folder / "annotations/nlvr2_train_extracted.jsonl").read_bytes())
    assert data_root(other, folder) == folder / "images/abc"


def test_a_few_missing_images_do_not_hide_the_folder(tmp_path: Path) -> None:
    folder = unpacked_copy(published_layouts.write_raw(tmp_path))
    (folder / "images/chartqa/train/0.png").unlink()
    annotation = folder / "annotations/chartqa_trainval_30k_extracted.jsonl"
    assert data_root(annotation, folder) == folder / "roots"
    for path in (folder / "images/chartqa/train").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"the first is 'VisualPRM400K-v1\.1-Raw/chartqa/train/0\.png'"):
        data_root(annotation, folder)


def test_a_published_meta_of_another_layout_is_left_alone(tmp_path: Path) -> None:
    folder = unpacked_copy(published_layouts.write_mmpr(tmp_path))
    published = json.loads((folder / "meta.json").read_text())
    published["ai2d_mpo"]["root"] = "elsewhere/images"
    (folder / "meta.json").write_text(json.dumps(published))
    meta = usable_meta(folder)
    assert meta == folder / "meta-found.json"
    (data_set,) = read_meta(meta, base=folder.parent)
    assert data_set.root == folder / "images/ai2d"
    assert json.loads((folder / "meta.json").read_text()) == published


def test_records_without_images_need_no_folder(tmp_path: Path) -> None:
    annotation = tmp_path / "text.jsonl"
    annotation.write_text('{"question": "1+1?", "chosen": "2", "rejected": "3"}\n')
    assert data_root(annotation, tmp_path) == tmp_path


def test_no_annotation_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w"):
        pass
    with pytest.raises(ValueError, match="there is no annotation file"):
        usable_meta(tmp_path)
