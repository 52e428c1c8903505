"""Records become samples with the right supervised tokens, weights, deltas and tiles."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from model.v2pe import TRAINED_DELTAS
from tests.checkpoints import byte_tokenizer
from tests.ttscaling.train.data.material import data_set, preparation
from tests.ttscaling.train.samples.test_media_tiles import write_clip
from ttscaling.records.bad_records import RecordError
from ttscaling.records.chats import ChatRecord, Turn
from ttscaling.records.meta import DataSet
from ttscaling.train.samples.chat_samples import chat_sample
from ttscaling.train.samples.sample import Sample
from ttscaling.train.settings.recipe import Average

ASKED = (Turn("user", "What is it?"), Turn("assistant", "A cat."))


@pytest.fixture
def drawings(tmp_path: Path) -> DataSet:
    return data_set(tmp_path)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def decoded(ids: Sequence[int] | np.ndarray) -> str:
    text: str = byte_tokenizer().decode(list(ids))
    return text


def supervised(sample: Sample) -> str:
    return decoded(sample.target_T[sample.weight_T > 0])


def test_fine_tuning_learns_the_answer(drawings: DataSet) -> None:
    record = ChatRecord(turns=ASKED, images=("wide.png",))
    sample = chat_sample(record, drawings, preparation(), rng())
    assert supervised(sample) == "A cat.<|im_end|>"
    assert (sample.num_tiles, len(sample.deltas)) == (3, 1)
    positions = np.flatnonzero(sample.weight_T)
    np.testing.assert_array_equal(sample.target_T[positions], sample.ids_T[positions + 1])


@pytest.mark.parametrize(("average", "total"), [("token", 7), ("square", 7**0.5), ("sample", 1)])
def test_a_sample_s_weight(drawings: DataSet, average: Average, total: float) -> None:
    sample = chat_sample(ChatRecord(turns=ASKED), drawings, preparation(average=average), rng())
    assert sample.weight_T.sum() == pytest.approx(total)


def test_pre_training_learns_all_text_and_no_visual_token(drawings: DataSet) -> None:
    record = ChatRecord(turns=ASKED, images=("wide.png",))
    sample = chat_sample(record, drawings, preparation(), rng(), all_text=True)
    text = decoded(sample.ids_T).replace("<IMG_CONTEXT>", "").removeprefix("<|im_start|>")
    assert supervised(sample) == text


def test_each_image_draws_its_delta_from_the_published_ones(drawings: DataSet) -> None:
    record = ChatRecord(turns=ASKED, images=("square.png",) * 4)
    drawn = [chat_sample(record, drawings, preparation(), rng(seed)).deltas for seed in range(40)]
    assert {delta for deltas in drawn for delta in deltas} == set(TRAINED_DELTAS)
    assert any(len(set(deltas)) > 1 for deltas in drawn)
    fixed = chat_sample(record, drawings, preparation(deltas=(0.25,)), rng())
    assert fixed.deltas == (0.25,) * 4


def test_several_images_share_the_tile_limit(drawings: DataSet) -> None:
    one, three = (
        chat_sample(ChatRecord(turns=ASKED, images=("wide.png",) * n), drawings, preparation(), rng())
        for n in (1, 3)
    )
    assert (one.num_tiles, three.num_tiles) == (3, 3)
    assert decoded(three.ids_T).count("Image-") == 3


def test_a_data_set_s_own_tile_limit(tmp_path: Path) -> None:
    record = ChatRecord(turns=ASKED, images=("wide.png",))
    limited = data_set(tmp_path, max_dynamic_patch=1)
    assert chat_sample(record, limited, preparation(), rng()).num_tiles == 1


def test_augmentation_is_the_data_set_s_choice_and_repeatable(tmp_path: Path) -> None:
    record = ChatRecord(turns=ASKED, images=("wide.png",))
    plain, *degraded = (
        chat_sample(record, data_set(tmp_path, data_augment=augment), preparation(), rng(3)).tiles_NHWC
        for augment in (False, True, True)
    )
    assert plain is not None
    assert degraded[0] is not None
    assert (plain != degraded[0]).any()
    np.testing.assert_array_equal(degraded[0], degraded[1])


def test_a_video_is_a_line_for_each_frame_and_a_delta_for_each(tmp_path: Path) -> None:
    folder = data_set(tmp_path)
    write_clip(tmp_path / "clip.mp4", levels=[0, 60, 120, 180])
    record = ChatRecord(turns=(Turn("user", "<video>\nWhat?"), ASKED[1]), video="clip.mp4")
    sample = chat_sample(record, folder, preparation(frames=(3, 3)), rng())
    context = "<img>" + "<IMG_CONTEXT>" * 4 + "</img>"
    lines = "".join(f"Frame-{number}: {context}\n" for number in (1, 2, 3))
    assert decoded(sample.ids_T).startswith(f"<|im_start|>user\n{lines}What?<|im_end|>")
    assert (sample.num_tiles, len(sample.deltas)) == (3, 3)


@pytest.mark.parametrize("images", [("none.png",), ("../x.png",)])
def test_a_missing_image_is_a_bad_record(drawings: DataSet, images: tuple[str, ...]) -> None:
    with pytest.raises(RecordError):
        chat_sample(ChatRecord(turns=ASKED, images=images), drawings, preparation(), rng())
