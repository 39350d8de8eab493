"""The commonest mistakes of a learner, made in a real kernel: first comes what happened, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from classroom_help import Notebook

SERVICE = """%%service payments --on rabbit --delivery at-least-once
from postoffice import event_pattern

@event_pattern("order.placed")
async def charge(data, ctx):
    print(book)
"""
RETRYING = """%%service hasty --on rabbit
from postoffice import Retry, event_pattern

@event_pattern("order.placed", retry=Retry())
async def charge(data, ctx):
    pass
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    """A kernel with a RabbitMQ, a service on it, and a client."""
    notebook = Notebook(tmp_path_factory.mktemp("people") / "kernel")
    notebook.ok("import aio_pika\nfrom classroom import start_broker\nfrom classroom.byhand import depth")
    notebook.ok("rabbit = await start_broker('rabbitmq')")
    notebook.ok(SERVICE)
    notebook.ok("book = 'a variable of the notebook'\nawait payments.ready()")
    notebook.ok("till = await Client.connect(rabbit.url, queue='payments', delivery='at-least-once')")
    notebook.ok("channel = await (await aio_pika.connect(rabbit.url)).channel()")
    yield notebook
    notebook.close()
    notebook.nothing_is_left()


@pytest.mark.parametrize(
    ("cell", "what", "then"),
    [
        ("x = Client.connect(rabbit.url)\nx.emit('a', 1)", "AttributeError: 'coroutine' object", "`await` is missing"),
        ("await Client.connect(rabbit.url)", "UsageError: RabbitMQ sends messages to a queue", "queue='the name of"),
        ("await till.emit('order.placed', object())", "PayloadError: ", "JSON"),
        ("await rabbit.dead_letters('payment.dead')", "UsageError: there is no queue 'payment.dead'", "name right"),
        ("await payments.crash_at('after')", "ValueError: 'after' is no point", "choose from received"),
        ("await depth(channel, 'nowhere')", "ChannelNotFoundEntity: NOT_FOUND", "channel = await connection.channel()"),
        (
            "await channel.close(); await depth(channel, 'payments')",
            "ChannelInvalidStateError",
            "channel = await connection.channel()",
        ),
        ("await aio_pika.connect('amqp://127.0.0.1:1')", "AMQPConnectionError: ", "Is the broker up?"),
        ("await Client.connect('amqp://127.0.0.1:1', queue='a')", "ConnectError: no RabbitMQ broker", "Is the broker"),
    ],
)
def test_what_happened_comes_first(notebook: Notebook, cell: str, what: str, then: str):
    """The message, what to do, the cell's own line; no frame of a library in between. `%tb` still has them all."""
    error = notebook.run(cell).error.partition("\n")[2]  # the first line is the name and text that a program reads
    message, _, place = error.partition("\n\n")
    assert message.startswith(what)
    assert then in message
    line = cell.splitlines()[-1]
    assert re.match(rf"Cell In\[\d+\], line {len(cell.splitlines())}:  {re.escape(line)}\n", place)
    assert "site-packages" not in error
    assert "Traceback" in notebook.run("%tb").error + notebook.run("%tb").text


def test_an_error_of_the_readers_own_looks_as_ever(notebook: Notebook):
    """The whole traceback, and no advice."""
    error = notebook.run("def half(x):\n    return x / 0\nhalf(1)").error
    assert "Traceback (most recent call last)" in error
    assert "----> 2     return x / 0" in error
    assert "await" not in error


def test_a_call_that_is_not_awaited_says_so(notebook: Notebook):
    """It is no error to Python: the cell shows a coroutine."""
    assert "Client.emit(...) has not begun: `await` is missing" in notebook.run("till.emit('order.placed', 1)").text
    broker = notebook.run("soon = start_broker('rabbitmq')\n").error
    assert not broker
    error = notebook.run("%%service early --on soon\nx = 1").error
    assert "soon is no broker yet, since `await` is missing" in error
    notebook.ok("soon.close()")


