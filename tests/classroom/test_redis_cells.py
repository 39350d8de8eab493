"""Redis in a notebook: how long a replica may be silent, and the helpers of its lesson."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from classroom_help import Notebook

HOLDING = """%%service holder --on broker --delivery at-least-once --replicas 2 --ack-wait 0.6
import asyncio
from postoffice import event_pattern

@event_pattern("hold")
async def hold(data, ctx):
    print("has", data, "attempt", ctx.attempt)
    await asyncio.sleep(60 if ctx.attempt == 1 else 0)
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    """A kernel with a Redis and a connection to it."""
    notebook = Notebook(tmp_path_factory.mktemp("redis") / "kernel")
    notebook.ok("from redis.asyncio import Redis\nfrom classroom import start_broker")
    notebook.ok("from classroom.byhand_redis import *")
    notebook.ok("broker = await start_broker('redis')\nredis = Redis.from_url(broker.url, decode_responses=True)")
    yield notebook
    notebook.close()
    notebook.nothing_is_left()


def test_what_a_silent_replica_holds_goes_to_another_one(notebook: Notebook):
    """After ack-wait, and with the next attempt's number."""
    notebook.ok(HOLDING)
    notebook.ok("desk = await Client.connect((await holder).url, delivery='at-least-once')")
    notebook.ok("await desk.emit('hold', 7)")
    notebook.ok("while 'has 7 attempt 1' not in holder.logs(): await asyncio.sleep(0.01)")
    held = notebook.ok("import re\nwho = await pending(redis, 'events:hold', 'holder')\nwho")
    assert "delivered 1x" in held
    notebook.ok("pid = int(re.search(r'-(\\d+)-', who)[1])")
    notebook.ok("holder.kill(next(one.number for one in holder.replicas if one.pid == pid))")
    notebook.ok("while 'has 7 attempt 2' not in holder.logs(): await asyncio.sleep(0.01)")
    notebook.ok("holder.kill()\nawait desk.close()")


def test_who_listens_hears_and_who_is_cut_off_is_told(notebook: Notebook):
    """A subscription stands when the block begins; what came is counted, and so is the cut."""
    told = notebook.ok("async with listening(redis, 'news') as radio:\n    await redis.publish('news', 'x')\n"
                       "    one = await heard(radio)\none.messages, one.cuts")  # fmt: skip
    assert told == "((('news', 'x'),), 0)"
    told = notebook.ok("async with listening(redis, 'news') as radio:\n    await redis.publish('news', 'x')\n"
                       "    await redis.client_kill_filter(skipme=True)\n"
                       "    one = await heard(radio)\none")  # fmt: skip
    assert "then the connection was cut off (1x)" in told


def test_a_group_by_hand(notebook: Notebook):
    """New entries are read once, and stand on the list of what is pending."""
    notebook.ok("await write(redis, 'shelf', 3)\nawait redis.xgroup_create('shelf', 'desk', id='0')")
    assert notebook.ok("len(await read(redis, 'shelf', 'desk', 'ann', 2))") == "2"
    assert notebook.ok("[*(await read(redis, 'shelf', 'desk', 'bob', 9)).values()]") == "[{'n': '2'}]"
    assert notebook.ok("await read(redis, 'shelf', 'desk', 'bob', 9, wait=0.05)") == "{}"
    assert notebook.ok("(await pending(redis, 'shelf', 'desk')).count('ann, delivered 1x')") == "2"


def test_a_broker_that_is_killed_and_counted(notebook: Notebook):
    """With the default settings nothing is left after a kill, and everything after a clean end."""
    notebook.ok("plain = await start_broker('redis', name='plain')")
    assert "100 acknowledged" in notebook.ok("killed = await survivors(plain, number=100)\nkilled")
    assert notebook.ok("killed.endswith(': 0 are left')") == "True"
    assert notebook.ok("(await survivors(plain, clean=True, number=100)).endswith(': 100 are left')") == "True"
    notebook.ok("both = Redis.from_url(plain.url)\nawait write(both, 'diary', 100)")
    assert 0 < int(notebook.ok("await fill_cache(both, prices=5000, room=3_000_000)")) < 5000
    assert notebook.ok("await both.xlen('diary')") == "0"
    notebook.ok("await both.aclose()\nawait plain.stop()")
