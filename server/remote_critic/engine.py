"""The critic of another internvl3 server: an implementation of `server.engine_interface.CriticEngine`.

It sends each answer as soon as it is finished, as a list of its steps, to `/v1/critic/score`. The media of
the question go over once. So another server returns the scores that a critic in this process would.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from server.critic_rules.delta import DeltaRule
from server.critic_rules.time_limit import ScoringTime
from server.engine_interface import CountTokens
from server.errors import TOO_LONG, ApiError
from server.media.transfer import OutgoingMedium, outgoing_media, outgoing_messages
from server.request_media import Media
from server.settings import Settings
from ttscaling.steps import split_steps
from ttscaling.types import Conversation, CriticError, StepScores, TokenUsage

from .connection import CriticConnection, MissingMedia
from .uploads import MediaUploads

ATTEMPTS = 3  # to score a question whose media the server may drop again
UNKNOWN = "unknown"  # the critic's name before its server was reached


class RemoteCriticEngine:
    """Scores with the critic behind a `CriticConnection`."""

    comes_back = True

    def __init__(self, connection: CriticConnection, settings: Settings, *, policy_delta: float) -> None:
        """`policy_delta` is the policy's delta in a request that names none."""
        self._connection = connection
        self._time = ScoringTime(settings.critic_seconds)
        self._delta_rule = DeltaRule(
            follows_request=settings.critic_delta == "request", policy_delta=policy_delta
        )
        self._tile_limits = {
            "min_dynamic_patch": settings.max_tiles,
            "max_dynamic_patch": settings.max_tiles,
            "max_dynamic_patch_total": settings.max_total_tiles,
        }
        self._uploads = MediaUploads(connection.put)

    @property
    def name(self) -> str:
        info = self._connection.info
        return UNKNOWN if info is None else info.name

    @property
    def alive(self) -> bool:
        return self._connection.is_up

    @property
    def tile_size(self) -> int | None:
        info = self._connection.info
        return None if info is None else info.tile_size

    @property
    def v2pe_delta(self) -> float | None:
        info = self._connection.info
        return None if info is None else info.v2pe_delta

    @property
    def setup(self) -> Mapping[str, Any] | None:
        info = self._connection.info
        return None if info is None else info.setup

    def keeps_scores(self, vision: Mapping[str, Any]) -> bool:
        own_delta = self.v2pe_delta  # unknown before the first score, with which there is nothing to keep
        return own_delta is None or self._delta_rule.keeps_scores(vision, own_delta)

    async def score(
        self, conversation: Conversation, answer: str, *, media: Media, count: CountTokens
    ) -> StepScores:
        steps = split_steps(answer)
        *attempts, last = self._delta_rule.attempts(conversation)
        try:
            for attempt in attempts:
                try:
                    return await self._score_steps(attempt, steps, media, count)
                except ApiError as error:
                    if error.code != TOO_LONG:
                        raise
            return await self._score_steps(last, steps, media, count)
        except ApiError as error:
            raise CriticError(error.message.rstrip(".")) from error

    async def score_answers(
        self,
        conversation: Conversation,
        answers: Sequence[Sequence[str]],
        *,
        media: Media,
        count: CountTokens,
    ) -> Sequence[StepScores | ApiError]:
        return await asyncio.gather(*(self._outcome(conversation, steps, media, count) for steps in answers))

    async def close(self) -> None:
        """End all requests to the server."""
        await self._uploads.close()
        await self._connection.close()

    async def _outcome(
        self, conversation: Conversation, steps: Sequence[str], media: Media, count: CountTokens
    ) -> StepScores | ApiError:
        try:
            return await self._score_steps(conversation, steps, media, count)
        except CriticError as error:
            return ApiError(f"The critic failed: {error}. Retry.", status=503, code="critic_failed")
        except ApiError as error:
            return error

    async def _score_steps(
        self, conversation: Conversation, steps: Sequence[str], media: Media, count: CountTokens
    ) -> StepScores:
        """Return the scores of an answer's steps. Raises CriticError and ApiError."""
        async with self._time.limit():
            outgoing = outgoing_media(conversation.messages, media)
            names = await self._uploads.names(outgoing)
            body = {
                "messages": outgoing_messages(conversation.messages, names),
                "answers": [list(steps)],
                "score_empty": True,
                **self._vision_fields(conversation.mm_processor_kwargs),
            }
            if conversation.cache_salt is not None:
                body["cache_salt"] = conversation.cache_salt
            by_name = {names[uuid]: medium for uuid, medium in outgoing.items()}
            reply = await self._reply(body, by_name, conversation.cache_salt)
            self._time.renew()
        return _read_scores(reply, count)

    async def _reply(
        self, body: Mapping[str, Any], media: Mapping[str, OutgoingMedium], cache_salt: str | None
    ) -> Mapping[str, Any]:
        """Return the server's reply, after it got the media that it lacks."""
        for _ in range(ATTEMPTS):
            begin = asyncio.get_running_loop().time()
            try:
                return await self._connection.score(body)
            except MissingMedia as error:
                await self._uploads.send(media, error.names, cache_salt=cache_salt, since=begin)
                self._time.renew()
        raise CriticError(
            "the critic's server doesn't keep the images and videos; raise its --critic-media-mib"
        )

    def _vision_fields(self, vision: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that have the images seen as a critic in this process would see them."""
        fields = {name: value for name, value in vision.items() if name != "video_timestamps"}
        for name, limit in self._tile_limits.items():
            if limit is not None and (name in fields or name != "min_dynamic_patch"):
                fields[name] = min(limit, fields.get(name, limit))
        if vision.get("video_timestamps"):
            fields["media_io_kwargs"] = {"video": {"timestamps": True}}
        return fields


def _read_scores(reply: Mapping[str, Any], count: CountTokens) -> StepScores:
    try:
        used, (entry,) = reply["usage"], reply["scores"]
        count(TokenUsage(critic_prompt=used["prompt_tokens"], critic_cached=used["cached_tokens"]))
        return StepScores(
            steps=tuple(entry["steps"]),
            scores=tuple(map(float, entry["step_scores"])),
            prompt_tokens=used["prompt_tokens"],
            cached_tokens=used["cached_tokens"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CriticError(f"the critic's server sent an unexpected reply ({type(error).__name__})") from error
