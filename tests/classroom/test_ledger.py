"""The ledger as a process: what it records, how it fails on demand, what a caller can and cannot do to it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from classroom_help import Kernel, Notebook, eventually, running
from hypothesis import given, settings
from hypothesis import strategies as some

from classroom.ledger import Book, Ledger, LedgerError, Row, Rows, ledger, start_ledger
from classroom.ledger.store import Call, Conflict, Full, Store
from classroom.ledger.wire import MAX_LINE, NoAnswer, Refused, address_of, ask
from postoffice.errors import (
    ConnectError,
    ConnectionLost,
    PayloadError,
    PermanentError,
    RequestTimeout,
    RpcError,
    UsageError,
)

LIMIT = 20.0  # seconds for what takes milliseconds


@pytest.fixture
async def book() -> AsyncIterator[Book]:
    """An empty ledger, whose address this process and its children know."""
    async with await start_ledger() as one:
        yield one


async def raw(book: Book, line: bytes) -> object:
    """Send any bytes to the address for writing."""
    async with asyncio.timeout(LIMIT):
        return await ask(*address_of(book.url), line)


async def until(book: Book, count: int) -> Rows:
    """The rows, once there are so many."""
    async with asyncio.timeout(LIMIT):
        while len(rows := await book.rows()) < count:  # noqa: ASYNC110 - the rows are another process's
            await asyncio.sleep(0.01)
    return rows


async def test_every_call_is_recorded(book: Book):
    """Without a key each call is an effect; the row says who called, when, what, and in which order."""
    before = time.time()
    answers = [await ledger.charge(7, amount=10, city="Ypres") for _ in range(2)]
    answers += [
        await ledger.ship("order-7"),
        await ledger.mail(7, to="a@b"),
        await ledger.record("refund", 7, amount=2.5),
    ]
    rows = await book.rows()
    assert [answer["receipt"] for answer in answers] == [1, 2, 3, 4, 5]
    assert [(row.number, row.kind, row.id, row.amount) for row in rows] == [
        (1, "charge", 7, 10), (2, "charge", 7, 10), (3, "ship", "order-7", None), (4, "mail", 7, None),
        (5, "refund", 7, 2.5),
    ]  # fmt: skip
    assert rows[0].fields == {"city": "Ypres"}
    assert {(row.outcome, row.replied, row.pid, row.service) for row in rows} == {("effect", True, os.getpid(), "")}
    assert before <= rows[0].at <= rows[0].done <= rows[1].at <= time.time()
    assert (await book.effects("charge")).total == 20
    assert (await book.rows("mail")).ids == [7]


async def test_a_key_is_one_effect_and_one_answer(book: Book):
    """Repeats are recorded as such; another payload under the key is refused; a kind has keys of its own."""
    first = await ledger.charge(7, amount=10, idempotency_key="k")
    assert await ledger.charge(7, amount=10.0, idempotency_key="k") == first
    for id, amount, fields in ((8, 10, {}), (7, 11, {}), (7, 10, {"note": 1})):
        with pytest.raises(PermanentError, match="'k' was used before for another charge") as refused:
            await ledger.charge(id, amount=amount, idempotency_key="k", **fields)
        assert refused.value.error["status"] == 409
    await ledger.ship(7, idempotency_key="k")
    rows = await book.rows()
    assert [row.outcome for row in rows] == ["effect", "repeat", "conflict", "conflict", "conflict", "effect"]
    assert [row.receipt for row in rows] == [1, 1, None, None, None, 6]
    assert len(await book.effects()) == 2


async def test_waiting_for_calls(book: Book):
    """It returns once they are there, and says what is there when they do not come."""
    waiting = asyncio.create_task(book.wait(2, "charge", LIMIT))
    for number in (1, 2):
        assert not waiting.done()
        await ledger.mail(number)
        await ledger.charge(number, amount=5)
    assert (await waiting).ids == [1, 2]
    with pytest.raises(LedgerError, match=r"2 of 3 calls have come to the ledger within 0\.1 s(.|\n)*effects"):
        await book.wait(3, "charge", timeout=0.1)


async def test_many_writers_at_once(book: Book):
    """A hundred callers with ten keys: ten effects, and every caller of a key has its answer. Other processes, too."""
    code = """
