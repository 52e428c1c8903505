"""The stats of hand-made prompts whose positions are known."""

from types import SimpleNamespace

from server.vllm_engine.policy.prompt_stats import prompt_stats


def prompt(length: int, **media) -> dict:
    placeholders = {
        name: [SimpleNamespace(offset=offset, length=length) for offset, length in spans]
        for name, spans in media.get("placeholders", {}).items()
    }
    hashes = {name: ["hash"] * len(spans) for name, spans in placeholders.items()}
    hashes["v2pe"] = [f"v2pe:{delta!r}" for delta in media.get("deltas", ())]
    return {"prompt_token_ids": [0] * length, "mm_placeholders": placeholders, "mm_hashes": hashes}


def test_text_alone():
    stats = prompt_stats({"prompt_token_ids": [1, 2, 3]}, tokens_per_tile=4)
    assert (stats.highest_position, stats.next_position) == (2, 3)
    assert (stats.deltas, stats.tiles, stats.frames) == ((), 0, 0)


def test_one_image():
    # t t <img> 8 visual </img>: positions 0 1 2, 2.25 ... 4, 5
    stats = prompt_stats(
        prompt(12, placeholders={"v2pe": [(2, 1)], "image": [(3, 8)]}, deltas=[0.25]), tokens_per_tile=4
    )
    assert (stats.highest_position, stats.next_position) == (5, 6)
    assert (stats.deltas, stats.tiles, stats.frames) == ((0.25,), 2, 0)


def test_a_delta_holds_until_the_next():
    placeholders = {"v2pe": [(0, 1), (9, 1)], "video": [(1, 2), (5, 2)], "image": [(10, 2)]}
    # <img> v v </img> <img> v v </img> t <img> v v </img>
    # 0, .5 1, 2, 3, 3.5 4, 5, 6, 7, 8 9, 10
    stats = prompt_stats(prompt(13, placeholders=placeholders, deltas=[0.5, 1.0]), tokens_per_tile=2)
    assert (stats.highest_position, stats.next_position) == (10, 11)
    assert (stats.deltas, stats.tiles, stats.frames) == ((0.5, 1.0), 3, 2)
