"""%%service in a real kernel: deploy, use, break, deploy again."""

import os
import random
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from classroom_help import Notebook, eventually, marked

from classroom.service_fleet import Fleet
from classroom.service_plan import Plan

ECHO = """%%service users --on tcp
from postoffice import message_pattern
import asyncio, os
VERSION = 1

@message_pattern("echo")
async def echo(data, ctx):
    return data

@message_pattern("version")
async def version(data, ctx):
    print("asked for the version")
    await asyncio.sleep(data or 0)
    return VERSION

@message_pattern("end")
async def end(data, ctx):
    os._exit(data)
"""
CALL = "client = await Client.connect((await users).url)\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory):
    notebook = Notebook(tmp_path_factory.mktemp("shared") / "kernel")
    yield notebook
    notebook.close()
    notebook.nothing_is_left()


@pytest.fixture
def notebook(shared: Notebook):
    """One kernel for all tests here; each leaves it without a running service."""
    yield shared
    shared.ok("for handle in [v for v in globals().values() if type(v).__name__ == 'ServiceHandle']: handle.kill()")
    shared.ok(
        "for name in [n for n, v in globals().items() if type(v).__name__ == 'ServiceHandle']: del globals()[name]"
    )


def test_the_first_message(notebook: Notebook):
    """The magic returns at once, the handle can be awaited, the service answers, its output names no port."""
    cell = notebook.run(ECHO)
    assert not cell.error
    assert cell.displays == ["users: starting (on tcp)"]
    assert notebook.ok(CALL + "await client.send('echo', 'é🚀')") == "'é🚀'"
    assert notebook.ok("users.url.startswith('tcp://127.0.0.1:'), users.state, users.alive") == "(True, 'ready', True)"
    assert notebook.view() == "users: starting → ready (on tcp; handles echo, version, end)"
    assert notebook.ok("users") == notebook.view()
    assert "role=" in list(notebook.html.values())[-1]
    port = notebook.ok("print(users.url.rpartition(':')[2])").strip()
    assert port in notebook.ok("print(users.logs())")
    notebook.ok("await client.send('version')")
    assert port not in notebook.until_view("asked for the version")


def test_its_address_is_the_same_whoever_asks_first():
    """The next cell may ask for it at the moment in which the services' loop starts the process."""
    for _ in range(20):
        fleet = Fleet("users", Plan("", "tcp", lambda: None, "at-most-once", None, 1, False), lambda _: False)
        at_once = threading.Barrier(8, timeout=10)

        def ask(fleet: Fleet = fleet, at_once: threading.Barrier = at_once) -> str:
            at_once.wait()
            return fleet.url(fleet.plan)

        with ThreadPoolExecutor(8) as asking:
            assert len({one.result() for one in [asking.submit(ask) for _ in range(8)]}) == 1


def test_a_new_version_waits_for_the_old_one_to_drain(notebook: Notebook):
    """A request under way is answered by the old process; then the new one serves on the same address."""
    notebook.ok(ECHO)
    notebook.ok(CALL + "before = users.url, users.replicas[0].pid")
    notebook.ok("slow = asyncio.create_task(client.send('version', 1, timeout=20))")
    notebook.until_view("asked for the version")
    notebook.ok(ECHO.replace("VERSION = 1", "VERSION = 2"))
    assert notebook.ok("await slow") == "1"
    assert notebook.ok(CALL + "await client.send('version')") == "2"
    assert notebook.ok("users.url == before[0], users.replicas[0].pid != before[1]") == "(True, True)"


