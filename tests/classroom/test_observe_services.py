"""Observing from a notebook: services in cells, what kills them, and the pictures in the output."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from classroom_help import Notebook

SHOP = """%%service shop --on tcp
from postoffice import Client, message_pattern
import os

@message_pattern("order")
async def order(data):
    async with await Client.connect(os.environ["STOCK"]) as stock:
        return await stock.send("take", data, timeout=3)

@message_pattern("die")
async def die(data):
    os._exit(1)
"""
STOCK = """%%service stock --on tcp
from postoffice import message_pattern

@message_pattern("take")
async def take(data):
    return data
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    """A kernel that observes two services, of which one calls the other."""
    notebook = Notebook(tmp_path_factory.mktemp("observe") / "kernel")
    notebook.ok("from classroom.observe import observe\nseen = await observe()")
    notebook.ok(STOCK)
    notebook.ok("os.environ['STOCK'] = (await stock).url")
    notebook.ok(SHOP)
    notebook.ok("client = await Client.connect((await shop).url)")
    yield notebook
    notebook.close()
    notebook.nothing_is_left()


def test_one_trace_over_three_processes(notebook: Notebook):
    """Notebook, shop and stock: no cell configured anything; the text and the picture show all four spans."""
    assert notebook.ok("await client.send('order', 5)") == "5"
    assert notebook.ok("await seen.complete()") == "True"
    lines = notebook.ok("seen.waterfall()").splitlines()
    assert [re.search(r"\w+: \w+ \w+", line)[0] for line in lines[1:]] == [
        "notebook: send order", "shop: process order", "shop: send take", "stock: process take",
    ]  # fmt: skip
    assert notebook.ok("print(seen.waterfall()._repr_html_()[:60])").startswith("<div>")
    assert "4 spans" in notebook.ok("seen")


def test_a_kill_a_pause_and_a_restart_are_on_the_line(notebook: Notebook):
    """What the process itself could not tell, the kernel noted; the unfinished handler ends where it was killed."""
    notebook.ok("begin = time.time()\nstock.pause()\nawait stock.resume()")
    cell = notebook.run("await client.send('die', 1)")
    assert "ConnectionLost" in cell.error
    notebook.ok("shop.kill()\nstock.kill()\nawait shop.restart()\nawait stock.restart()")
    assert notebook.ok("await seen.complete()") == "True"
    text = notebook.ok("seen.timeline(start=begin)")
    for process, what in [("stock", "paused"), ("stock", "resumed"), ("stock", "killed"), ("stock", "started")]:
        assert re.search(rf"\+\S+ s +{process} +{what}", text), (process, what, text)
    assert re.search(r"shop +received +die", text)
    assert re.search(r"shop +crashed +exit code 1", text)
    assert re.search(r"notebook +failed +ConnectionLost", text)
    assert "it never ended" in notebook.ok("print(seen.timeline(start=begin).svg)")
    assert notebook.ok(CALL) == "6"


CALL = "client = await Client.connect(shop.url)\nawait client.send('order', 6)"


def test_faults_of_a_broker_and_of_the_network_are_lines_of_their_own(notebook: Notebook):
    """Between which, everything else that happened can be understood."""
    notebook.ok("from classroom import start_broker\nnats = await start_broker('nats', link=True)\nbegin = time.time()")
    notebook.ok("async with nats.link.latency(0.01): pass")
    notebook.ok("async with nats.link.cut(): pass")
    notebook.ok("nats.kill()\nawait nats.restart()")
    text = notebook.ok("seen.timeline(start=begin)")
    notebook.ok("await nats.stop()")
    for process, what in [("network", "fault +latency"), ("network", "cut +cut"), ("network", "healed"),
                          ("nats", "killed"), ("nats", "started")]:  # fmt: skip
        assert re.search(rf"\+\S+ s +{process} +{what}", text), (process, what, text)


def test_observing_again_begins_anew(notebook: Notebook):
    """On the same address: services that run already are still seen; after `stop` nothing more comes."""
    notebook.ok("seen = await observe()")
    assert notebook.ok("len(seen.spans())") == "0"
    assert notebook.ok(CALL) == "6"
    assert notebook.ok("await seen.complete()") == "True"
    assert notebook.ok("len(seen.spans())") == "4"
    notebook.ok("await seen.stop()")
    assert notebook.ok(CALL) == "6"
    assert notebook.ok("len(seen.spans())") == "4"
    assert "restart those that were up" in notebook.ok("seen = await observe()\nseen")
