"""A stream from files to packs takes every record once a pass, skips bad ones, and resumes exactly."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.ttscaling.train.data.material import data_set, preparation
from ttscaling.records.bad_records import BadRecords, RecordError, TooManyBadRecordsError
from ttscaling.records.chats import ChatRecord, Turn, chat_json, parse_chat
from ttscaling.records.jsonl import write_records
from ttscaling.records.meta import DataSet
from ttscaling.train.packs.draw_order import DrawOrder
from ttscaling.train.packs.mixture import Mixture, Shard
from ttscaling.train.packs.pack_stream import Corpus, DrawnSample, PackStream
from ttscaling.train.samples.chat_samples import chat_sample
from ttscaling.train.samples.sample import Sample
from ttscaling.train.settings.pack_limits import PackLimits

LIMITS = PackLimits(max_tokens=260, max_tiles=6, max_open=3)


def record(number: int, images: tuple[str, ...] = ()) -> ChatRecord:
    answer = "yes " * (1 + number % 7)
    return ChatRecord(turns=(Turn("user", f"{number}?"), Turn("assistant", answer)), images=images)


@pytest.fixture
def data_sets(tmp_path: Path) -> list[DataSet]:
    """13 records of text and 9 with an image; those with an image count twice and are degraded."""
    text = data_set(tmp_path, name="text")
    pictures = data_set(tmp_path, name="pictures", repeat_time=2.0, data_augment=True)
    write_records(text.annotation, (chat_json(record(n)) for n in range(13)))
    write_records(pictures.annotation, (chat_json(record(100 + n, ("wide.png",))) for n in range(9)))
    return [text, pictures]


def corpus(data_sets: list[DataSet]) -> Corpus[ChatRecord, Sample]:
    ready = preparation()
    return Corpus(data_sets, parse_chat, lambda r, d, rng: chat_sample(r, d, ready, rng), seed=5)


def stream(
    data_sets: list[DataSet], *, shard: Shard | None = None, limit: int | None = None, allowed: float = 0.0
) -> PackStream:
    opened = corpus(data_sets)
    mixture = Mixture(DrawOrder(opened.sources(), seed=5), shard=shard or Shard(), limit=limit)
    return PackStream(opened, mixture, LIMITS, BadRecords(allowed=allowed))


def contents(
    packs: list[tuple[DrawnSample[Sample], ...]],
) -> list[list[tuple[int, bytes, bytes, tuple[float, ...]]]]:
    """Return all values of packs that can differ."""
    return [
        [
            (
                drawn.draw.number,
                drawn.sample.ids_T.tobytes(),
                b"" if drawn.sample.tiles_NHWC is None else drawn.sample.tiles_NHWC.tobytes(),
                drawn.sample.deltas,
            )
            for drawn in pack
        ]
        for pack in packs
    ]


def test_packs_are_within_limits_and_lose_no_draw(data_sets: list[DataSet]) -> None:
    packs = list(stream(data_sets, limit=60))
    assert sorted(drawn.draw.number for pack in packs for drawn in pack) == list(range(60))
    for pack in packs:
        assert sum(drawn.num_tokens for drawn in pack) <= LIMITS.max_tokens
        assert sum(drawn.num_tiles for drawn in pack) <= LIMITS.max_tiles
    assert max(len(pack) for pack in packs) > 1


def test_a_pass_counts_repeats_and_a_part_is_the_file_s_beginning(data_sets: list[DataSet]) -> None:
    sources = corpus(data_sets).sources()
    assert [(source.length, source.weight) for source in sources] == [(13, 13), (9, 18)]
    assert DrawOrder(sources, seed=1).one_pass == 31
    half = DataSet(name="half", root=data_sets[0].root, annotation=data_sets[0].annotation, repeat_time=0.5)
    (source,) = corpus([half]).sources()
    assert (source.length, source.weight) == (6, 6.5)
    chosen = corpus(data_sets).sources({"text": 1, "pictures": 3})
    assert [source.weight for source in chosen] == [1, 3]
    with pytest.raises(ValueError, match="no weight for the data set 'pictures'"):
        corpus(data_sets).sources({"text": 1})


@pytest.mark.parametrize("after", [0, 1, 5, 11])
def test_a_restored_stream_goes_on_exactly(data_sets: list[DataSet], after: int) -> None:
    first = stream(data_sets, shard=Shard(1, 2), limit=120)
    list(islice(first, after))
    state = json.loads(json.dumps(first.state()))
    expected = contents(list(first))
    again = stream(data_sets, shard=Shard(1, 2), limit=120)
    again.restore(state)
    assert contents(list(again)) == expected
    assert again.bad_records == first.bad_records


def test_shards_share_the_work(data_sets: list[DataSet]) -> None:
    numbers = [
        {drawn.draw.number for pack in stream(data_sets, shard=Shard(rank, 2), limit=50) for drawn in pack}
        for rank in range(2)
    ]
    assert numbers[0] | numbers[1] == set(range(50))
    assert not numbers[0] & numbers[1]


def test_bad_records_are_named_by_file_and_line_and_skipped(data_sets: list[DataSet]) -> None:
    with data_sets[1].annotation.open("a") as file:
        file.write(json.dumps(chat_json(record(1, ("gone.png",)))) + "\n")
        file.write(json.dumps(chat_json(record(2, ("wide.png",) * 3))).replace("yes", "yes " * 90) + "\n")
    packs = stream(data_sets, limit=93, allowed=0.4)
    taken = [drawn.draw.number for pack in packs for drawn in pack]
    assert packs.bad_records.bad + packs.bad_records.too_long == 93 - len(taken)
    assert packs.bad_records.bad > 0 and packs.bad_records.too_long > 0
    assert any(
        "pictures.jsonl:10: there is no file 'gone.png'" in line for line in packs.bad_records.examples
    )
    assert not any("pictures.jsonl:11" in line for line in packs.bad_records.examples)
    with pytest.raises(TooManyBadRecordsError, match=r"pictures\.jsonl:1"):
        list(stream(data_sets, limit=93, allowed=0.001))


def test_samples_that_are_too_long_stop_no_run(
    data_sets: list[DataSet], caplog: pytest.LogCaptureFixture
) -> None:
    """They are no bad records, so they may be more than the allowed share of these."""
    with data_sets[0].annotation.open("a") as file:
        for number in range(13):
            text = json.dumps(chat_json(record(number))).replace("yes", "yes " * 90)
            file.write(text + "\n")
    packs = stream(data_sets, limit=88, allowed=0.0)
    taken = sum(len(pack) for pack in packs)
    assert packs.bad_records.bad == 0
    assert packs.bad_records.too_long == 88 - taken > 10
    assert "text.jsonl:14: " in caplog.text and "don't fit into a pack of 260" in caplog.text
    restored = stream(data_sets, limit=88)
    restored.restore(json.loads(json.dumps(packs.state())))
    assert restored.bad_records == packs.bad_records


def test_a_record_that_vanished_stops_a_resumption(data_sets: list[DataSet], tmp_path: Path) -> None:
    first = stream(data_sets)
    next(first)
    state = first.state()
    assert any(draw["source"] == 1 for pack in state["waiting"] for draw in pack)
    (tmp_path / "wide.png").unlink()
    with pytest.raises(RecordError, match=r"no file 'wide\.png'"):
        stream(data_sets).restore(state)


def test_random_numbers_of_a_draw_depend_on_its_number_only(data_sets: list[DataSet]) -> None:
    packs = list(stream(data_sets, limit=40))
    drawn = next(item for pack in packs for item in pack if item.draw.number == 33)
    again = corpus(data_sets).sample(drawn.draw, LIMITS)
    assert again.deltas == drawn.sample.deltas
    np.testing.assert_array_equal(again.ids_T, drawn.sample.ids_T)
