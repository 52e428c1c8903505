"""Loading the images of a conversation: good ones are decoded once, others are refused with their field."""

import asyncio
import base64
import hashlib
import io
import struct
import threading
import zlib
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import pytest
from PIL import Image

from model.media_in_text import INLINE
from model.video.frames import FrameRequest
from server.errors import ApiError
from server.media.budget import Budget
from server.media.in_flight import BytesInFlight, HeldBytes
from server.media.loader import MediaLoader
from server.request_media import LoadedImage, VideoOptions
from server.telemetry.metrics import Metrics
from tests.server.apps import free_ticket, settings
from tests.server.fakes import FakeEngine

PUBLISHED = VideoOptions(frames=FrameRequest(), max_tiles=1)


def budget(**chosen) -> Budget:
    """The budget of a request with these settings, on a server that has room for it."""
    return Budget(settings(**chosen), HeldBytes(BytesInFlight(256)), free_ticket())


def encoded(form: str, size=(40, 30), mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(file, form)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """Return a small PNG whose header promises width x height pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def data_url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def image_messages(*urls: str) -> list[dict]:
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [*images, {"type": "text", "text": "What is it?"}]}]


async def read(
    messages: list[dict],
    video_options: VideoOptions = PUBLISHED,
    metrics: Metrics | None = None,
    vision: Mapping[str, Any] = MappingProxyType({}),
    **chosen,
):
    media = MediaLoader(settings(**chosen), metrics or Metrics())
    try:
        return await media.load(messages, video_options, FakeEngine.tiling, budget(**chosen), vision=vision)
    finally:
        media.close()


async def load(messages: list[dict], **chosen):
    loaded, _ = await read(messages, **chosen)
    return loaded


async def refused(messages: list[dict], **chosen) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await read(messages, **chosen)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
async def test_an_image_becomes_a_handle_and_its_pixels(form):
    data = encoded(form)
    (message,), media = await read(image_messages(data_url(data, "image/anything")))
    part, text = message["content"]
    key = hashlib.sha256(data).hexdigest()
    assert part == {
        "type": "image_url",
        "image_url": {"url": f"internvl3:{key}"},
        "uuid": key,
        INLINE: False,
    }
    assert text == {"type": "text", "text": "What is it?"}
    (image,) = media.values()
    assert list(media) == [f"internvl3:{key}"] and isinstance(image, LoadedImage) and image.file == data
    assert image.pixels.tobytes() == Image.open(io.BytesIO(data)).convert("RGB").tobytes()


async def test_an_image_that_comes_twice_is_decoded_once(decoded_images: list[str]):
    first, second = encoded("JPEG"), encoded("PNG")
    (message,), media = await read(image_messages(*map(data_url, (first, second, first))))
    handles = [part["image_url"]["url"] for part in message["content"][:3]]
    assert handles[0] == handles[2] != handles[1] and set(handles) == set(media)
    assert sorted(decoded_images) == ["JPEG", "PNG"]


async def test_the_pixels_of_an_image_count_before_it_is_decoded(decoded_images: list[str]):
    image = encoded("PNG", (1000, 600))
    held = HeldBytes(BytesInFlight(64))
    media = MediaLoader(settings(), Metrics())
    small = HeldBytes(BytesInFlight(64, request_mib=2))
    try:
        messages = image_messages(data_url(image))
        load_with = partial(media.load, messages, PUBLISHED, FakeEngine.tiling, vision={})
        await load_with(budget=Budget(settings(), held, free_ticket()))
        assert held.count == len(image) + 4 * 1000 * 600
        with pytest.raises(ApiError, match="more than 2 MiB"):
            await load_with(budget=Budget(settings(), small, free_ticket()))
    finally:
        media.close()
    assert decoded_images == ["PNG"]


async def test_an_images_cache_key_is_its_bytes_not_the_clients_word():
    first, second = encoded("PNG"), encoded("PNG", (41, 30))
    messages = image_messages(data_url(first), data_url(second), data_url(first))
    for part in messages[0]["content"]:
        part["uuid"] = "same"
    content = (await load(messages))[0]["content"]
    assert content[0]["uuid"] == content[2]["uuid"] != content[1]["uuid"]
    assert "uuid" not in content[3]


async def test_text_conversations_pass_unchanged():
    messages: list[dict] = [
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": None, "tool_calls": []},
    ]
    assert await load(messages) == tuple(messages)


@pytest.mark.parametrize(
    "data",
    [b"", b"not an image", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>"],
)
async def test_what_is_no_image(data):
    error = await refused(image_messages(data_url(data)))
    assert error.code == "invalid_image" and "JPEG" in error.message
    assert error.param == "messages[0].content[0].image_url"


@pytest.mark.parametrize("form", ["TIFF", "ICO", "PPM", "TGA", "JPEG2000"])
async def test_formats_that_are_left_out_on_purpose(form):
    assert (await refused(image_messages(data_url(encoded(form))))).code == "invalid_image"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP"])
async def test_images_cut_off(form):
    data = encoded(form, (200, 150))
    error = await refused(image_messages(data_url(data[: len(data) // 2])))
    assert error.code == "invalid_image"


@pytest.mark.parametrize("side", [20_000, 11_000])
async def test_pixel_bombs_are_refused_from_their_header(side):
    error = await refused(image_messages(data_url(bomb(side, side))))
    assert error.code == "image_too_large" and "100000000" in error.message


async def test_pixels_are_counted_over_the_request():
    image = data_url(encoded("PNG", (10, 10)))
    await load(image_messages(image, image), max_pixels=200)
    error = await refused(image_messages(image, image, image), max_pixels=250)
    assert error.code == "image_too_large" and error.param == "messages[0].content[2].image_url"


async def test_a_webp_has_a_limit_of_its_own():
    """Its decoder lets nothing else run, so 34 million pixels are too many; a JPEG of them is fine."""
    files = {}
    for form in ("WEBP", "JPEG"):
        file = io.BytesIO()
        Image.new("L", (8192, 4097)).save(file, form)
        files[form] = file.getvalue()
    error = await refused(image_messages(data_url(files["WEBP"])))
    assert error.code == "image_too_large" and "33554432 pixels" in error.message
    _, media = await read(image_messages(data_url(files["JPEG"])))
    assert [image.pixels.size for image in media.values() if isinstance(image, LoadedImage)] == [(8192, 4097)]


async def test_too_many_images():
    image = data_url(encoded("PNG"))
    assert "2 images, not 3" in (await refused(image_messages(image, image, image), max_images=2)).message


async def test_too_many_bytes():
    data = encoded("BMP", (100, 100))
    assert "1000 bytes" in (await refused(image_messages(data_url(data)), max_image_bytes=1000)).message


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png,abc",
        "data:;base64",
        "data:image/png;base64,!!!",
        "data:image/png;base64,QUJ\nD",
        "data:",
    ],
)
async def test_data_urls_that_are_malformed(url):
    assert (await refused(image_messages(url))).param == "messages[0].content[0].image_url"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video", "video": "http://127.0.0.1/v.mp4"},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "audio_url", "audio_url": {"url": "file:///etc/passwd"}},
        {"type": "image_embeds", "image_embeds": "AAAA"},
        {"type": "image_pil", "image_pil": "x"},
        {"type": "prompt_embeds", "data": "AAAA"},
        {"type": "input_image", "image_url": "http://127.0.0.1/"},
        {"image_url": "http://127.0.0.1/"},
        {"type": ["text"], "text": "x"},
        "bare text",
        None,
    ],
)
async def test_parts_that_are_not_text_image_or_video(part):
    error = await refused([{"role": "user", "content": [part]}])
    assert "not supported yet" in error.message and error.param == "messages[0].content[0].type"


async def test_a_text_part_carries_nothing_but_text():
    smuggled = {"type": "text", "text": "hi", "image_url": "http://127.0.0.1/", "uuid": "x"}
    (message,) = await load([{"role": "tool", "tool_call_id": "1", "content": [smuggled]}])
    assert message == {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "hi"}]}


@pytest.mark.parametrize("image_url", [None, 5, {}, {"url": None}, {"url": ["x"]}])
async def test_image_parts_without_a_url(image_url):
    error = await refused([{"role": "user", "content": [{"type": "image_url", "image_url": image_url}]}])
    assert (error.code, error.param) == ("invalid_image_url", "messages[0].content[0].image_url")


async def test_a_slow_name_server_delays_no_inline_image(monkeypatch: pytest.MonkeyPatch):
    """A lookup blocks its thread, and once shared the threads that decode everybody's data: URLs."""
    answered = threading.Event()

    def never(*address: object, **options: object) -> list[object]:
        answered.wait(30)
        return []

    media = MediaLoader(settings(fetch_seconds=20), Metrics())
    monkeypatch.setattr("socket.getaddrinfo", never)
    slow = [
        asyncio.create_task(
            media.load(
                image_messages(f"http://slow-{n}.example/x.png"),
                PUBLISHED,
                FakeEngine.tiling,
                budget(),
                vision={},
            )
        )
        for n in range(64)
    ]
    try:
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in slow)
        inline = image_messages(data_url(encoded("PNG")))
        async with asyncio.timeout(10):
            await media.load(inline, PUBLISHED, FakeEngine.tiling, budget(), vision={})
    finally:
        answered.set()
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        media.close()


