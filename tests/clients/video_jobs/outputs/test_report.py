"""The report shows what a job has found, runs nothing, and loads nothing."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from clients.video_jobs.outputs.html import as_text, element
from clients.video_jobs.outputs.report import write_report
from clients.video_jobs.outputs.thumbnails import keep_thumbnails
from clients.video_jobs.questions import Event
from tests.clients.video_jobs.outputs.folders import error_of, line_of, write_job

JPEG = b"\xff\xd8jpeg"
EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\" onload='x'&amp;\x1b[2J\x00"


class Page(HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_answers_events_failures_and_tokens_are_shown(tmp_path: Path) -> None:
    events = (Event(2.0, 4.0, "a dog barks"),)
    write_job(tmp_path, [line_of("a.mp4", "It barks.", events)], [error_of("b.mp4"), error_of("c.mp4")])
    keep_thumbnails(tmp_path, "a.mp4", [(3.0, JPEG)])
    page = Page(write_report(tmp_path).read_text())
    text = " ".join(page.texts)
    for part in (
        "It barks.",
        "a dog barks",
        "00:02 to 00:04",
        "b.mp4",
        "answer: empty_answer",
        "1,000",
        "nano",
    ):
        assert part in text
    images = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert images == ["data:image/jpeg;base64," + base64.b64encode(JPEG).decode()]
    (event,) = (a for tag, a in page.tags if tag == "span" and a.get("class") == "event")
    assert event["style"] == "left:20.000%;width:20.000%"


def test_no_text_of_a_model_becomes_markup_and_nothing_is_loaded(tmp_path: Path) -> None:
    write_job(
        tmp_path,
        [line_of(EVIL, EVIL, (Event(0.0, 1.0, EVIL),), reason=EVIL)],
        [error_of(EVIL + "2", EVIL, EVIL)],
    )
    html = write_report(tmp_path).read_text()
    page = Page(html)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "iframe", "link", "object", "base", "form"}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert not any({"src", "href", "srcset"} & set(attributes) for _, attributes in page.tags)
    assert not re.search(r"url\(|@import|\x1b|\x00", html)
    assert "default-src 'none'" in html
    assert any("<script>alert(1)</script>" in text for text in page.texts)  # as text


def test_damaged_thumbnails_leave_a_report_without_pictures(tmp_path: Path) -> None:
    write_job(tmp_path, [line_of("a.mp4", events=(Event(0.0, 1.0, "x"),))])
    keep_thumbnails(tmp_path, "a.mp4", [(0.5, b"jpeg")])
    (file,) = (tmp_path / "thumbnails").iterdir()
    for content in ("", "{", '{"0.5": "not base64 <"}', '{"x": "aaaa"}', "[]"):
        file.write_text(content)
        assert not any(tag == "img" for tag, _ in Page(write_report(tmp_path).read_text()).tags)


@given(st.text(), st.text())
def test_any_text_is_text(text: str, value: str) -> None:
    page = Page(as_text(element("p", text, element("b", text), text, title=value)))
    assert [tag for tag, _ in page.tags] == ["p", "b"]