import asyncio, json
from classroom.ledger import ledger
calls = [ledger.charge(i % 10, amount=i % 10, idempotency_key=f"k{i % 10}") for i in range(50)]
async def main(): print(json.dumps([a["receipt"] for a in await asyncio.gather(*calls)]))
asyncio.run(main())
"""
    others = [await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=-1) for _ in range(2)]
    texts = await asyncio.gather(*(other.communicate() for other in others))
    rows = await book.rows()
    assert Counter(row.outcome for row in rows) == {"effect": 10, "repeat": 90}
    assert len({row.pid for row in rows}) == 2
    receipts = {row.id: row.number for row in rows.effects}
    assert [json.loads(text) for text, _ in texts] == [[receipts[i % 10] for i in range(50)]] * 2


async def test_many_readers_at_once_see_each_row_once(book: Book):
    """Also while rows come, and after the ledger was killed; whoever has read them before reads only what is new."""

    async def read() -> list[int]:
        return [row.number for row in await book.rows()]

    for number in range(1500):  # more than a page
        await ledger.charge(number, amount=1)
    (*seen, _) = await asyncio.gather(read(), read(), read(), ledger.charge(1500, amount=1))
    for numbers in seen:
        assert numbers == [*range(1, len(numbers) + 1)]
        assert len(numbers) >= 1500
    book.kill()
    await book.restart()
    await ledger.charge(1501, amount=1)
    assert await read() == [*range(1, 1503)]
    assert (await book.rows(after=1501)).ids == [1501]


async def test_slow(book: Book):
    """A caller that gives up does not stop the call: its timeout says so, and it takes effect afterwards."""
    async with book.slow(1):
        with pytest.raises(RequestTimeout, match="may have happened") as error:
            await ledger.charge(7, amount=10, timeout=0.5)
        gave_up = time.time()
        assert error.value.may_have_happened
    slow = (await until(book, 1))[0]
    assert (slow.outcome, slow.replied) == ("effect", True)
    assert slow.done > gave_up
    await ledger.charge(8, amount=10)
    quick = (await book.rows())[1]
    assert quick.done - quick.at < (slow.done - slow.at) / 2


async def test_failing_before_the_effect(book: Book):
    async with book.failing(times=2):
        for _ in range(2):
            with pytest.raises(RpcError, match="Nothing was done") as error:
                await ledger.charge(7, amount=10, idempotency_key="k")
            assert error.value.error["status"] == 503
            assert not isinstance(error.value, PermanentError)
        assert (await ledger.charge(7, amount=10, idempotency_key="k"))["receipt"] == 3
    assert [row.outcome for row in await book.rows()] == ["failed", "failed", "effect"]


async def test_failing_after_the_effect(book: Book):
    """The effect is there, its reply is not; a retry with the key learns of it, one without does it again."""
    async with book.failing(times=2, after_effect=True):
        for key in ("k", None):
            with pytest.raises(ConnectionLost, match="may have happened") as error:
                await ledger.charge(7, amount=10, idempotency_key=key)
            assert error.value.may_have_happened
    await ledger.charge(7, amount=10, idempotency_key="k")
    await ledger.charge(7, amount=10)
    rows = await book.rows()
    assert [(row.outcome, row.replied) for row in rows] == [
        ("effect", False), ("effect", False), ("repeat", True), ("effect", True),
    ]  # fmt: skip


async def test_down(book: Book):
    """Nobody connects, calls under way lose their answer, and it is read all the same."""
    await book.slow(0.3)
    async with asyncio.timeout(LIMIT):
        while not any(row.replied is False for row in await book.rows()):  # until one was cut in the middle
            under_way = asyncio.ensure_future(ledger.charge(6, amount=1))
            await asyncio.sleep(0.1)
            async with book.down():
                with pytest.raises(ConnectError, match="Nothing was done") as error:
                    await ledger.charge(7, amount=10)
                assert not error.value.may_have_happened
                assert repr(book).endswith(": slow, down>")
                with pytest.raises((ConnectionLost, ConnectError)):
                    await under_way
            with suppress(LedgerError):  # it takes effect, if it was under way
                await book.wait(len(await book.rows()) + 1, timeout=1)
    assert 7 not in (await book.rows()).ids
    await book.up()
    await ledger.charge(8, amount=1)
    assert repr(book).endswith(": healthy>")


async def test_faults_undo_themselves_one_by_one(book: Book):
    """Nested and left by an error: each puts back what was there before it, and the others stay."""
    await book.failing()
    with pytest.raises(KeyError):
        async with book.slow(0.01), book.down():
            raise KeyError
    for _ in range(3):
        with pytest.raises(RpcError):
            await ledger.mail(1)
    assert repr(book).endswith(": failing>")
    assert "async with" in repr(book.slow(1))
    await book.up()
    await ledger.mail(1)
    for wrong in (book.slow(-1), book.slow(61), book.failing(-1)):
        with pytest.raises(LedgerError, match="Expected"):
            await wrong


async def test_a_crash_of_the_ledger_loses_nothing_that_was_answered(book: Book):
    """SIGKILL in the middle of many calls, three times: every answered one is there, once, at the same address."""
    answered: dict[str, int] = {}
    ids = iter(range(100_000))

    async def write() -> None:
        while True:
            key = f"k{next(ids)}"
            try:
                answered[key] = (await ledger.charge(1, amount=1, idempotency_key=key))["receipt"]
            except (ConnectionLost, ConnectError):
                await asyncio.sleep(0.005)

    writers = [asyncio.ensure_future(write()) for _ in range(8)]
    for _ in range(3):
        wanted = len(answered) + 50
        async with asyncio.timeout(LIMIT):
            while len(answered) < wanted:  # noqa: ASYNC110 - any of the writers adds to it
                await asyncio.sleep(0.001)
        book.kill()
        assert not book.alive
        with pytest.raises(LedgerError, match=re.escape("await book.restart()")):
            await book.rows()
        await book.restart()
    for writer in writers:
        writer.cancel()
    await asyncio.gather(*writers, return_exceptions=True)
    rows = await book.rows()
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    there = {row.key: row.number for row in rows.effects}
    assert len(there) == len(rows.effects)
    assert answered.items() <= there.items()


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        (b"", 400, "malformed|truncated|ended"),
        (b"\xff\xfe\x00", 400, "Nothing was done"),
        (b"[" * 10_000, 400, "got `array`"),
        (b'{"kind": "charge", "id": 1, "fields": {"a": ' + b"[" * 8_000 + b"]" * 8_000 + b"}}", 400, "recursion"),
        (b'{"kind": "charge"}', 400, "missing required field `id`"),
        (b'{"kind": "charge", "id": true}', 400, "Expected `int | str`"),
        (b'{"kind": "charge", "id": 1.5}', 400, "Expected `int | str`"),
        (b'{"kind": "", "id": 1}', 400, "length >= 1"),
        (b'{"kind": "charge", "id": 1, "amount": NaN}', 400, "malformed"),
        (b'{"kind": "charge", "id": "' + b"x" * 201 + b'"}', 400, "length <= 200"),
        (b'{"kind": "charge", "id": 1, "key": ""}', 400, "length >= 1"),
        (b'{"kind": "charge", "id": 1, "outcome": "effect"}', 400, "unknown field `outcome`"),
        (b'{"kind": "charge", "id": 1, "at": 0}', 400, "unknown field `at`"),
        (b'{"op": "rows", "token": ""}', 400, "unknown field `op`"),
        (b'{"op": "set", "faults": {"down": true}}', 400, "unknown field `op`"),
        (b'{"kind": "charge", "id": 1, "fields": {"a": "' + b"x" * MAX_LINE + b'"}}', 413, "16,384 bytes"),
        (b"x" * 1_000_000, 413, "16,384 bytes"),
    ],
    ids=lambda value: str(value)[:40],  # a test's name goes into its environment, which has little room
)  # fmt: skip
async def test_what_is_no_call_is_refused_with_a_reason(book: Book, line: bytes, status: int, words: str):
    """Nothing is recorded, and the ledger serves on."""
    with pytest.raises(Refused, match=words) as refused:
        await raw(book, line)
    assert refused.value.status == status
    await ledger.charge(1, amount=1)
    assert len(await book.rows()) == 1


async def test_odd_values_come_back_as_they_were(book: Book):
    """Quotes, SQL, a zero byte, large numbers, deep fields: data, and nothing else."""
    odd = ["'; DROP TABLE calls; --", "\0", "é🚀", "<b>x</b>", 2**62, -1, "7"]
    for one in odd:
        await ledger.record("odd", one, idempotency_key=f"k{one}", fields={"deep": [[{"a": one}]]}, kind_=None)
    rows = await book.rows()
    assert rows.ids == odd
    assert [row.fields for row in rows] == [{"fields": {"deep": [[{"a": one}]]}, "kind_": None} for one in odd]
    assert "<b>x" not in rows._repr_html_()


def all_that_shows(book: Book) -> bytes:
    """What the ledger's user can read of it: its files, and on Linux its environment and arguments."""
    files = [path.read_bytes() for path in book._folder.iterdir()]
    assert len(files) >= 2
    place = Path(f"/proc/{book._child.pid}")
    shown = [(place / name).read_bytes() for name in ("environ", "cmdline") if place.exists()]
    return b"".join(files + shown)


async def test_a_learner_can_write_and_nothing_else(book: Book):
    """The other address wants the token, which no environment, command line or file has."""
    control = ("127.0.0.1", book._control)
    for token in ("", "0" * 32, book._token[:-1]):
        for command in ({"op": "rows"}, {"op": "set", "faults": {"down": True}}):
            with pytest.raises(Refused, match="token") as refused:
                await ask(*control, msgspec.json.encode(command | {"token": token}))
            assert refused.value.status == 403
    assert "rows" not in dir(ledger)
    assert book._token.encode() not in await asyncio.to_thread(all_that_shows, book)
    assert book._folder.stat().st_mode & 0o077 == 0


async def test_idle_and_unread_connections_do_not_stop_it(book: Book):
    """Half lines, silence, callers that leave: others are served meanwhile; past the most, they are told the number."""
    open_ones = [await asyncio.open_connection(*address_of(book.url)) for _ in range(300)]
    for number, (_, writer) in enumerate(open_ones):
        writer.write(b'{"kind": "cha' if number % 2 else b"")
        if number % 3 == 0:
            writer.transport.abort()
    assert (await ledger.charge(1, amount=1))["receipt"] == 1
    for _, writer in open_ones:
        writer.transport.abort()
    assert (await ledger.charge(1, amount=1))["receipt"] == 2
    async with book.slow(2):
        many = [ledger.charge(1, amount=1, timeout=LIMIT) for _ in range(1010)]
        ends = await asyncio.gather(*many, return_exceptions=True)
    refused = [end for end in ends if isinstance(end, RpcError)]
    assert {end.error["status"] for end in refused} == {429}
    assert 1 <= len(refused) <= 10
    assert "of at most 1,000" in str(refused[0])
    assert len(await book.effects()) == 2 + 1010 - len(refused)


async def test_the_address_is_known_at_every_moment_of_a_replacement(book: Book):
    """A service that is started meanwhile, from another thread, learns it."""
    starting = asyncio.create_task(start_ledger())
    while not starting.done():
        assert os.environ.get("LEDGER_URL") == book.url
        await asyncio.sleep(0)
    await (await starting).stop()


async def test_starting_again_replaces_the_ledger_at_the_same_address(book: Book):
    """A cell that is run again: an empty ledger, the old one gone, and who knew the address knows it still."""
    await ledger.charge(1, amount=1)
    again, late = await asyncio.gather(start_ledger(), start_ledger())
    assert again.url == late.url == book.url == os.environ["LEDGER_URL"]
    assert (book.alive, again.alive, late.alive) == (False, False, True)
    assert (await ledger.charge(2, amount=1))["receipt"] == 1
    with pytest.raises(LedgerError, match="its rows are gone"):
        await book.restart()
    await late.stop()
    await late.stop()
    assert "LEDGER_URL" not in os.environ
    with pytest.raises(LedgerError, match="does not run"):
        await late.rows()
    assert not late._folder.exists()


async def test_without_a_ledger_the_error_says_how_to_start_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LEDGER_URL", raising=False)
    with pytest.raises(UsageError, match=re.escape("book = await start_ledger()")):
        await ledger.charge(1, amount=1)
    monkeypatch.setenv("LEDGER_URL", "http://x")
    with pytest.raises(UsageError, match=re.escape("tcp://127.0.0.1:")):
        await ledger.charge(1, amount=1)