def test_a_queue_that_nobody_reads_is_said(notebook: Notebook):
    """A wrong queue is made, as NestJS does it, so what is sent there is kept, and never read."""
    wrong = notebook.run("wrong = await Client.connect(rabbit.url, queue='payment')")
    assert "the queue 'payment' is new" in wrong.text
    assert "is new" not in notebook.run("again = await Client.connect(rabbit.url, queue='payments')").text
    notebook.ok("await wrong.close()\nawait again.close()")


def test_what_a_service_says_is_below_its_cell(notebook: Notebook):
    """A pattern without a handler; a variable of the notebook; a handler that raised, and where its event is now."""
    notebook.ok("await till.emit('order.place', {})")
    notebook.until_view('nobody handles the event "order.place"; it goes to payments.dead')
    notebook.ok("await till.emit('order.placed', {})")
    notebook.until_view("The notebook has a variable 'book'")
    assert "Cell payments, line 6, in charge" in notebook.view()
    dead = notebook.ok("await rabbit.dead_letters('payments.dead')")
    assert "unhandled" in dead
    assert "NameError: name 'book' is not defined" in dead


def test_options_that_do_not_go_together(notebook: Notebook):
    """At most once keeps nothing that could be tried again; a queue keeps what it was made with."""
    notebook.ok(RETRYING)
    assert "In its cell: %%service NAME --on BROKER --delivery at-least-once" in notebook.run("await hasty").error
    assert "'payments' exists already" not in notebook.ok("payments.logs()")
    notebook.ok(SERVICE.replace("at-least-once", "at-least-once --quorum"))
    error = notebook.run("await payments").error
    assert "'payments' exists already with other properties" in error
    assert "Use another name, or delete it" in error
    notebook.ok(SERVICE)
    notebook.ok("await payments")  # as the other tests need it


FORGETFUL = """%%service forgetful --on rabbit --delivery at-least-once
from classroom.ledger import ledger
from postoffice import event_pattern

@event_pattern("order.placed")
async def charge(data, ctx):
    ledger.charge(data["id"], amount=1)
"""


def test_a_retry_that_is_none(notebook: Notebook):
    """A number in its place says what to write."""
    notebook.ok(
        RETRYING.replace("hasty --on rabbit", "trusting --on rabbit --delivery at-least-once").replace("()", "", 1)
    )
    error = notebook.run("await trusting").error
    assert "HandlerError: retry=<class" in error
    assert "write retry=Retry(attempts=3)" in error


def test_the_ledger_was_called_without_await(notebook: Notebook):
    """The event is done, and nothing was charged: who waits for the charge is told where to look; it stands there."""
    notebook.ok("from classroom import start_ledger\nledger_book = await start_ledger()")
    notebook.ok(FORGETFUL)
    notebook.ok("post = await Client.connect(rabbit.url, queue='forgetful', delivery='at-least-once')")
    notebook.ok("await post.emit('order.placed', {'id': 1})")
    notebook.until_view("'Ledger.charge' was never awaited")
    error = notebook.run("await ledger_book.wait(1, timeout=0.1)").error
    assert "LedgerError: 0 of 1 calls have come to the ledger" in error
    assert "Its log is below its cell" in error


def test_dead_letters_that_are_not_there(notebook: Notebook):
    """One that was requeued already; more than ever come."""
    notebook.ok("await till.emit('order.strange', {}, message_id='strange')")
    notebook.ok("letters = await rabbit.dead_letters('payments.dead')")
    notebook.ok("while 'strange' not in [one.id for one in letters]:\n    await letters.again()")
    notebook.ok("await letters.drop('strange')")
    error = notebook.run("await letters.drop('strange')").error
    assert "UsageError: there is no dead letter 'strange' in 'payments.dead'" in error
    assert "requeued or dropped already" in error
    error = notebook.run("await letters.wait(99, timeout=0.1)").error
    assert "of 99 letters have come to 'payments.dead'" in error
