"""Frames: a stream of bytes, cut anywhere, becomes the packets that were sent."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postoffice import PayloadError
from postoffice.transports import framing
from postoffice.transports.framing import FrameError, Frames, frame

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=6)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The bytes in pieces."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(TEXTS, st.lists(st.integers(0, 10_000), max_size=30))
def test_frames_cut_anywhere_come_out_whole(texts: list[str], places: list[int]) -> None:
    """In the middle of a length, of a character, several in one piece: the same packets."""
    packets = [json.dumps(text, ensure_ascii=False).encode() for text in texts]
    frames = Frames()
    seen = [packet for piece in cut(b"".join(map(frame, packets)), places) for packet in frames.feed(piece)]
    assert seen == packets
    assert not frames.incomplete


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_the_length_is_javascripts(text: str) -> None:
    """UTF-16 code units, not characters and not bytes."""
    assert frame(text.encode()) == b"%d#%b" % (len(text.encode("utf-16-le")) // 2, text.encode())


def test_the_example_of_the_docstring() -> None:
    """3 units, 2 characters, 6 bytes."""
    assert frame("é🚀".encode()) == b"3#\xc3\xa9\xf0\x9f\x9a\x80"


def outcome(pieces: list[bytes]) -> tuple[list[bytes], bool]:
    """The packets of some bytes, and whether they ended in an error."""
    frames, seen = Frames(), []
    try:
        for piece in pieces:
            seen += frames.feed(piece)
    except FrameError:
        return seen, True
    return seen, False


@given(TEXTS, st.binary(max_size=40), st.lists(st.integers(0, 10_000), max_size=10))
def test_garbage_after_good_frames_takes_none_of_them_away(texts: list[str], garbage: bytes, places: list[int]) -> None:
    """However the bytes are cut, what was whole before the garbage arrives."""
    packets = [json.dumps(text).encode() for text in texts]
    data = b"".join(map(frame, packets)) + garbage
    seen, _ = outcome(cut(data, places))
    assert seen[: len(packets)] == packets


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10))
def test_any_bytes_are_packets_or_a_frame_error(data: bytes, places: list[int]) -> None:
    """No other error, and no endless loop."""
    assert isinstance(outcome(cut(data, places)), tuple)


def test_bytes_after_a_frame_do_not_spoil_it() -> None:
    """What follows in the same piece may be no text at all; the frame before it is whole."""
    data = frame('"é🚀"'.encode()) + b"9#\xff"
    assert outcome([data]) == outcome(cut(data, list(range(len(data))))) == (['"é🚀"'.encode()], False)


@pytest.mark.parametrize("data", [b"abc#{}", b"#", b"0#", b"-5#hello", b"\xff\xff#", b"x" * 40, b"9" * 40, b"1#\xff"])
def test_what_is_no_length_is_refused(data: bytes) -> None:
    """At once: without a length nobody knows where the next frame begins."""
    with pytest.raises(FrameError):
        list(Frames().feed(data))


@pytest.mark.parametrize("length", [b"5", b" 5", b"\t\n5", b"5junk", b"5 ", b"005"])
def test_a_length_is_read_as_leniently_as_javascript_reads_it(length: bytes) -> None:
    """Blanks before, anything after."""
    assert list(Frames().feed(length + b"#[1,2]")) == [b"[1,2]"]


def test_a_frame_of_200_mb_is_refused_before_its_text_is_awaited() -> None:
    """By its length alone, with both numbers; nothing is kept for it."""
    frames = Frames()
    with pytest.raises(FrameError, match="a frame of 200,000,000 characters exceeds the limit of 134,217,728"):
        list(frames.feed(b"200000000#{"))


def test_a_packet_that_no_receiver_takes_is_refused_before_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """In characters as the receiver counts them."""
    monkeypatch.setattr(framing, "MAX_FRAME", 10)
    assert frame(b"x" * 10) == b"10#" + b"x" * 10
    assert frame("é".encode() * 10) == b"10#" + "é".encode() * 10
    with pytest.raises(PayloadError, match="a packet of 12 characters exceeds the 10"):
        frame("🚀".encode() * 6)


def test_large_text_outside_ascii_is_not_read_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that arrives in 1,000 pieces is decoded a few times, not a thousand."""
    text = ("é" * 300_000 + "🚀" * 100_000 + "漢" * 300_000).encode()
    data = frame(text)
    decodings = 0
    original = Frames._next_of_units

    def counted(self: Frames, start: int, length: int) -> object:
        nonlocal decodings
        decodings += 1
        return original(self, start, length)

    monkeypatch.setattr(Frames, "_next_of_units", counted)
    frames, size = Frames(), len(data) // 1000
    seen = [one for start in range(0, len(data), size) for one in frames.feed(data[start : start + size])]
    assert seen == [text]
    assert decodings < 40
