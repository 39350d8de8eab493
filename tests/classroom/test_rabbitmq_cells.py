"""RabbitMQ in a notebook: a cell's options of the queue, queues by hand, and waiting for what happens to a message."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from classroom_help import Notebook

HOLDING = """%%service holder --on rabbit --delivery at-least-once --prefetch 3
import asyncio
from postoffice import event_pattern

@event_pattern("hold")
async def hold(data, ctx):
    print("has", data)
    await asyncio.sleep(60)
"""
COUNTED = """%%service counted --on rabbit --delivery at-least-once --quorum --exchange shop
from postoffice import event_pattern

@event_pattern("order.*")
async def order(data, ctx):
    if data == "poison":
        raise ValueError("cannot be read")
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    """A kernel with a RabbitMQ and a channel to it."""
    notebook = Notebook(tmp_path_factory.mktemp("rabbit") / "kernel")
    notebook.ok("import aio_pika\nfrom classroom import start_broker\nfrom classroom.byhand import *")
    notebook.ok("from classroom.observe import observe\nwatch = await observe()")
    notebook.ok("rabbit = await start_broker('rabbitmq')")
    notebook.ok("connection = await aio_pika.connect(rabbit.url)\nchannel = await connection.channel()")
    notebook.ok("post = lambda text, to: channel.default_exchange.publish(aio_pika.Message(text.encode()), to)")
    yield notebook
    notebook.close()
    notebook.nothing_is_left()


def held(notebook: Notebook, count: int, of: int) -> None:
    """So many letters are handed out, and the rest waits."""
    notebook.ok(f"while holder.logs().count('has') < {count}: await asyncio.sleep(0.01)")
    assert notebook.ok("await depth(channel, 'holder')") == str(of - count)


def test_prefetch_is_what_a_replica_may_hold(notebook: Notebook):
    """As its cell says, until it is restarted with another one; the cell, run again, means what it says."""
    notebook.ok(HOLDING)
    notebook.ok("office = await Client.connect((await holder).url, queue='holder', delivery='at-least-once')")
    notebook.ok("for number in range(6): await office.emit('hold', number)")
    held(notebook, 3, of=6)
    notebook.ok("holder.kill()\nawait holder.restart(prefetch=1)")
    notebook.ok("while holder.logs().count('has') < 3 + 1: await asyncio.sleep(0.01)")
    assert notebook.ok("await depth(channel, 'holder')") == "5"
    notebook.ok("holder.kill()\nawait office.close()")


def test_a_quorum_queue_on_an_exchange(notebook: Notebook):
    """The queue is one that counts, and bound to the exchange; `seen` waits, and says what is missing."""
    notebook.ok(COUNTED)
    notebook.ok("shop = await Client.connect((await counted).url, exchange='shop', delivery='at-least-once')")
    notebook.ok("await shop.emit('order.placed', 'good', message_id='good')")
    notebook.ok("await shop.emit('order.placed', 'poison', message_id='poison')")
    notebook.ok("await watch.seen('good', 'acknowledged')\nawait watch.seen(['poison'], 'dead-lettered')")
    error = notebook.run("await watch.seen(['good', 'poison'], 'dead-lettered', limit=0.1)").error
    assert re.search(r"1 of 2 messages were not dead-lettered within 0.1 s. Of 'good' was seen: emitted, .*", error)
    refused = notebook.run("await (await connection.channel()).declare_queue('counted', durable=True)").error
    assert "inequivalent arg 'x-" in refused
    assert "It exists already with other properties" in refused


def test_by_hand(notebook: Notebook):
    """A queue that is emptied, letters that are counted, taken, and given back until they come no more."""
    notebook.ok("queue = await fresh(channel, 'desk')\nfor text in 'abc': await post(text, 'desk')")
    assert notebook.ok("await depth(channel, 'desk')") == "3"
    lines = notebook.run("await take(queue, 2)").text.splitlines()
    assert [re.sub(r"[\d.]+ s", "… s", line) for line in lines] == [
        "a        came after … s",
        "b        came after … s",
    ]
    assert notebook.ok("given = await give_back(queue, most=7, seconds=30)\ngiven.times, given.headers") == "(7, {})"
    notebook.ok("await fresh(channel, 'desk')")
    assert notebook.ok("given = await give_back(queue, most=7, seconds=30)\ngiven.times, given.headers") == "(0, None)"
    notebook.ok("limit = {'x-queue-type': 'quorum', 'x-delivery-limit': 2}\nfew = await fresh(channel, 'few', limit)")
    notebook.ok("await post('x', 'few')")
    given = notebook.ok("await give_back(few, most=50, seconds=30)")
    assert re.fullmatch(r"delivered 3 times in [\d.]+ s, comes no more", given)


def test_one_who_gives_back_what_fails_does_nothing_else(notebook: Notebook):
    """What is behind it waits; without it all is done, and the work ends before its time."""
    notebook.ok("tray = await fresh(channel, 'tray')\nfor text in '{', '7', '8': await post(text, 'tray')")
    told = notebook.ok("import json\nturns = await work(tray, json.loads, seconds=0.3)\nprint(turns)")
    assert re.search(r"^\{ +taken [\d,]+ times, handled 0\nhandled in all: 0", told)
    assert notebook.ok("turns.taken.keys() == {'{'} and turns.taken['{'] > 1") == "True"
    assert "handled in all: 3" in notebook.ok("await work(tray, lambda body: body, seconds=60)")
