"""Items are grouped by their videos, and shards divide the videos."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.video_jobs.items.item import Item
from clients.video_jobs.run.servers import preference
from clients.video_jobs.run.video_group import Shard, grouped, shard_of

VIDEOS = st.lists(st.sampled_from(["a.mp4", "b/a.mp4", "s3://x/c.mp4", "\udcff.mp4"]), max_size=12)


@given(VIDEOS, st.integers(1, 7))
def test_every_item_is_in_one_shard_with_all_questions_on_its_video(videos: list[str], count: int) -> None:
    items = [Item(str(number), video, "q") for number, video in enumerate(videos)]
    shards = [[item for item in items if Shard(index, count).holds(item)] for index in range(count)]
    assert sorted(item.id for shard in shards for item in shard) == sorted(item.id for item in items)
    for video in videos:
        assert sum(any(item.video == video for item in shard) for shard in shards) == 1


@given(VIDEOS)
def test_groups_keep_the_order(videos: list[str]) -> None:
    items = [Item(str(number), video, "q") for number, video in enumerate(videos)]
    groups = list(grouped(items))
    assert [group.video for group in groups] == list(dict.fromkeys(videos))
    assert [item for group in groups for item in group.items] == sorted(
        items, key=lambda item: (videos.index(item.video), int(item.id))
    )


@pytest.mark.parametrize("text", ["", "1", "a/b", "-1/4", "4/4", "0/0", "1/2/3", "1 /2"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no shard"):
        shard_of(text)


def test_a_server_that_goes_away_gives_up_its_own_videos_only() -> None:
    urls = [f"http://server-{number}" for number in range(4)]
    videos = [f"{number}.mp4" for number in range(400)]

    def owner(video: str, among: list[str]) -> str:
        return max(among, key=lambda url: preference(video, url))

    before = {video: owner(video, urls) for video in videos}
    after = {video: owner(video, urls[1:]) for video in videos}
    assert all(after[video] == before[video] for video in videos if before[video] != urls[0])
    assert all(60 < list(before.values()).count(url) < 140 for url in urls)