def test_a_cell_that_does_not_compile_leaves_the_old_one_up(notebook: Notebook):
    notebook.ok(ECHO)
    notebook.ok(CALL)
    error = notebook.run("%%service users --on tcp\nimport os\n\ndef broken(:\n    pass\n").error
    for text in (
        "SyntaxError: invalid syntax",
        "Cell users, line 4",
        "def broken(:",
        "What ran before is still up: ready",
    ):
        assert text in error
    error = notebook.run("%%service users --on tcp\nimport asyncio\nawait asyncio.sleep(1)\n").error
    for text in ("'await' outside function", "Cell users, line 3", "await asyncio.sleep(1)"):
        assert text in error
    assert notebook.ok("await client.send('echo', 1)") == "1"


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("import os\n\n1 / 0\n", ["line 4, in <module>", "    1 / 0", "ZeroDivisionError: division by zero"]),
        ("client_of_the_kernel.send\n", ["line 2", "NameError", "process of its own", "import or define it"]),
        ("unknown_name\n", ["line 2", "NameError: name 'unknown_name' is not defined"]),
        ("x = 1\n", ["no handler"]),
        ("raise SystemExit(0)\n", ["ended before it was ready (exit code 0)"]),
        (
            "from postoffice import event_pattern\n@event_pattern('a')\ndef a(data): ...\n",
            ["(Cell users, line 3)", "is not async"],
        ),
    ],
    ids=["exception", "kernel variable", "unknown name", "no handlers", "exit", "not async"],
)
def test_a_crash_at_the_start_shows_the_cells_lines(notebook: Notebook, body: str, wanted: list[str]):
    notebook.ok("client_of_the_kernel = 1")
    notebook.ok("%%service users --on tcp\n" + body)
    error = notebook.run("await users").error
    for text in wanted:
        assert text in error, error
    assert "importlib" not in error
    assert str(notebook.folder) not in error
    assert notebook.ok("users.state, users.alive") == "('crashed', False)"
    assert "process of its own" not in error or "client_of_the_kernel" in error
    assert notebook.until_view("starting → crashed")


def test_kill_pause_resume_restart_stop(notebook: Notebook):
    """Each verb does what it says; what cannot be awaited says what to do."""
    notebook.ok(ECHO)
    notebook.ok(CALL)
    assert notebook.ok("users.pause(); users.state") == "'paused'"
    assert "await users.resume()" in notebook.run("await users").error
    assert notebook.run("await client.send('echo', 1, timeout=0.2)").error.startswith("RequestTimeout")
    assert notebook.ok("await users.resume(); users.state") == "'ready'"
    assert notebook.ok("await client.send('echo', 2)") == "2"
    assert (
        notebook.ok("users.kill(); users.state, users.alive, users.replicas[0].returncode") == "('killed', False, -9)"
    )
    assert "await users.restart()" in notebook.run("await users").error
    assert notebook.ok("url = users.url\nawait users.restart(); users.state, users.url == url") == "('ready', True)"
    assert notebook.ok("users.pause()\nawait users.restart(); users.state") == "'ready'"
    assert notebook.ok("await users.stop(); users.state, users.replicas[0].returncode") == "('stopped', 0)"
    assert notebook.ok("await users.stop(); users.kill(); users.pause(); users.state") == "'stopped'"
    assert "await users.restart()" in notebook.run("await users").error
    assert notebook.ok("await users.restart()\n" + CALL + "await client.send('echo', 3)") == "3"


def test_kill_right_after_the_cell_means_the_new_process(notebook: Notebook):
    notebook.ok(ECHO)
    assert notebook.ok("users.kill(); users.state, users.alive") == "('killed', False)"
    assert notebook.ok("await asyncio.sleep(0.5); users.state, users.alive") == "('killed', False)"


def test_a_later_crash_shows_in_the_repr(notebook: Notebook):
    notebook.ok(ECHO)
    notebook.ok(CALL)
    assert notebook.run("await client.send('end', 3)").error.startswith("ConnectionLost")
    eventually(lambda: notebook.ok("users.state") == "'crashed'")
    assert "crashed" in notebook.ok("users")
    assert "exit code 3" in notebook.run("await users").error
    notebook.ok(
        "users_pid = users.replicas[0].pid\nawait users.restart()\nos.kill(users.replicas[0].pid, signal.SIGKILL)"
    )
    eventually(lambda: notebook.ok("users.state") == "'killed'")


