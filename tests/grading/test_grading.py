"""The grader: the short form of `make attacks`, and each of its parts on its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from classroom.brokers import start_broker
from classroom.grading.accounts import tame
from classroom.grading.answers import Cell, answers, lab_of
from classroom.grading.elsewhere import Driver, DriverError, Remote
from classroom.grading.gate import Gate
from classroom.grading.grade import main
from classroom.grading.incoming import identity, incoming
from classroom.grading.inside import cells, plain
from classroom.grading.marking import clean
from classroom.grading.report import ConditionMark, GradeRun, Submission, TaskMark, read, write
from classroom.grading.runner import Runner
from classroom.grading.taps import Amqp, Marked
from classroom.grading.trial import plan_of, seeds_of
from classroom.grading.world import World
from classroom.notebooks import read as read_notebook
from classroom.service_plan import ServiceError

from .attacks import ATTACKS
from .field import Field, field_of, needs_sandbox
from .notebooks import Case, notebook, path_of
from .odd import ODD


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def field(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Field]:
    """One broker for all submissions of this module."""
    async with field_of(tmp_path_factory.mktemp("grading")) as here:
        yield here


@needs_sandbox
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", [one for one in ATTACKS if one.short], ids=lambda case: case.name)
async def test_a_hostile_submission_earns_nothing_and_reaches_nothing(field: Field, case: Case):
    """No point, no file changed, no process left, no secret read, no packet out."""
    outcome = await field.grade(case)
    assert outcome.earned == 0, outcome.mark
    assert outcome.clean, outcome.line()


@needs_sandbox
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", [one for one in ODD if one.short], ids=lambda case: case.name)
async def test_a_right_submission_in_odd_clothes_gets_its_points(field: Field, case: Case):
    """Passed, in full."""
    outcome = await field.grade(case)
    assert outcome.mark is not None
    assert outcome.mark.state == "passed", outcome.mark
    assert outcome.clean, outcome.line()


async def test_there_are_enough_of_them_and_each_is_another_one():
    """At least 40 hostile and 20 odd ones."""
    assert len({one.name for one in ATTACKS}) == len(ATTACKS) >= 40
    assert len({one.name for one in ODD}) == len(ODD) >= 20


@pytest.fixture
async def driver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runner]:
    """What starts sandboxes that reach nothing."""
    runner = Runner({}, {})
    yield runner
    runner.end()


@needs_sandbox
async def test_a_function_is_asked_in_its_sandbox_and_answers_with_plain_data(driver: Runner):
    """Helpers of other cells are there; what they started is not."""
    there = Driver(
        driver, ["K = 3\ndef thrice(x): return K * x\nraise SystemExit"], "def f(x): return [thrice(x), (1, b'a')]"
    )
    assert (await there.look("f")).what == "function"
    assert (await Remote(there, "f").ask(4, limit=10)).value == [12, (1, b"a")]


@needs_sandbox
@pytest.mark.parametrize(("source", "kind"), [
    ("import time\ndef f(): time.sleep(99)", "TooLong"),
    ("import os\ndef f(): os._exit(0)", "ProcessEnded"),
    ("def f(): return object()", "TypeError"),
    ("class Yes(int):\n    __eq__ = lambda s, o: True\ndef f(): return Yes(1)", "TypeError"),
    ("def f(): raise KeyError(1)", "KeyError"),
])  # fmt: skip
async def test_a_function_that_misbehaves_is_told_by_name(driver: Runner, source: str, kind: str):
    """And never raises in the grader."""
    answer = await Remote(Driver(driver, [], source), "f").ask(limit=1)
    assert (answer.value, answer.kind) == (None, kind)


@needs_sandbox
async def test_a_cell_that_ends_the_process_gives_no_variable(driver: Runner):
    """The driver says so, in time."""
    with pytest.raises(DriverError):
        await Driver(driver, [], "import os\nos._exit(0)").look("f")


@pytest.mark.parametrize("value", [
    None, True, 0, 10**40, 1.5, "é\ud800", b"\x00\xff", [], [1, [2]], (1, (2,)), {"a": {1: b"x"}}, {(1, 2): None}, ...,
])  # fmt: skip
async def test_plain_data_comes_back_with_its_types(value: object):
    """One line, whatever is in it."""
    line = plain.encode(value)
    assert b"\n" not in line
    assert plain.decode(line) == value
    assert type(plain.decode(line)) is type(value)


@pytest.mark.parametrize("line", [
    b"", b"{", b'["x"]', b'["d", [1]]', b'["d", [[["l", []], 1]]]', b'{"a": 1}', b'["b", "?"]', b"[" * 100_000,
])  # fmt: skip
async def test_anything_else_is_no_plain_data(line: bytes):
    """ValueError or RecursionError, nothing else."""
    with pytest.raises((ValueError, RecursionError)):
        plain.decode(line)


async def test_amqp_is_cut_at_deliveries_and_acknowledgements_however_it_comes():
    """Byte by byte, too; the bytes stay the same."""
    deliver = b"\x01\x00\x01\x00\x00\x00\x08\x00\x3c\x00\x3c....\xce"
    ack = b"\x01\x00\x01\x00\x00\x00\x08\x00\x3c\x00\x50....\xce"
    body = b"\x03\x00\x01\x00\x00\x00\x03abc\xce"
    for stream, tap, wanted in (
        (deliver + body + deliver, Amqp("in"), ["deliver", "", "deliver"]),
        (b"AMQP\0\0\x09\x01" + ack + body + ack, Amqp("out"), ["", "ack", "", "ack"]),
    ):
        pieces = [piece for at in range(len(stream)) for piece in tap.feed(stream[at : at + 1])]
        assert b"".join(data for data, _ in pieces) == stream
        assert [what for _, what in pieces] == wanted


async def test_a_frame_without_an_end_is_passed_on_and_never_kept():
    """Its length is a lie; memory is not."""
    tap = Amqp("out")
    tap.feed(b"AMQP\0\0\x09\x01")
    sent = sum(len(piece) for _ in range(80) for piece, _ in tap.feed(b"\x03\x00\x01\xff\xff\xff\xff" + b"x" * 65_536))
    assert sent > 75 * 65_536


async def test_marks_of_a_text_protocol_begin_a_piece():
    """An ack is a piece of its own."""
    pieces = Marked({b"ACK": "ack"}).feed(b"one ACK two ACK three")
    assert [what for _, what in pieces] == ["", "ack", "ack"]


async def test_who_calls_the_ledger_is_said_by_the_gate(tmp_path: Path):
    """Whatever the call says of itself."""
    gate = Gate(tmp_path, {}, 1000, {"service": "payments", "replica": 1, "pid": 7})
    signed = json.loads(gate.signed(b'{"kind": "charge", "id": 1, "caller": {"service": "somebody else"}}\n'))
    assert signed["caller"] == {"service": "payments", "replica": 1, "pid": 7}
    assert gate.signed(b"[" * 100_000 + b"\n").startswith(b"[")
    gate.close()


async def test_names_become_ids_that_are_no_paths(tmp_path: Path):
    """Letters of any script stay; what could lead elsewhere does not."""
    assert identity("../../etc/passwd") == "etc_passwd"
    assert identity("李 Ø\x1b[31m") == "李_Ø_31m"
    assert identity("...") == "nameless"
    (tmp_path / "real.ipynb").write_text("{}")
    (tmp_path / "link.ipynb").symlink_to("/etc/passwd")
    (tmp_path / "re al.ipynb").write_text("{}")
    (tmp_path / "re?al.ipynb").write_text("{}")
    found = {one.student: one for one in incoming(tmp_path, "x.ipynb")}
    assert set(found) == {"link", "real", "re_al", "re_al-2"}
    assert "symbolic link" in found["link"].problem


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[1]", b"{}", b'{"cells": 5}', b"[" * 1_000_000, b"null"])
async def test_what_is_no_notebook_is_refused_with_a_reason(tmp_path: Path, data: bytes):
    """ValueError, with a sentence."""
    (tmp_path / "x.ipynb").write_bytes(data)
    with pytest.raises(ValueError, match=r"notebook"):
        cells.read(str(tmp_path / "x.ipynb"))


async def test_the_cell_of_a_task_is_found_by_id_then_by_content():
    """Also when it was moved, copied, or emptied under its own id."""
    lab = lab_of("05", read_notebook(path_of("05")))
    task = next(one for one in lab.tasks if one.name == "05.ack")
    named = Cell("code", "ack", "", "%%service payments --on rabbit\npass")
    other = Cell("code", "x1", "", "%%service payments --on rabbit\n1")
    emptied = Cell("code", "ack", "", "")
    assert answers(task, [other, named]).cell is named
    assert answers(task, [other, emptied]).cell is other
    assert answers(task, [emptied]).cell is emptied
    assert answers(task, [Cell("code", "x", "", "%%service paymentsX --on rabbit")]).cell is None


async def test_prose_is_found_by_id_then_by_its_first_line_and_is_never_a_zero_when_it_is_not_found():
    """A tool that drops ids must not cost a student a point that nobody looked at."""
    lab = lab_of("05", read_notebook(path_of("05")))
    task = next(one for one in lab.tasks if one.name == "05.why")
    lost = Cell("markdown", "x1", "", "**Your answer:**\n\nThe confirm covers the way to the queue.")
    named = Cell("markdown", "why", "", "The confirm covers the way to the queue.")
    note = Cell("markdown", "x2", "", "A note of mine")
    assert answers(task, [note, lost]).cell is lost
    assert answers(task, [lost, named, note]).cell is named
    assert answers(task, [note]).cell is None
    assert "look in the notebook" in answers(task, [note]).note


@pytest.mark.parametrize("first", [
    "%%service other --on rabbit", "%%service payments --on amqp://10.0.0.1",
    "%%service payments --on grpc --proto /etc/passwd",
    "%%service payments --on tcp --replicas 9", "%%service payments", "def payments(): pass", "",
])  # fmt: skip
async def test_a_service_gets_no_more_than_its_lab_gives(first: str):
    """Refused before anything is started."""
    with pytest.raises(ServiceError):
        plan_of("payments", f"{first}\npass", World({}, {}), Runner({}, {}))


async def test_texts_of_a_report_move_no_cursor():
    """Escapes, control characters and turned letters are gone; emoji and lines stay."""
    assert clean("a\x1b[2J\x1b]0;x\x07b\x00\u202ec\nd 👩‍🚀\ud800") == "ab" + "c\nd 👩‍🚀?"
    assert len(clean("x" * 10_000)) == 4000


async def test_results_are_read_as_they_were_written(tmp_path: Path):
    """And seeds depend on the secret and the task alone."""
    mark = TaskMark("05.ack", "t", "service", 3, None, "unknown", conditions=(ConditionMark("x", None),))
    run = GradeRun(
        "05", 1, {"05.ack": (1,)}, 1.0, "0", "none", (Submission("a", "a.ipynb", "", "graded", (), (mark,)),)
    )
    write(tmp_path / "results.json", run)
    assert read(tmp_path) == run
    assert run.submissions[0].needs_you == ("05.ack",)
    assert seeds_of(1, "05.ack", 2) == seeds_of(1, "05.ack", 2) != seeds_of(2, "05.ack", 2)


@needs_sandbox
@pytest.mark.timeout(300)
async def test_a_run_goes_on_where_it_was_and_marks_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The command: a right one, a wrong one, no notebook; then once more, when nothing is left to do."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "ada.ipynb").write_text(json.dumps(notebook("03", {}, solved=True)))
    (folder / "bob.ipynb").write_text(json.dumps(notebook("03", {})))
    (folder / "eve.ipynb").write_bytes(b"\x00")
    words = [
        str(folder),
        "--lab",
        "03",
        "--out",
        str(out),
        "--only",
        "03.framing",
        "--solutions",
        str(path_of("03").parent),
    ]
    assert await asyncio.to_thread(main, words) == 1  # eve has no mark
    first = read(out)
    assert [one.status for one in first.submissions] == ["graded", "graded", "unreadable"]
    assert [one.tasks[0].state for one in first.submissions] == ["passed", "failed", "unknown"]
    capsys.readouterr()
    await asyncio.to_thread(main, words)
    assert "3 of 3 are marked already" in capsys.readouterr().out
    assert read(out).submissions == first.submissions
    assert await asyncio.to_thread(main, [*words, "--seed", "5"]) == 2
    assert "Go on with the same" in capsys.readouterr().err


async def test_a_redis_of_a_trial_reaches_nobody_and_keeps_its_settings():
    """Whoever connects to it has only what a service needs; streams and channels are left as they were."""
    async with await start_broker("redis", name="tamed") as broker, Redis.from_url(broker.url) as connection:
        await tame(broker)
        for words in (
            "REPLICAOF 127.0.0.1 9",
            "MIGRATE 127.0.0.1 9 k 0 5",
            "CONFIG SET dir /tmp",
            "ACL WHOAMI",
            "SHUTDOWN NOW",
        ):
            with pytest.raises(NoPermissionError):
                await connection.execute_command(*words.split())
        assert await connection.xadd("events:a", {"data": "1"})
        assert await connection.publish("a", "1") == 0
