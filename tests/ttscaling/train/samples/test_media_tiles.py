"""Media paths stay below the root but for links; tiles are the model's, with JPEG compression on request."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.images.tiling import TilingConfig, tile_image
from ttscaling.records.bad_records import RecordError
from ttscaling.records.media_paths import media_path, read_image
from ttscaling.train.samples.media_tiles import image_tiles, jpeg_degraded, tiling_of_several, video_frames

TILING = TilingConfig(56, min_tiles=1, max_tiles=6, use_thumbnail=True)


def picture(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng([width, height])
    small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    inside = tmp_path / "root"
    (inside / "deep").mkdir(parents=True)
    picture(100, 50).save(inside / "deep/a.png")
    picture(50, 100).save(tmp_path / "outside.png")
    (inside / "link.png").symlink_to(tmp_path / "outside.png")
    (inside / "inner.png").symlink_to(inside / "deep/a.png")
    (inside / "broken.png").write_bytes((inside / "deep/a.png").read_bytes()[:60])
    return inside


@pytest.mark.parametrize("path", ["deep/a.png", "deep/../deep/a.png", "inner.png"])
def test_a_path_below_the_root(root: Path, path: str) -> None:
    assert media_path(root, path) == (root / "deep/a.png").resolve()


def test_links_are_followed_out_of_the_root(root: Path, tmp_path: Path) -> None:
    """As in a laboratory's layout, where data/coco is a link to another disk."""
    disk = tmp_path / "disk" / "coco"
    disk.mkdir(parents=True)
    picture(40, 40).save(disk / "b.png")
    (root / "coco").symlink_to(disk)
    assert media_path(root, "coco/b.png") == disk / "b.png"
    assert media_path(root, "link.png") == tmp_path / "outside.png"
    with pytest.raises(RecordError, match="there is no file"):
        media_path(root, "coco/../b.png")  # the text counts, so it is a file of the root


@pytest.mark.parametrize("path", ["..", "../outside.png", "deep/../../outside.png", "../root/deep/a.png"])
def test_a_path_out_of_the_root(root: Path, path: str) -> None:
    with pytest.raises(RecordError, match="leads out of the root"):
        media_path(root, path)


def test_an_absolute_path(root: Path) -> None:
    with pytest.raises(RecordError, match="leads out of the root"):
        media_path(root, str(root.parent / "outside.png"))


def test_links_in_a_circle(root: Path) -> None:
    (root / "circle.png").symlink_to(root / "circle.png")
    with pytest.raises(RecordError, match=r"circle\.png"):
        media_path(root, "circle.png")


@pytest.mark.parametrize("path", ["deep/b.png", "deep", "s3://bucket/a.png"])
def test_no_such_file(root: Path, path: str) -> None:
    with pytest.raises(RecordError, match="there is no file"):
        media_path(root, path)


@pytest.mark.parametrize("path", ["data:image/png;base64," + "A" * 5000, "a\0.png"])
def test_what_is_no_path(root: Path, path: str) -> None:
    with pytest.raises(RecordError, match=r"is no path .* name a file below"):
        media_path(root, path)


def test_a_broken_image_is_named(root: Path) -> None:
    with pytest.raises(RecordError, match=r"broken\.png can't be decoded"):
        read_image(root / "broken.png")


def test_tiles_are_those_of_the_model(root: Path) -> None:
    (tiles,) = image_tiles([root / "deep/a.png"], TILING, augment=None)
    np.testing.assert_array_equal(tiles, tile_image(picture(100, 50), TILING))


@pytest.mark.parametrize(("images", "most"), [(1, 6), (2, 3), (4, 1), (9, 1)])
def test_several_images_share_the_tiles(images: int, most: int) -> None:
    assert tiling_of_several(TILING, images).max_tiles == most


def test_sharing_gives_way_to_no_larger_minimum() -> None:
    least_two = TilingConfig(56, min_tiles=2, max_tiles=6, use_thumbnail=True)
    assert tiling_of_several(least_two, 4) == TilingConfig(56, 1, 1, use_thumbnail=True)


def test_jpeg_is_repeatable_different_for_each_tile_and_mild() -> None:
    tile = np.asarray(picture(56, 56))
    noisy = np.clip(tile + np.random.default_rng(0).integers(-40, 40, tile.shape), 0, 255).astype(np.uint8)
    tiles_NHWC = np.stack([noisy] * 8)
    once, twice, other = (jpeg_degraded(tiles_NHWC, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, twice)
    assert (once != other).any()
    assert any((once[0] != degraded).any() for degraded in once[1:])
    assert 0 < np.abs(once.astype(int) - tiles_NHWC).mean() < 20


def test_augmentation_degrades_all_tiles_of_an_image(root: Path) -> None:
    paths = [root / "deep/a.png", root / "inner.png"]
    plain = image_tiles(paths, TILING, augment=None)
    degraded = image_tiles(paths, TILING, augment=np.random.default_rng(0))
    assert [tiles.shape for tiles in degraded] == [tiles.shape for tiles in plain]
    assert all((one != other).any() for one, other in zip(plain, degraded, strict=True))


def test_frames_of_a_video_are_one_tile_each(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, levels=[20, 90, 160, 230])
    frames_NHWC = video_frames(path, 4, TILING)
    assert frames_NHWC.shape == (4, 56, 56, 3)
    assert frames_NHWC.mean(axis=(1, 2, 3)) == pytest.approx([20, 90, 160, 230], abs=6)


def test_a_broken_video_is_named(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(RecordError, match=r"clip\.mp4 can't be decoded"):
        video_frames(path, 4, TILING)


def write_clip(path: Path, levels: list[int]) -> None:
    """Write a video of single-coloured frames of 64 x 48 pixels, one per second."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in levels:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