def test_a_handlers_error_shows_with_the_cells_lines(notebook: Notebook):
    notebook.ok(ECHO.replace("return VERSION", "return VERSIN"))
    notebook.ok(CALL)
    assert notebook.run("await client.send('version')").error.startswith("RpcError")
    log = notebook.ok("print(users.logs())")
    assert "Cell users, line 14, in version\n    return VERSIN" in log
    assert "service.py" not in log


def test_running_every_cell_twice(notebook: Notebook):
    for _ in range(2):
        for _ in range(2):
            notebook.ok(ECHO)
        for _ in range(2):
            assert notebook.ok(CALL + "await client.send('version')") == "1"
    eventually(lambda: len([p for p in marked(notebook.mark) if "postoffice run" in p]) == 1)


def test_the_output_lives_while_another_cell_awaits(notebook: Notebook):
    """And it stays bounded: 12 lines at the most, at most about five updates a second."""
    notebook.ok(ECHO.replace("VERSION = 1", "import threading, time\nVERSION = 1") + TALK)
    cell = notebook.run("await users; await asyncio.sleep(2)")
    seen = [re.findall(r"tick (\d+)$", view, re.MULTILINE) for view in cell.displays]  # a line may be half printed
    counts = [int(numbers[-1]) for numbers in seen if numbers]
    assert len(set(counts)) >= 4
    assert len(cell.displays) <= 2 * 5 + 4
    assert all(len(view.splitlines()) <= 13 for view in cell.displays)
    before = notebook.view()
    assert before != notebook.until_view(f"tick {counts[-1] + 20}")


TALK = """
def talk():
    for n in range(2000):
        print("tick", n, flush=True)
        time.sleep(0.02)
threading.Thread(target=talk, daemon=True).start()
"""


def test_a_service_that_prints_without_end(notebook: Notebook):
    """It fills neither the disk nor the output."""
    notebook.ok("%%service users --on tcp\nprint('x' * 20_000_000)\nfor n in range(300_000): print(f'{n:099}')\n1/0\n")
    assert "ZeroDivisionError" in notebook.run("await users").error
    size = int(notebook.ok("print(sum(p.stat().st_size for p in users._fleet._folder.glob('log-*')))"))
    assert size < 3 * 1024 * 1024
    assert len(notebook.until_view("ZeroDivisionError")) < 5000


def test_interrupting_a_cell_that_waits_for_the_start(notebook: Notebook):
    """The start goes on; awaiting again works; there is one process."""
    notebook.ok(ECHO.replace("VERSION = 1", "import time; time.sleep(1.5); VERSION = 1"))
    request = notebook.start("print('waiting', flush=True)\nawait users")
    eventually(lambda: [p for p in marked(notebook.mark) if "postoffice run" in p])
    message = {}
    while message.get("msg_type") != "stream":
        message = notebook.client.get_iopub_msg(timeout=20)
    notebook.manager.interrupt_kernel()
    cell = notebook.finish(request)
    assert cell.error.startswith(("KeyboardInterrupt", "CancelledError")), cell.error
    assert notebook.ok(CALL + "await client.send('version')") == "1"
    assert len([p for p in marked(notebook.mark) if "postoffice run" in p]) == 1


def test_interrupting_and_deploying_at_random(notebook: Notebook):
    """Cells run again and again, with no wait between: the last one wins, none is left over."""
    for version in range(5):
        notebook.ok(ECHO.replace("VERSION = 1", f"VERSION = {version}"))
    assert notebook.ok(CALL + "await client.send('version')") == "4"
    eventually(lambda: len([p for p in marked(notebook.mark) if "postoffice run" in p]) == 1)


def test_a_start_that_hangs_is_told(notebook: Notebook):
    notebook.ok("%%service users --on tcp\nimport time\nprint('about to hang')\ntime.sleep(600)\n")
    error = notebook.run("await users.ready(timeout=1.5)").error
    assert "still starting after 1.5 s" in error
    assert "about to hang" in error
    notebook.ok("await users.stop()")
    assert notebook.ok("users.state") == "'stopped'"


