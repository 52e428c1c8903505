"""A refusal concerns a request, an item or the whole run, and says how long to wait."""

import pytest

from clients.video_jobs.run.failures import short
from clients.video_jobs.run.verdicts import LONGEST_WAIT, verdict


@pytest.mark.parametrize(
    ("status", "headers", "code", "kind"),
    [
        (400, {}, None, "refused"),
        (404, {}, "model_not_found", "refused"),
        (413, {}, None, "refused"),
        (415, {}, None, "refused"),
        (422, {}, None, "refused"),
        (401, {}, None, "no access"),
        (403, {}, None, "no access"),
        (429, {}, "insufficient_quota", "no access"),
        (429, {}, "rate_limit_exceeded", "busy"),
        (408, {}, None, "busy"),
        (502, {}, None, "busy"),
        (503, {}, "engine_busy", "busy"),
        (504, {}, None, "busy"),
        (503, {"x-should-retry": "false"}, "critic_failed", "failing"),
        (500, {}, None, "failing"),
        (599, {}, None, "failing"),
    ],
)
def test_what_a_refusal_concerns(status: int, headers: dict[str, str], code: str | None, kind: str) -> None:
    body = b'{"error": {"message": "no", "code": "%s"}}' % (code or "").encode()
    assert verdict(status, headers, body, attempt=0).kind == kind


def test_the_wait_is_the_servers_or_grows() -> None:
    def seconds(headers: dict[str, str], attempt: int) -> float:
        return verdict(429, headers, b"", attempt=attempt).seconds

    assert seconds({"retry-after": "7"}, 0) == 7.0
    assert seconds({"retry-after": "3600"}, 0) == LONGEST_WAIT
    assert 0.3 < seconds({}, 0) <= 0.5 < 1.4 < seconds({}, 2) <= 2.0
    assert seconds({}, 50) <= LONGEST_WAIT


def test_messages_are_short_lines_without_media() -> None:
    message = "bad\nvideo data:video/mp4;base64,AAAA/+== and " + "QUJD" * 100 + " " + "word " * 200
    text = short(message)
    assert text.startswith("bad video data:... and ... word word")
    assert len(text) <= 500