async def test_a_call_that_cannot_be_sent(book: Book):
    with pytest.raises(PayloadError, match=r"a call of 20,\d{3} bytes exceeds the ledger's 16,384"):
        await ledger.mail(1, text="x" * 20_000)
    with pytest.raises(PayloadError, match="JSON"):
        await ledger.mail(1, text=object())
    assert len(await book.rows()) == 0


async def test_a_ledger_that_does_not_start_says_why(book: Book):
    """Another program has its port: the error shows what the process printed."""
    book.kill()
    server = await asyncio.start_server(lambda *_: None, *address_of(book.url))
    async with server:
        with pytest.raises(LedgerError, match="address already in use"):
            await book.restart()
    await book.restart()
    assert len(await book.rows()) == 0


async def test_an_answer_that_is_none(book: Book):
    """A peer that says nothing, or something else, is no answer: the call may have happened."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"<html>")
        writer.close()

    async with await asyncio.start_server(peer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()[:2]
        with pytest.raises(NoAnswer):
            await ask(host, port, b"{}")
        with pytest.raises(ConnectionLost):
            await Ledger(f"tcp://{host}:{port}").charge(1, amount=1)


def test_a_table_to_read():
    """As text and as HTML, with the numbers above it, a bounded number of rows and shortened texts."""
    rows = Rows(
        Row(n, 5 + n / 1000, 6, "mail", n, None, "k" * 99, {"to": "<i>"}, outcome, 1, n != 2, "shop", 1, 9)
        for n, outcome in enumerate(["effect"] * 20 + ["repeat"] * 10, 1)
    )
    lines = repr(rows).splitlines()
    assert lines[0] == "30 calls to the ledger: 20 effects, 10 repeats of an idempotency key"
    assert lines[1].split()[:4] == ["row", "time", "kind", "id"]
    assert re.match(r"2 +\+0\.001 s +mail +2 +effect +k{15}… +shop 1 \(pid 9\) +to='<i>', reply lost$", lines[3])
    assert len(lines) == 23
    assert lines[-1] == "… and 10 more"
    html = rows._repr_html_()
    assert html.count("<tr>") == 21
    assert "&lt;i&gt;" in html
    assert 'scope="col"' in html
    assert repr(Rows([])) == "0 calls to the ledger: nothing happened"
    assert rows[:2].ids == [1, 2]


calls = some.lists(
    some.tuples(some.sampled_from(["charge", "ship"]), some.integers(0, 2), some.sampled_from([None, "a", "b"]),
                some.sampled_from([0, 1])),
    max_size=25,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(calls, some.integers(0, 25))
def test_the_store_agrees_with_a_dictionary(tmp_path_factory: pytest.TempPathFactory, given_calls: list, reopen: int):
    """One effect per kind and key, the first answer to every repeat, a conflict for another payload; over a restart."""
    path = tmp_path_factory.mktemp("store") / "ledger.sqlite"
    store, known, expected = Store(path), {}, []
    for number, (kind, id, key, amount) in enumerate(given_calls, 1):
        if number == reopen:
            store.close()
            store = Store(path)
        first = known.get((kind, key)) if key else None
        call = Call(kind=kind, id=id, key=key, amount=amount)
        if first is None:
            answer = store.record(call, number, True)
            assert (answer["receipt"], answer["at"]) == (number, number)
            known[kind, key] = (id, amount, answer)
            expected.append("effect")
        elif first[:2] == (id, amount):
            assert store.record(call, number, True) == first[2]
            expected.append("repeat")
        else:
            with pytest.raises(Conflict):
                store.record(call, number, True)
            expected.append("conflict")
    assert [row["outcome"] for row in store.rows(0, 1000)] == expected
    store.close()


def test_a_full_store_says_both_numbers(tmp_path: Path):
    store = Store(tmp_path / "ledger.sqlite", most=2)
    for _ in range(2):
        store.record(Call(kind="mail", id=1), 0, True)
    for verb in (
        lambda: store.record(Call(kind="mail", id=1), 0, True),
        lambda: store.fail(Call(kind="mail", id=1), 0),
    ):
        with pytest.raises(Full, match="2 rows of at most 2"):
            verb()


def test_the_import_is_quick_and_loads_no_driver():
    """A service writes with little more than postoffice's errors: no driver, no SQLite, no subprocess."""
    code = "import sys; from classroom.ledger import ledger; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    heavy = {"redis", "aio_pika", "nats", "aiomqtt", "aiokafka", "grpc", "httpx", "fastapi", "sqlite3", "IPython"}
    assert "classroom.ledger.client" in loaded
    assert {name.partition(".")[0] for name in loaded} & heavy == set()
    assert "classroom.supervisor" not in loaded