def test_work_that_does_not_end_is_cut_off(notebook: Notebook):
    """Its grace is over at some time; the output says what happened."""
    notebook.ok(ECHO.replace("await asyncio.sleep(data or 0)", "import time; time.sleep(600)"))
    notebook.ok(CALL + "stuck = asyncio.create_task(client.send('version', timeout=60))")
    notebook.until_view("asked for the version")
    begin = time.monotonic()
    notebook.ok("await users.stop()")
    assert time.monotonic() - begin < 20
    assert "cut off" in notebook.ok("users")
    assert notebook.ok("users.state") == "'stopped'"
    assert notebook.run("await stuck").error.startswith("ConnectionLost")


def test_a_hybrid_application(notebook: Notebook):
    """One process, two doors: HTTP and TCP."""
    code = """%%service shop --on tcp --http
from fastapi import FastAPI
from postoffice import message_pattern
app = FastAPI()
orders = []

@app.post("/orders", status_code=202)
async def place(order: dict):
    orders.append(order)
    return {"accepted": True}

@message_pattern("orders")
async def listed(data, ctx):
    return orders
"""
    notebook.ok(code)
    notebook.ok("import httpx\nawait shop\nclient = await Client.connect(shop.url)")
    notebook.ok("web = httpx.AsyncClient()")
    post = "print((await web.post(shop.http + '/orders', json={'id': 7})).status_code)"
    assert notebook.ok(post).strip() == "202"
    assert notebook.ok("await client.send('orders')") == "[{'id': 7}]"
    assert notebook.ok("http = shop.http; await shop.restart(); shop.http == http") == "True"
    assert notebook.ok(post).strip() == "202"
    notebook.ok("%%service shop --on tcp\n" + code.partition("\n")[2])
    assert "--http" in notebook.run("shop.http").error


HEROES = """%%service heroes --on grpc --proto heroes.proto
from postoffice import grpc_method

@grpc_method("Heroes")
async def find(data):
    return {"name": "Ada"}
"""


def test_grpc(notebook: Notebook):
    """A port of its own, as on TCP; the .proto is found beside the notebook, and again after a change of folder."""
    notebook.ok(
        "%%writefile heroes.proto\nsyntax = 'proto3'; message Hero { string name = 1; }"
        " service Heroes { rpc Find (Hero) returns (Hero); }"
    )
    notebook.ok(HEROES)
    assert notebook.ok("(await heroes).url.startswith('grpc://127.0.0.1:')") == "True"
    notebook.ok("client = await Client.connect(heroes.url, proto='heroes.proto')")
    assert notebook.ok("await client.service('Heroes').Find({})") == "{'name': 'Ada'}"
    notebook.ok("import os; here = os.getcwd(); os.chdir('/'); await heroes.restart(); os.chdir(here)")
    assert notebook.ok("await client.service('Heroes').Find({})") == "{'name': 'Ada'}"
    assert "owns its port" in notebook.run("await heroes.scale(2)").error


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("users --onn tcp", "unknown: --onn"),
        ("users", "--on is missing"),
        ("", "NAME"),
        ("users --on tcp --replicas 2", "owns its port"),
        ("users --on tcp --replicas many", "--replicas"),
        ("users --on nats://127.0.0.1:1 --replicas 2 --http", "one replica"),
        ("users --on nats://127.0.0.1:1 --replicas 99", "1 to 32"),
        ("users --on tcp --delivery often", "at-least-once"),
        ("users --on nats://127.0.0.1:1 --prefetch 1", "Add to its cell: --delivery at-least-once"),
        ("users --on amqp://127.0.0.1:1 --quorum", "Add to its cell: --delivery at-least-once"),
        ("users --on redis://127.0.0.1:1 --ack-wait 1", "Add to its cell: --delivery at-least-once"),
        ("users --on redis://127.0.0.1:1 --delivery at-least-once --ack-wait 0", "more than 0 and at most 3,600"),
        ("users --on amqp://127.0.0.1:1 --delivery at-least-once --prefetch 0", "1 to 65,535 messages, not 0"),
        ("users --on rabbit", "no broker of that name"),
        ("users --on number", "no broker of that name"),
        ("number --on tcp", "a variable 'number' already"),
        ("class --on tcp", "cannot be a service's name"),
        ("print --on tcp", "cannot be a service's name"),
        ("my-service --on tcp", "cannot be a service's name"),
        ("users --on grpc", "needs a --proto"),
        ("users --on grpc://127.0.0.1:1", "needs a --proto"),
        ("users --on tcp --proto a.proto", "takes no --proto"),
        ("users --on grpc --proto missing.proto", "there is no file missing.proto"),
        ("users --on grpc --proto a.proto --replicas 2", "owns its port"),
        ("users --on 'tcp", "No closing quotation"),
    ],
)
def test_a_line_that_is_wrong_says_how(notebook: Notebook, line: str, wanted: str):
    notebook.ok("number = 7\nglobals().pop('users', None)")
    error = notebook.run(f"%%service {line}\nx = 1\n").error
    assert error.startswith("ServiceError")
    assert wanted in error
    assert "Traceback" not in error
    assert notebook.ok("number") == "7"


