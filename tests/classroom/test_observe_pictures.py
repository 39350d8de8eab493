"""The waterfall and the timeline: what they show, in words and as SVG, and what no input can break."""

from __future__ import annotations

import re
import time
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from observe_help import BEGIN, sent, span

from classroom.events import Event
from classroom.observe import timeline
from classroom.observe.clocks import corrections
from classroom.observe.picture import DARK, LIGHT, Picture
from classroom.observe.spacetime import draw
from classroom.observe.spans import Span
from classroom.observe.story import of_spans
from classroom.observe.waterfall import draw as waterfall

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text><script>alert(1)</script>&amp;\"'\x00\x1b[31m\ud800‮"


def parsed(picture: Picture) -> ET.Element:
    """The SVG as a tree: it is well-formed, has a title and a description, and nothing that runs."""
    root = ET.fromstring(picture.svg)
    assert root.find(f"{SVG}title").text
    assert root.find(f"{SVG}desc").text
    assert root.get("role") == "img"
    assert not list(root.iter(f"{SVG}script"))
    return root


def hints(picture: Picture) -> list[str]:
    """What a reader sees who points at the parts of the picture."""
    return [one.text or "" for one in parsed(picture).iter(f"{SVG}title")]


def test_a_waterfall_shows_who_called_whom():
    """Rows are in the order of calls, deeper ones further in; what failed says so, what never ended too."""
    spans = [
        span("process b", "3", "billing", 0.03, None, parent="2", kind="server"),
        span("send a", "1", "client", 0.0, 0.1, kind="client"),
        span("process a", "2", "users", 0.02, 0.09, parent="1", kind="server", error="RpcError: no"),
    ]
    picture = waterfall(spans)
    lines = str(picture).splitlines()
    assert [re.search(r"[a-z]+: \w+ \w", line)[0] for line in lines[1:]] == [
        "client: send a", "users: process a", "billing: process b",
    ]  # fmt: skip
    assert "failed: RpcError: no" in lines[2]
    assert "never ended" in lines[3]
    assert any("never ended" in hint for hint in hints(picture))


def test_a_timeline_shows_arrows_and_fates():
    """The message's arrow, the kill of the process, the second attempt elsewhere, the acknowledgement."""
    first, second = sent(1, 0.0), sent(1, 0.5)
    killed, again = first[1], second[1]
    killed.end, killed.instance = None, "0"
    again.instance, again.id, again.parent = "1", "p2", "e1"
    again.attributes = again.attributes | {"postoffice.attempt": 2}
    again.events = [(again.start, "received", 2), (again.end - 0.001, "after-handler", 2), (again.end, "acked", 2)]
    mark = span("killed", "k", "payments", 0.1, 0.1, trace="", instance="0")
    story = of_spans([first[0], killed, again, mark])
    assert [(one.source, one.target, one.kind) for one in story.arrows] == [
        ("client", "payments 0", "message"), ("payments 0", "payments 1", "retry"),
    ]  # fmt: skip
    whats = [(one.process, one.what) for one in story.events]
    assert whats == [
        ("client", "emitted"), ("payments 0", "received"), ("payments 0", "killed"),
        ("payments 1", "received"), ("payments 1", "handled"), ("payments 1", "acknowledged"),
    ]  # fmt: skip
    assert any("it never ended" in hint for hint in hints(draw(story)))


def test_an_end_that_was_noticed_late_comes_before_what_followed_from_it():
    """The broker hears of a crash as soon as the kernel does: the redelivery is its effect, not its cause."""
    first, second = sent(1, 0.0), sent(1, 0.1)
    killed, again = first[1], second[1]
    killed.end, again.instance, again.id, again.parent = None, "1", "p2", "e1"
    again.attributes = again.attributes | {"postoffice.attempt": 2}
    mark = span("killed", "k", "payments", 0.11, 0.11, trace="", instance="0")
    events = of_spans([first[0], killed, again, mark]).events
    assert [one.at <= again.start for one in events if one.what == "killed"] == [True]
    mark.start = mark.end = BEGIN + 3.0  # much later: for another reason
    events = of_spans([first[0], killed, again, mark]).events
    assert [one.at for one in events if one.what == "killed"] == [BEGIN + 3.0]


def test_a_message_that_nobody_was_seen_to_take_is_shown():
    """A loss is seen."""
    story = of_spans(sent(1, 0.0)[:1])
    assert [one.kind for one in story.arrows] == ["unseen"]
    assert "not seen to arrive: order of client" in str(draw(story))


@pytest.mark.parametrize("off", [-2.0, 2.0])
def test_a_clock_that_is_off_turns_no_arrow(off: float):
    """What caused what comes from the parents; the correction is said, in words and in the picture."""
    caller = span("send a", "1", "client", 0.0, 0.1, kind="client")
    service = span("process a", "2", "users", 0.02 + off, 0.09 + off, parent="1", kind="server")
    story = of_spans([caller, service])
    (message, reply) = story.arrows
    assert message.sent <= message.arrived <= reply.sent <= reply.arrived
    assert not message.backwards
    (note,) = story.notes
    assert f"{'behind' if off < 0 else 'ahead'}" in note
    assert re.search(r"at least (1\.9\d+|2\.\d+) s", note)
    assert note in str(draw(story))
    assert "users" in str(waterfall([caller, service]))
    assert "is off" in str(waterfall([caller, service]))


def test_clocks_that_contradict_themselves_are_marked():
    """A clock that was set meanwhile cannot be corrected by one number: its arrow goes back, marked."""
    story = of_spans([*sent(1, 0.0), *sent(2, 1.0, off=-30.0), _request_back(0.5)])
    assert any(one.backwards for one in story.arrows)
    assert any("clock was set" in note for note in story.notes)
    assert "clocks disagree" in "".join(hints(draw(story)))