async def test_one_budget_holds_for_all_conversations_of_a_request():
    media = MediaLoader(settings(max_images=2, max_pixels=250), Metrics())
    shared = budget(max_images=2, max_pixels=250)
    image = data_url(encoded("PNG", (10, 10)))
    for _ in range(2):
        await media.load(image_messages(image), PUBLISHED, FakeEngine.tiling, shared, vision={})
    with pytest.raises(ApiError, match="hold 2 images, not 3"):
        await media.load(image_messages(image), PUBLISHED, FakeEngine.tiling, shared, vision={})
    large = budget(max_images=9, max_pixels=250)
    await media.load(image_messages(image, image), PUBLISHED, FakeEngine.tiling, large, vision={})
    with pytest.raises(ApiError, match="hold 250 in all"):
        await media.load(image_messages(image), PUBLISHED, FakeEngine.tiling, large, vision={})
    media.close()


@pytest.mark.parametrize(
    ("order", "expected"),
    [("ti", "it"), ("tti", "itt"), ("tii", "iit"), ("it", "it"), ("tit", "tit"), ("t", "t")],
)
async def test_images_after_all_texts_come_first(order: str, expected: str):
    """Models were trained with a message's images before its text; many clients send them behind it."""
    image = {"type": "image_url", "image_url": {"url": data_url(encoded("PNG", (10, 10)))}}
    parts = [image if kind == "i" else {"type": "text", "text": f"{n}"} for n, kind in enumerate(order)]
    (message,) = await load([{"role": "user", "content": parts}])
    kinds = "".join(part["type"][0] for part in message["content"])
    assert kinds == expected
    texts = [part["text"] for part in message["content"] if part["type"] == "text"]
    assert texts == [part["text"] for part in parts if part["type"] == "text"]


@pytest.mark.parametrize(
    ("order", "word", "expected"),
    [
        ("ti", "<image>", ["", "i", "\nWhat?"]),
        ("ti", "a word", ["i", "a word\nWhat?"]),
        ("it", "<image> <image>", ["i", "<image> <image>\nWhat?"]),
    ],
)
async def test_a_word_for_each_image_says_where_it_stands(order: str, word: str, expected: list[str]):
    image = {"type": "image_url", "image_url": {"url": data_url(encoded("PNG", (10, 10)))}}
    text = {"type": "text", "text": f"{word}\nWhat?"}
    (message,) = await load([{"role": "user", "content": [image if kind == "i" else text for kind in order]}])
    assert [part.get("text", "i") for part in message["content"]] == expected