def test_two_cells_of_one_name(notebook: Notebook):
    """A front end that tells cell ids: another cell may not take a name that is in use; the same cell may."""
    notebook.ok(ECHO, cell_id="first")
    notebook.ok(ECHO, cell_id="first")
    error = notebook.run(ECHO, cell_id="second").error
    assert "another cell" in error
    assert "await users.stop()" in error
    notebook.ok("await users.stop()")
    notebook.ok(ECHO, cell_id="second")
    assert notebook.ok(CALL + "await client.send('version')") == "1"


def test_a_port_that_is_taken_meanwhile(notebook: Notebook):
    notebook.ok(ECHO)
    notebook.ok("await users\nawait users.stop()\nimport socket\nthief = socket.socket()")
    notebook.ok("thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)")
    notebook.ok("thief.bind(('127.0.0.1', int(users.url.rpartition(':')[2]))); thief.listen()")
    assert "in use" in notebook.run("await users.restart()").error
    notebook.ok("thief.close()\nawait users.restart()")
    assert notebook.ok(CALL + "await client.send('version')") == "1"


def test_a_kept_keeper_is_killed(notebook: Notebook):
    """The keeper takes the services with it; the handle says so and can start again."""
    notebook.ok(ECHO)
    notebook.ok("await users")
    keeper = next(p for p in marked(notebook.mark) if "classroom.keeper" in p)
    os.kill(int(keeper.split()[0]), signal.SIGKILL)
    eventually(lambda: notebook.ok("users.state") == "'killed'")
    notebook.ok("await users.restart()")
    assert notebook.ok(CALL + "await client.send('version')") == "1"


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(n, marks=pytest.mark.long) for n in range(3, 50))])
def test_a_kernel_killed_while_it_deploys_leaves_nothing(seed: int, tmp_path: Path):
    """SIGKILL at a random moment of a first deploy, of a second one, or of a restart."""
    notebook = Notebook(tmp_path / "kernel")
    for code in (ECHO, "await users", ECHO, "await users.restart()"):
        notebook.start(code)
    time.sleep(random.Random(seed).uniform(0, 1))  # the moment is the point
    notebook.close()
    notebook.nothing_is_left()


def test_kept_up_starts_again_what_crashes_and_nothing_else(notebook: Notebook):
    """Two crashes, two starts; a kill by hand is meant, and after the block nobody starts anything."""
    notebook.ok(ECHO)
    notebook.ok(CALL)
    code = """
    async with users.kept_up() as kept:
        for number in (1, 2):
            await client.emit('end', 3)
            while kept.crashes < number or users.state != 'ready': await asyncio.sleep(0.01)
        users.kill()
        await asyncio.sleep(0.2)
    print(users.state, kept, sep='; ')
    """
    assert notebook.run(code).text.strip() == "killed; started again after 2 crashes"
    notebook.ok("await users.restart()\nawait client.emit('end', 3)")
    notebook.ok("while users.state != 'crashed': await asyncio.sleep(0.01)")
    assert notebook.ok("await asyncio.sleep(0.2); users.state") == "'crashed'"