def _request_back(at: float) -> Span:
    """The client handles something from payments at the wrong time: the other bound."""
    return span("process x", "x", "client", at, at + 0.001, trace="t2", kind="consumer", parent="p2")


def test_corrections_are_the_smallest_that_fit():
    """Clocks that agree stay; a chain of processes is corrected link by link."""
    assert corrections([("a", 1.0, "b", 1.1), ("b", 1.1, "a", 1.2)], "a") == {}
    assert corrections([("a", 10.0, "b", 8.0)], "a") == {"b": 2.0}
    assert corrections([("b", 5.0, "a", 3.0)], "a") == {"b": -2.0}
    found = corrections([("a", 10.0, "b", 8.0), ("b", 8.0, "c", 7.0)], "a")
    assert found == {"b": 2.0, "c": 3.0}
    assert corrections([("a", 1.0, "b", 0.9995)], "a") == {}  # nobody sees half a millisecond


def test_hostile_names_stay_text():
    """In every place where a name is shown: markup, control characters, half characters, right-to-left marks."""
    spans = sent(1, 0.0, error=HOSTILE)
    for one in spans:
        one.name = one.service = HOSTILE
        one.attributes = {"messaging.message.id": HOSTILE, "messaging.destination.name": HOSTILE}
    picture = draw(of_spans(spans), HOSTILE)
    parsed(picture)
    parsed(waterfall(spans))
    parsed(timeline([Event(1.0, HOSTILE, "emitted", HOSTILE, HOSTILE), Event(2.0, "b", "received", HOSTILE)]))
    assert "<script>" not in picture._repr_html_()


def test_parents_in_a_circle_do_not_hang():
    """Two spans that each claim the other as parent, and one that claims itself."""
    round_about = [
        span("a", "1", "x", 0, 1, parent="2"),
        span("b", "2", "y", 0, 1, parent="1"),
        span("c", "3", "z", 0, 1, parent="3"),
    ]
    parsed(waterfall(round_about))
    parsed(waterfall(round_about[:2]))
    parsed(draw(of_spans(round_about)))


def test_ten_thousand_events_draw_at_once_and_say_what_is_left_out():
    """Beside the drawing of a hundred, the time grows no faster than the number does; trouble is drawn first."""
    few = [one for number in range(25) for one in sent(number, number / 100)]
    many = [
        one
        for number in range(5000)
        for one in sent(number, number / 100, error="boom" if number in (4000, 4500) else "")
    ]
    begin = time.perf_counter()
    draw(of_spans(few))
    short = time.perf_counter() - begin
    begin = time.perf_counter()
    picture = draw(of_spans(many))
    long = time.perf_counter() - begin
    assert long < 200 * short, f"{long:.2f} s for 10,000 events, {short:.4f} s for 50"
    assert len(picture.svg) < 500_000
    assert "60 of 5,000 messages are drawn; 2 had trouble" in str(picture)
    assert "m4000" in "".join(hints(picture))
    assert "m4500" in "".join(hints(picture))
    assert "events more" in str(picture) or str(picture).count("\n") < 300


def test_events_of_a_checker_are_drawn_too():
    """They have no spans: the message's id connects them."""
    picture = timeline(
        [
            Event(BEGIN, "client", "emitted", "7"),
            Event(BEGIN + 0.1, "payments", "handled", "7"),
            Event(BEGIN + 0.2, "payments", "killed", ""),
            Event(BEGIN + 0.5, "payments 2", "handled", "7", "again"),
        ]
    )
    parsed(picture)
    assert any("from client to payments" in hint for hint in hints(picture))
    assert any("from payments to payments 2" in hint for hint in hints(picture))
    assert "again" in str(picture)


def test_nothing_draws_too():
    """An empty picture says that nothing was seen."""
    assert "nothing was seen" in str(timeline([]))
    parsed(timeline([Event(5.0, "a", "emitted", "1")]))
    parsed(timeline([Event(5.0, "a", "emitted", "1"), Event(5.0, "b", "received", "1")]))


def test_colours_are_legible_and_never_the_only_sign():
    """WCAG AA against their own paper, light and dark; every mark has a shape and a letter of its own."""
    from classroom.observe.marking import GLYPHS

    for theme in (LIGHT, DARK):
        for name in ("ink", "dim", "bad", "warn", "good", "work"):
            assert _contrast(theme[name], theme["paper"]) >= 4.5, name
        for fill in ("fill", "badfill"):
            assert _contrast(theme["ink"], theme[fill]) >= 4.5, fill
    synonyms = [
        {"emitted", "sent", "attempted"},
        {"answered", "acknowledged"},
        {"killed", "crashed", "cut"},
        {"started", "resumed"},
    ]
    for one, other in combinations(GLYPHS, 2):
        alike = GLYPHS[one][:2] == GLYPHS[other][:2]
        assert not alike or any({one, other} <= group for group in synonyms), (one, other)


def _contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.browser
def test_a_browser_draws_it(chromium: str, tmp_path: Path):
    """Chromium takes the SVG as it stands, alone and in a notebook's page, in both themes."""
    from playwright.sync_api import sync_playwright

    picture = draw(of_spans(sent(1, 0.0)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        try:
            page = browser.new_page()
            papers = []
            for theme in ("true", "false"):
                page.set_content(f'<body data-jp-theme-light="{theme}">{picture._repr_html_()}</body>')
                papers.append(page.locator("svg .paper").first.evaluate("one => getComputedStyle(one).fill"))
            assert papers == ["rgb(255, 255, 255)", "rgb(27, 29, 33)"]
            assert page.get_by_role("img").get_attribute("aria-label").startswith("Message timeline. 2 processes")
        finally:
            browser.close()