def test_it_ends_with_the_process_that_started_it(tmp_path: Path):
    code = "import asyncio\nfrom classroom.ledger import start_ledger\n"
    code += "print(asyncio.run(start_ledger())._child.pid, flush=True)\ntime.sleep(60)"
    kernel = Kernel(code, tmp_path / "kernel")
    pid = int(kernel.line())
    assert running(pid)
    kernel.kill()
    eventually(lambda: not running(pid), what="the end of the ledger")
    kernel.nothing_is_left()


def test_services_of_a_notebook_write_to_it(tmp_path: Path):
    """A service learns the address by its environment, and its rows bear its name and replica."""
    notebook = Notebook(tmp_path / "kernel")
    try:
        cell = """%%service payments --on tcp
from postoffice import message_pattern
from classroom.ledger import ledger

@message_pattern("pay")
async def pay(data, ctx):
    return await ledger.charge(data["id"], amount=data["total"], idempotency_key=data["key"])
"""
        notebook.ok("from classroom import start_ledger\nbook = await start_ledger()")
        notebook.ok(cell)
        notebook.ok("client = await Client.connect((await payments).url)")
        pay = "(await client.send('pay', {'id': 7, 'total': 10, 'key': 'k'}))['receipt']"
        assert notebook.ok(pay) == "1"
        assert notebook.ok("book = await start_ledger()\n" + pay) == "1"  # the cell run again: the service goes on
        text = notebook.ok("await book.rows()")
        assert re.search(r"1 call to the ledger: 1 effect\n", text)
        assert re.search(r"payments 0 \(pid \d+\)", text)
        assert notebook.ok("(await book.rows())[0].pid == payments.replicas[0].pid") == "True"
        failing = f"async with book.failing(1):\n    try: {pay}\n    except Exception as e: problem = e\nproblem"
        assert "'status': 503" in notebook.ok(failing)
        notebook.ok("await book.stop()")
        error = notebook.run("await book.rows()").error
        assert "LedgerError" in error
        assert "Traceback" not in error
    finally:
        notebook.close()
    notebook.nothing_is_left()
