from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_runner.sse import MAX_EVENT_BYTES, EventReader
from model_runner.types import MalformedOutput

STREAM = (
    b": keep-alive\n\n"
    b'event: message\nid: 7\ndata: {"a": "\xc3\xa9\xe2\x82\xac"}\n\n'
    b'data:{"b": 1}\r\n\r\n'
    b'data: {"c":\ndata:  2}\n\n'
    b"data: [DONE]\n\n"
)
PAYLOADS = [b'{"a": "\xc3\xa9\xe2\x82\xac"}', b'{"b": 1}', b'{"c":\n2}', b"[DONE]"]


@given(st.lists(st.integers(0, len(STREAM))))
def test_however_the_network_cuts_the_stream_the_events_are_the_same(cuts):
    reader = EventReader()
    edges = [0, *sorted(cuts), len(STREAM)]

    read = [reader.push(STREAM[a:b]) for a, b in pairwise(edges)]

    assert [payload for payloads in read for payload in payloads] == PAYLOADS


def test_an_event_is_not_given_out_before_its_blank_line():
    reader = EventReader()

    assert reader.push(b"data: 1\n") == []
    assert reader.push(b"\n") == [b"1"]


def test_an_event_without_its_blank_line_is_given_out_at_the_end():
    reader = EventReader()
    reader.push(b"data: 1\n\ndata: 2")

    assert reader.close() == [b"2"]


def test_html_holds_no_events():
    assert EventReader().push(b"<html>\n\n<p>data: 1</p>\n\n</html>\n\n") == []


@pytest.mark.parametrize("piece", [b"x" * 65536, b"data: " + b"x" * 65000 + b"\n"])
def test_an_endless_line_or_event_is_refused_in_bounded_memory(piece):
    reader = EventReader()
    reader.push(b"data: ")

    with pytest.raises(MalformedOutput, match=str(MAX_EVENT_BYTES)):
        for _ in range(2 + MAX_EVENT_BYTES // len(piece)):
            reader.push(piece)
