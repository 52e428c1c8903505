"""A preference pair becomes one sample; the tests of packs and objectives cover its packing and losses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.image_tokens import IMAGE_CONTEXT
from tests.ttscaling.train.data.material import data_set, preparation
from ttscaling.records.bad_records import RecordError
from ttscaling.records.pairs import PairRecord
from ttscaling.train.samples.pair_samples import CHOSEN, REJECTED, pair_sample

RECORD = PairRecord(question="What is it?", chosen="A cat.", rejected="Dog", images=("wide.png",))


def test_both_responses_are_supervised_once_and_their_end(tmp_path: Path) -> None:
    pair = pair_sample(RECORD, data_set(tmp_path), preparation(), np.random.default_rng(1))
    for response, text in ((CHOSEN, RECORD.chosen), (REJECTED, RECORD.rejected)):
        assert (pair.response_T == response).sum() == len(text) + 1
    assert np.array_equal(pair.sample.weight_T > 0, pair.response_T >= 0)


@pytest.mark.parametrize(
    "record",
    [replace(RECORD, chosen=f"A {IMAGE_CONTEXT} cat."), replace(RECORD, rejected=IMAGE_CONTEXT)],
)
def test_an_image_token_in_a_response_is_a_bad_record(tmp_path: Path, record: PairRecord) -> None:
    with pytest.raises(RecordError, match=f"remove {IMAGE_CONTEXT} from the texts"):
        pair_sample(record, data_set(tmp_path), preparation(), np.random.default_rng(1))
