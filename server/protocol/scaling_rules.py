"""The rules for `test_time_scaling` and its short forms, and the refusals of requests that break them."""

from collections.abc import Iterator, Mapping
from typing import Any

from server.errors import ApiError
from server.settings import Settings
from ttscaling.types import OnCriticError

from .request_fields import ChatFields, ScalingFields


def check_limits(param: str, value: int, most: int) -> None:
    """Raise ApiError unless a number lies between 1 and `most`. `param` is `model` for the N of an alias."""
    if not 1 <= value <= most:
        name = "the N of NAME:boN" if param == "model" else param
        raise ApiError(f"{name} must be between 1 and {most}, not {value}.", param=param)


def requested_scaling(
    fields: ChatFields, alias_n: int | None, on_critic_error: OnCriticError
) -> ScalingFields | None:
    """Return the scaling that a request asks for, by its fields or by the alias; None for a plain generation.

    One candidate by `best_of` or the alias is a plain generation. `on_critic_error` is the operator's default
    for requests that don't say it. Raises ApiError for contradictory fields.
    """
    if fields.best_of is not None and fields.test_time_scaling is not None:
        raise ApiError("best_of is short for test_time_scaling. Send one of the two.", param="best_of")
    scaling = fields.test_time_scaling
    if scaling is not None:
        if scaling.method == "none":
            return None
        chosen = "on_critic_error" in scaling.model_fields_set
        return scaling if chosen else scaling.model_copy(update={"on_critic_error": on_critic_error})
    n = alias_n if fields.best_of is None else fields.best_of
    return None if n is None or n == 1 else ScalingFields(n=n, on_critic_error=on_critic_error)


def check_plain(n: int, fields: ChatFields, alias_n: int | None) -> None:
    """Raise ApiError if a plain generation has more answers to return than its one candidate."""
    if n > 1 and 1 in (fields.best_of, alias_n):
        raise ApiError(
            f"n must not be above the number of candidates, but it is {n} and there is 1. Raise best_of.",
            param="n",
        )


def refuse_scaling(body: Mapping[str, Any], alias_n: int | None) -> None:
    """Raise ApiError if a request asks for test-time scaling at an endpoint that has none.

    `alias_n` is the N of its model's name NAME:boN. One candidate is no scaling.
    """
    scaling = body.get("test_time_scaling")
    asks = {
        "test_time_scaling": scaling is not None and scaling != {"method": "none"},
        "best_of": body.get("best_of") not in (None, 1),
        "model": alias_n not in (None, 1),
    }
    for param, is_asked in asks.items():
        if is_asked:
            raise ApiError(
                "This endpoint writes one candidate for each answer. Test-time scaling is at "
                "/v1/chat/completions and /v1/responses; "
                f"{'send the model without :boN' if param == 'model' else f'leave {param} out'} here.",
                param=param,
                code="unsupported_parameter",
            )


def _unsupported_field(scaling: ScalingFields, n: int) -> Iterator[tuple[str, str]]:
    """Yield each field that the method can't honour, with the message that says what to change."""
    beams = scaling.method == "beam_search"
    if not scaling.by_critic:
        if scaling.stop_score is not None:
            yield "stop_score", "stop_score needs a critic's scores. Send stop_agreement, or another method."
        if scaling.abandon_losers:
            yield (
                "abandon_losers",
                "abandon_losers needs a critic's scores. Leave it out, or send another method.",
            )
    if scaling.abandon_losers and scaling.method == "weighted_vote":
        yield "abandon_losers", "The scores of losers count in a vote. Leave abandon_losers out."
    if scaling.abandon_losers and n > 1:
        yield "abandon_losers", f"abandon_losers leaves one answer, but n is {n}. Leave one of them out."
    if scaling.beam_width is not None and not beams:
        yield "beam_width", "beam_width needs beam_search. Send method beam_search, or leave beam_width out."
    if not beams:
        return
    if scaling.width > scaling.n:
        yield (
            "beam_width",
            f"beam_width must not be above n, but it is {scaling.width} and n is {scaling.n}.",
        )
    if n > scaling.width:
        yield (
            "beam_width",
            f"A search with beam_width {scaling.width} can't return {n} answers. Send a beam_width of {n}.",
        )
    for name in ("stop_agreement", "max_parallel"):
        if getattr(scaling, name) is not None:
            yield name, f"beam_search can't use {name}. Leave it out, or send another method."
    if scaling.abandon_losers:
        yield "abandon_losers", "beam_search always drops losers. Leave abandon_losers out."


def check_abandoning(scaling: ScalingFields, vision: Mapping[str, Any]) -> None:
    """Raise ApiError if losers shall be ended by scores that may change while their answers grow.

    With delta "auto" the length of an answer decides how the critic sees the images.
    """
    if scaling.abandon_losers and vision.get("v2pe_delta") == "auto":
        raise ApiError(
            "abandon_losers needs a fixed delta. Send a number as v2pe_delta, or leave abandon_losers out.",
            param="test_time_scaling.abandon_losers",
        )


def check_scaling(
    scaling: ScalingFields, n: int, fields: ChatFields, body: Mapping[str, Any], settings: Settings
) -> None:
    """Raise ApiError if the fields of a scaled request contradict each other or the server's settings.

    `n` is the number of answers to return, and `body` the whole request.
    """
    param = "best_of" if fields.test_time_scaling is None else "test_time_scaling.n"
    check_limits(param, scaling.n, settings.max_best_of)
    if n > scaling.n:
        raise ApiError(
            f"n must not be above the number of candidates, but it is {n} and there are {scaling.n}.",
            param="n",
        )
    if body.get("use_beam_search"):
        raise ApiError(
            "use_beam_search and best_of exclude each other. Send one of the two.", param="use_beam_search"
        )
    for name, misuse in _unsupported_field(scaling, n):
        raise ApiError(misuse, param=f"test_time_scaling.{name}")
    if scaling.by_critic and not settings.has_critic:
        raise ApiError(
            "This server runs without a critic. Send test_time_scaling with method self_consistency.",
            param="test_time_scaling.method",
        )
