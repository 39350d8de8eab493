"""Views without a browser: the same page as text and HTML, presses and their errors, guesses, letters, progress."""

import asyncio
import base64
import html.parser
import json
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from classroom_help import Notebook
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook

from classroom import dead_letter_browser, notebooks, observe, panel, predict, progress, start_broker, timeline
from classroom.checks import every_check
from classroom.events import Event
from classroom.service_fleet import services_loop
from classroom.stored import keep_what_stays
from classroom.views.contents import entries
from classroom.views.markup import tag
from classroom.views.page import Button, Buttons, Choice, Editor, Log, Page, Said, Slider, Table
from classroom.views.view import Press, View
from postoffice import Client, PermanentError, Service, UsageError, event_pattern

SERVICE = """%%service users --on tcp
from postoffice import message_pattern
print("hello <b>")

@message_pattern("user.count")
async def count(data, ctx):
    return 3
"""


async def until(condition: Callable[[], bool], within: float = 20.0) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - what is waited for is no task of ours
            await asyncio.sleep(0.01)


class Read(html.parser.HTMLParser):
    """The elements and the text of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.values: list[str | None] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.values += [value for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@settings(max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")))
def test_no_text_becomes_an_element(text: str):
    """Whatever a message, a log or an error contains."""
    read = Read(tag("p", text, title=text))
    assert read.elements == ["p"]
    assert read.values == [text]
    assert read.text == text


def every_block() -> Page:
    return Page(
        "A view",
        "all is <well>",
        [
            Said("a sentence"),
            Table("Rows", ("name", "value"), [("first", "<1>")]),
            Log("Its log", ["a line"]),
            Buttons("Do", [Button("kill", "Kill", "x.kill()"), Button("heal", "Heal", "x.heal()", why_not="whole")]),
            Slider("latency", "Latency", 30, 1000, 10, "ms", "x.latency(0.03)"),
            Choice("guess", "Which?", {"a": "one", "b": "two"}, "b"),
            Editor("data", "Data", '{"a": 1}', "key"),
        ],
        "it broke",
        "Traceback ...",
    )


def test_text_and_html_show_the_same():
    page = every_block()
    static, live = Read(page.html(live=False)), Read(page.html(live=True))
    facts = ["A view", "all is <well>", "it broke", "a sentence", "<1>", "a line", "30 ms", "Which?", "two", '{"a": 1}']
    for fact in facts:
        assert fact in page.text()
        assert fact in static.text
        assert fact in live.text
    for code in ("x.kill()", "x.heal()", "x.latency(0.03)"):
        assert code in page.text()
        assert code in static.text
        assert any(code in (value or "") for value in live.values)  # the button says so, when it is pointed at
    assert not {"button", "input", "textarea"} & {*static.elements}
    assert live.elements.count("button") == 2


class Counting(View):
    """A view that counts its looks and does what a test tells it."""

    every = 0.01

    def __init__(self) -> None:
        super().__init__()
        self.looks, self.done, self.left = 0, list[str](), 0
        self.go_on = asyncio.Event()
        self.settings = {"set"}
        self.verbs = {"raise": self._raise, "wait": self._wait, "set": self._set, "well": self._well}

    async def look(self) -> None:
        self.looks += 1

    async def leave(self) -> None:
        self.left += 1

    async def _raise(self, press: Press) -> None:
        raise LookupError("no such thing: look elsewhere")

    async def _wait(self, press: Press) -> None:
        self.done.append("waited")
        await self.go_on.wait()

    async def _set(self, press: Press) -> None:
        self.done.append(f"set {press.arg}")

    async def _well(self, press: Press) -> None:
        self.done.append("well")

    def page(self) -> Page:
        return Page("Counting", "here")


def press(act: str, arg: str = "") -> Press:
    return Press({"act": act, "arg": arg, "values": {"data": 3}})


async def test_an_error_stands_in_the_view_until_something_works():
    view = Counting()
    await view._act(press("raise"))
    page = view.shown()
    assert page.trouble == "raise did not work. LookupError: no such thing: look elsewhere"
    assert "Traceback" in page.traceback
    assert "Traceback" not in page.text(), "what happened and what to do first; the traceback is folded"
    await view._act(press("well"))
    assert view.shown().trouble == ""
    await view._act(press("no such verb"))
    assert view.done == ["well"]


async def test_a_button_pressed_twice_means_once_and_of_a_slider_the_last_value_counts():
    view = Counting()
    first = asyncio.create_task(view._act(press("wait")))
    await asyncio.sleep(0)
    assert view.shown().status == "here · wait …"
    for again in (press("wait"), press("set", "1"), press("well"), press("set", "2")):
        await view._act(again)
    view.go_on.set()
    await first
    assert view.done == ["waited", "set 2"]


async def test_a_view_looks_only_while_somebody_watches():
    view = Counting()
    view._widget = widget = type("Widget", (), {"html": "", "on_msg": lambda *_, **__: None})()

    async def looks_in(seconds: float) -> int:
        before = view.looks
        await asyncio.sleep(seconds)
        return view.looks - before

    assert await looks_in(0.05) == 0
    view._obey(widget, {"act": "shown"})
    await until(lambda: view.looks >= 3)
    view._obey(widget, {"act": "hidden"})
    await asyncio.sleep(0)
    assert await looks_in(0.05) == 0
    assert view.left == 1, "it lets go of its connections"
    for nonsense in (None, 3, {}, {"act": []}, {"act": "look"}):
        view._obey(widget, nonsense)
        view._obey(object(), {"act": "shown"})
    assert await looks_in(0.05) == 0


def test_a_service_s_panel_in_a_kernel(tmp_path: Path):
    """Its text is its twin; its HTML needs no kernel; a cell that is run again replaces its view."""
    notebook = Notebook(tmp_path / "kernel")
    try:
        notebook.ok(SERVICE)
        notebook.ok("await users")
        text = notebook.ok("from classroom import panel; panel(users)", "one cell")
        assert text.startswith("Service users: ● ready; 1 of 1 processes ready\n")
        assert "await users.restart()" in text
        assert "hello <b>" in text
        assert "scale" not in text, "a service on TCP has one process"
        data = "data = panel(users)._repr_mimebundle_(); print(data['text/html'])"
        assert "hello &lt;b&gt;" in notebook.ok(data)
        assert notebook.ok("print('application/vnd.jupyter.widget-view+json' in data)") == "True\n"
        notebook.ok("from classroom.views.view import _live; before = len(_live)")
        notebook.ok("panel(users)", "one cell")
        notebook.ok("panel(users)", "one cell")
        assert notebook.ok("print(len(_live) - before)") == "0\n"
        notebook.ok("users.kill()")
        assert "✕ killed" in notebook.ok("panel(users)")
        assert "TypeError: a panel is for a service or a broker, not for a int" in notebook.run("panel(3)").error
    finally:
        notebook.close()
    notebook.nothing_is_left()


def test_a_stored_notebook_has_views_as_text_and_html_and_no_widget(tmp_path: Path):
    cells = ["from classroom import predict", 'predict("00.x", "Which?", {"a": "one", "b": "two"})']
    made = new_notebook(cells=[new_code_cell(one) for one in cells])
    (output,) = notebooks.execute(made, tmp_path).cells[1].outputs
    assert {*output.data} == {"text/plain", "text/html"}
    assert "Which?" in output.data["text/html"]
    nbformat.validate(made)


def test_a_stored_picture_is_an_image_with_the_same_words():
    """JupyterLab takes the SVG out of a notebook that it does not trust, and leaves its labels in a heap."""
    picture = observe.timeline([Event(1.0, "shop", "emitted", 'order "1" <b>')])
    data = {
        "text/plain": repr(picture),
        "text/html": picture._repr_html_(),
        "application/vnd.jupyter.widget-view+json": {},
    }
    keep_what_stays(data)
    read = Read(data["text/html"])
    assert {*data} == {"text/plain", "text/html"}
    assert "svg" not in read.elements
    source, alt = (
        next(one or "" for one in read.values if (one or "").startswith(start)) for start in ("data:", "Mess")
    )
    assert base64.b64decode(source.partition("base64,")[2]).decode() == picture.svg
    assert alt.startswith("Message timeline. 1 process, 1 event of 1 message")
    assert 'order "1" <b>' in read.text, "the same as text, folded"


@pytest.fixture
def progress_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLASSROOM_PROGRESS", str(tmp_path / "of a learner" / "progress.jsonl"))
    return progress.file()


OPTIONS = {"a": "five", "b": "nine"}
WHY = {"a": "The broker does not deal jobs out in turns."}


def test_a_wrong_guess_is_answered_by_its_misconception(progress_file: Path):
    asked = predict("05.prefetch", "How many?", OPTIONS, misconceptions=WHY)
    asked.guess("a")
    answer = predict("05.prefetch", "How many?", OPTIONS, misconceptions=WHY).reveal("b")
    assert answer.right is False
    assert f"You said a: five. {WHY['a']}" in repr(answer)
    asked.guess("b")
    assert asked.reveal("b").right
    assert [(one["what"], one.get("guess")) for one in progress.events()] == [
        ("guess", "a"),
        ("revealed", None),
        ("guess", "b"),
        ("revealed", None),
    ]


def test_nobody_has_to_guess(progress_file: Path):
    answer = predict("05.nobody", "How many?", OPTIONS, misconceptions=WHY).reveal("b")
    assert answer.right is None
    assert f"Whoever says a: {WHY['a']}" in repr(answer)
    assert f"Whoever says a: {WHY['a']}" in Read(answer._repr_html_()).text
    assert not progress_file.exists()


def test_a_prediction_that_makes_no_sense_says_why():
    with pytest.raises(ValueError, match="two options at least"):
        predict("05.x", "How many?", {"a": "one"})
    with pytest.raises(ValueError, match=r"misconceptions for \['c'\]"):
        predict("05.x", "How many?", OPTIONS, misconceptions={"c": "no"})
    asked = predict("05.x", "How many?", OPTIONS)
    for wrong in (asked.guess, asked.reveal):
        with pytest.raises(ValueError, match="no option 'z'; there are a, b"):
            wrong("z")


def test_progress_is_a_person_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A run by a tool notes nothing; lines that cannot be read are passed over."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("CLASSROOM_PROGRESS", raising=False)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    progress.note("guess", "05.x", guess="a")
    assert not progress.file().exists()
    monkeypatch.setenv("JPY_SESSION_NAME", "/course/notebooks/05-rabbitmq.ipynb")
    progress.note("guess", "05.x", guess="a")
    with progress.file().open("ab") as file:
        file.write(b'{"what": "guess"}\nnonsense\n\xff\xfe\n[]\n')
    progress.note("check", "03.till", passed=True)
    assert [one["id"] for one in progress.events()] == ["05.x", "03.till"]


def test_the_start_page_tells_what_was_done(tmp_path: Path, progress_file: Path):
    for path, heading in (
        ("notebooks/03-tcp.ipynb", "# TCP"),
        ("labs/03-tcp.ipynb", "# Lab"),
        ("notebooks/04.ipynb", ""),
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        cells = [{"cell_type": "markdown", "source": [heading]}]
        (tmp_path / path).write_text(json.dumps({"cells": cells}) if heading else "no notebook")
    predict("03.x", "How many?", OPTIONS).guess("b")
    predict("03.x", "How many?", OPTIONS).reveal("b")
    progress.note("check", "03.till", passed=True)
    progress.note("check", "03.framing", passed=True)
    progress.note("check", "03.framing", passed=False)
    checks = {name: one for name, one in every_check().items() if name.startswith("03.")}
    left = sum(one.minutes for name, one in checks.items() if name != "03.till")
    assert [(one.title, one.done) for one in entries(tmp_path)] == [
        ("03 TCP", "1 prediction made, 1 right"),
        ("Lab", f"1 of {len(checks)} checks passed, about {left} minutes left"),
        ("04", ""),
    ]
    for name in checks:
        progress.note("check", name, passed=True)
    assert [*entries(tmp_path)][1].done == f"✓ {len(checks)} of {len(checks)} checks passed"


def test_a_timeline_follows_a_message():
    events = [
        Event(1.0, "shop", "emitted", "order-1"),
        Event(1.1, "payments", "received", "order-1"),
        Event(1.2, "shop", "emitted", "order-2"),
        Event(1.3, "payments", "dead-lettered", "order-2"),
    ]
    view = timeline(events)
    text = repr(view)
    assert text.index("order-2: ! emitted, dead-lettered") < text.index("order-1: emitted, received"), "trouble first"
    asyncio.run_coroutine_threadsafe(view._act(press("choose", "order-1")), services_loop()).result(10)
    assert "of message order-1" in view.shown().status
    assert "of 1 message" in repr(view)
    assert "no message was seen yet" in repr(timeline([]))


async def test_letters_are_listed_repaired_requeued_and_dropped():
    """By the verbs of `broker.dead_letters`, and by the browser's buttons; the broker's panel counts them."""
    seen: list[object] = []

    @event_pattern("order.placed", dead_letter="orders.dead")
    async def charge(data, ctx):
        seen.append(data)
        if data["total"] < 0:
            raise PermanentError("the total is negative")

    async with await start_broker("redis", engine="process", name="views") as redis:
        service = Service(charge, url=redis.url, name="payments", delivery="at-least-once")
        await service.start()
        client = await Client.connect(redis.url, delivery="at-least-once")
        for number in range(4):
            await client.emit("order.placed", {"id": number, "total": -number}, message_id=f"order-{number}")
        await until(lambda: len(seen) == 4)
        letters = await redis.dead_letters("orders.dead")
        async with asyncio.timeout(20):
            while len(await letters.again()) < 3:  # noqa: ASYNC110 - the last one is being stored
                await asyncio.sleep(0.02)
        assert [one.id for one in letters] == ["order-1", "order-2", "order-3"]
        assert "order-1  permanent after 1 attempt: PermanentError: the total is negative" in repr(letters)
        assert "PermanentError" in Read(letters._repr_html_()).text

        await letters.requeue("order-1", {"id": 1, "total": 100})
        await letters.drop(letters[0])
        assert [one.id for one in letters] == ["order-3"]
        with pytest.raises(UsageError, match="no dead letter 'order-2'"):
            await letters.requeue("order-2")

        browser = dead_letter_browser(redis, "orders.dead")
        text = await asyncio.to_thread(repr, browser)
        assert text.startswith("Dead letters in orders.dead: 1 letter\n")
        assert '"total": -3' in text
        bad = Press({"act": "requeue", "values": {"data": "{no json"}})
        good = Press({"act": "requeue", "values": {"data": '{"id": 3, "total": 300}'}})
        for wanted, now in ((bad, "is no JSON"), (good, "order-3 was repaired and requeued")):
            future = asyncio.run_coroutine_threadsafe(browser._act(wanted), services_loop())
            await asyncio.wrap_future(future)
            assert now in browser.shown().text()
        assert len(await letters.again()) == 0
        await until(lambda: {"id": 3, "total": 300} in seen)
        assert {"id": 1, "total": 100} in seen
        text = await asyncio.to_thread(repr, panel(redis))
        assert "dead:orders.dead" in text
        assert "events:order.placed, payments" in text
        await asyncio.to_thread(redis.kill)
        assert "✕ killed" in await asyncio.to_thread(repr, panel(redis))
        assert "views is killed, so its letters cannot be read now" in await asyncio.to_thread(repr, browser)
        await client.close()
        await service.stop()
