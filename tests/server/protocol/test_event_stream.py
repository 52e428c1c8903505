"""Server-sent events are written as OpenAI's API writes them, and read back."""

from server.protocol.event_stream import DONE, read_event, write_event


def test_an_event_is_one_data_line_and_a_blank_line():
    assert write_event({"id": "x", "choices": []}) == 'data: {"id":"x","choices":[]}\n\n'
    assert DONE == "data: [DONE]\n\n"


def test_an_event_is_read_back():
    body = {"choices": [{"delta": {"content": "two\n\nparagraphs, data: é"}}], "usage": None}
    event = write_event(body)
    assert event.count("\n\n") == 1 and event.endswith("\n\n")
    assert read_event(event) == body
