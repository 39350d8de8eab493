"""%%service with a real broker, under nbclient, and under nbval."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from classroom_help import Notebook, eventually, marked
from nbclient import NotebookClient
from test_services import CALL, ECHO

WORKERS = """%%service workers --on broker --replicas 3 --group all
import os
from postoffice import message_pattern

@message_pattern("who")
async def who(data, ctx):
    return os.getpid()
"""
ASK = "found = await asyncio.gather(*(client.send('who') for _ in range(200)))\n"


@pytest.fixture
def notebook(tmp_path: Path):
    notebook = Notebook(tmp_path / "kernel")
    notebook.ok("from classroom import measure, start_broker\nbroker = await start_broker('nats', engine='process')")
    yield notebook
    notebook.close()
    notebook.nothing_is_left()


def workers(notebook: Notebook) -> int:
    return len([process for process in marked(notebook.mark) if "postoffice run" in process])


def test_replicas_on_a_broker(notebook: Notebook):
    """They share the load; one can be killed alone; scaling up replaces it, scaling down drains."""
    notebook.ok(WORKERS)
    notebook.ok("await workers\nclient = await Client.connect(broker.url)")
    assert notebook.ok(ASK + "set(found) == {replica.pid for replica in workers.replicas}") == "True"
    assert "3 replicas" in notebook.ok("workers")
    notebook.ok("workers.kill(1)")
    assert notebook.ok("workers.state, workers.alive") == "('killed', True)"
    assert "ready, killed, ready" in notebook.ok("workers")
    assert notebook.ok("len([r for r in workers.replicas if r.alive])") == "2"
    assert "no replica 7" in notebook.run("workers.kill(7)").error
    assert notebook.ok("await workers.scale(3); [replica.state for replica in workers.replicas]") == str(["ready"] * 3)
    assert notebook.ok("await workers.scale(1); " + ASK + "len(set(found))") == "1"
    eventually(lambda: workers(notebook) == 1)
    for wrong in (0, 33):
        assert "1 to 32" in notebook.run(f"await workers.scale({wrong})").error
    assert notebook.ok("workers.pause(0)\nawait workers.resume()\n" + ASK + "len(set(found))") == "1"


def test_a_broker_that_comes_back(notebook: Notebook):
    """Over the broker's restart the service stays; a new broker of that name is taken at the next run of the cell."""
    notebook.ok(WORKERS)
    notebook.ok("await workers\nbroker.kill(); await broker.restart()\nclient = await Client.connect(broker.url)")
    ask = "try: print(len({await client.send('who', timeout=0.5)}))\nexcept Exception as error: print(error)"
    eventually(lambda: notebook.ok(ask).strip() == "1", what="an answer after the broker's restart")
    notebook.ok("broker = await start_broker('nats', engine='process')")
    assert notebook.ok("workers.url == broker.url") == "True"
    notebook.ok(WORKERS)
    notebook.ok("await workers\nclient = await Client.connect(broker.url)")
    assert notebook.ok(ASK + "len(set(found))") == "3"
    assert "200 of 200" in notebook.ok("await measure.send(broker.url, 'who', n=200, concurrency=4)")


def test_no_broker_there(notebook: Notebook):
    """The broker is down when the service starts: its cell says so."""
    notebook.ok("broker.kill()")
    notebook.ok(WORKERS)
    assert "ConnectError" in notebook.run("await workers").error
    notebook.ok("await broker.restart()\nawait workers.restart()")
    assert notebook.ok("workers.state") == "'ready'"


def written(folder: Path) -> Path:
    """A small lesson, as a file."""
    sources = [
        "import classroom\nfrom postoffice import Client",
        ECHO,
        CALL + "await client.send('echo', 'hello')",
        "users.kill(); users.state",
        "users",
    ]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    for cell in cells[2:]:
        cell.metadata["tags"] = ["nbval-check-output"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = folder / "lesson.ipynb"
    nbformat.write(notebook, path)
    return path


def test_nbclient_stores_what_can_be_read(tmp_path: Path):
    """The live output is stored as text and HTML, twice the same: no pid, no time, no port."""
    stored = []
    for _ in range(2):
        path = written(tmp_path)
        notebook = nbformat.read(path, 4)
        NotebookClient(notebook, timeout=60).execute()
        nbformat.write(notebook, path)
        stored.append([cell.outputs for cell in notebook.cells])
    view = stored[0][1][0]["data"]
    assert view["text/plain"] == "users: starting → ready → killed (on tcp; handles echo, version, end)"
    assert "<b>users</b>" in view["text/html"]
    assert stored[0] == stored[1]
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-cell-timeout=60", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=100, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout
