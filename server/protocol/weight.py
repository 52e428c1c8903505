"""Estimate how many tokens a request will take, before its media are fetched and its prompt is rendered."""

from collections.abc import Mapping, Sequence
from typing import Any

from server.request_media import VideoOptions, holds_frames

from .chat_call import ChatCall
from .completion_call import CompletionCall
from .prompt_rules import characters_of_texts, count_media
from .video_fields import video_urls

ANSWER_TOKENS = 1024  # of an answer without max_tokens
TILE_TOKENS = 256  # of all published InternVL3 checkpoints
DEFAULT_COMPLETION = 16  # tokens, as OpenAI's API has it
CHARACTERS_PER_TOKEN = 4
DEFAULT_TILES = 12  # of an image for which the request names none, as published


def chat_weight(call: ChatCall, window: int) -> int:
    """Return about how many tokens the engines will read and write for a chat request.

    The prompt counts once for each model that reads it, because a prefix cache serves the candidates after
    the first. An answer counts for each candidate, and again if the critic reads it. Neither prompt nor
    answer can be longer than the `window` of the policy, in tokens.
    """
    candidates = call.n if call.scaling is None else call.scaling.n
    models = 1 if call.scaling is None or not call.scaling.by_critic else 2
    limit = call.body.get("max_completion_tokens") or call.body.get("max_tokens")
    answer = limit if isinstance(limit, int) and limit > 0 else ANSWER_TOKENS
    return models * (prompt_weight(call, window) + candidates * min(answer, window))


def completion_weight(call: CompletionCall, window: int) -> int:
    """Return about how many tokens the policy will read and write for a request for text completions.

    A text has at least one token for 4 characters or so. No prompt is longer than the `window`, in tokens.
    """
    limit = call.body.get("max_tokens")
    answer = limit if isinstance(limit, int) and limit > 0 else DEFAULT_COMPLETION
    return sum(
        min(len(prompt) // (CHARACTERS_PER_TOKEN if isinstance(prompt, str) else 1), window)
        + call.body["n"] * min(answer, window)
        for prompt in call.prompts
    )


def prompt_weight(call: ChatCall, window: int) -> int:
    """Return about how many tokens the prompt of a chat request has, at most `window`."""
    messages = call.body["messages"]
    tiles = count_media(messages, ("image_url",)) * call.vision.get("max_dynamic_patch", DEFAULT_TILES)
    for url in video_urls(messages):
        frames = _most_frames(url, call.video)
        tiles += window if frames is None else frames * call.video.max_tiles
    return min(characters_of_texts(messages) // CHARACTERS_PER_TOKEN + tiles * TILE_TOKENS, window)


def _most_frames(url: str, options: VideoOptions) -> int | None:
    """Return how many frames are taken of a video at most; None if only its file shows that."""
    are_extracted = holds_frames(url)
    chosen = options.extracted if are_extracted else options.frames
    named = chosen.num_frames if chosen.times is None else len(chosen.times)
    sent = url.count(",") if are_extracted else None  # one before each frame
    return min((count for count in (named, sent) if count is not None), default=None)


def scoring_weight(messages: Sequence[Mapping[str, Any]], characters: int, window: int) -> int:
    """Return about how many tokens the critic reads to score answers.

    Args:
        messages: the question, whose media a prefix cache serves after the first answer.
        characters: of the answers, and of the question's texts for each of them.
        window: the longest prompt, in tokens.
    """
    tiles = count_media(messages) * DEFAULT_TILES
    return characters // CHARACTERS_PER_TOKEN + min(tiles * TILE_TOKENS, window)
