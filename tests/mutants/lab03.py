"""Wrong solutions of lab 03."""

from __future__ import annotations

from .mutant import Lab, Mutant

UNITS, SIZE = "len(text.encode('utf-16-le')) // 2}", 'rest.encode("utf-16-le")'
LOOP = "while (text := self.take()) is not None:"
HEADER = "len(head) > 10 or (mark and not (head.isdecimal() and int(head) > 0))"
HAND_MADE = """%%service till --on tcp
from postoffice import RpcError, message_pattern

@message_pattern({"cmd": "total"})
async def total(data):
    BODY
    return sum(line["qty"] * line["price"] for line in data["lines"])
"""
SHARED = """%%service till --on tcp
import asyncio
from postoffice import RpcError, message_pattern

sum_of_all = 0

@message_pattern({"cmd": "total"})
async def total(data):
    global sum_of_all
    if not isinstance(data.get("lines"), list):
        raise RpcError("lines is missing")
    sum_of_all = 0
    for line in data["lines"]:
        for field, kinds, least in (("qty", (int,), 1), ("price", (int, float), 0)):
            if type(line.get(field)) not in kinds or line[field] < least:
                raise RpcError(f"{field} is no good")
        sum_of_all += line["qty"] * line["price"]
        await asyncio.sleep(0)
    return sum_of_all
"""
OWN = SHARED.replace("    global sum_of_all\n", "")
CHECKED = "Field(ge=1)"
RENDER = '    text = await asyncio.to_thread(render, data["pages"])\n'
COUNT = "    printed += 1                           # no await in between: nobody else can read it now\n"
NUMBER = "    number = printed\n"
DELIVER = "    await deliver(order)\n"
LATER = "after.add_task(deliver, order)"
SPAWN = "import asyncio; asyncio.create_task(deliver(order))"
KEPT = "task = asyncio.create_task(deliver(order)); tasks.add(task); task.add_done_callback(tasks.discard)"
LIFESPAN = """
import asyncio, contextlib

tasks = set()

@contextlib.asynccontextmanager
async def finish(app):
    yield
    await asyncio.gather(*tasks)

app = FastAPI(lifespan=finish)
"""
WORKER = """
import asyncio, contextlib

waiting = asyncio.Queue()

async def work():
    while True:
        asyncio.ensure_future(deliver(await waiting.get()))

@contextlib.asynccontextmanager
async def begin(app):
    worker = asyncio.create_task(work())
    yield
    worker.cancel()

app = FastAPI(lifespan=begin)
"""
ENDLESS = LIFESPAN.replace("    await asyncio.gather(*tasks)\n", "    while True:\n        await asyncio.sleep(1)\n")
DAEMON = "import asyncio, threading; threading.Thread(target=asyncio.run, args=(deliver(order),), daemon=True).start()"

MUTANTS = [
    Mutant("03.predict", "code points", {'"length": 8': '"length": 7'}, "number of code points", short=True),
    Mutant("03.predict", "bytes", {'"length": 8': '"length": 11'}, "number of bytes in UTF-8"),
    Mutant("03.predict", "it answers", {'"closes"': '"answers"'}, "cannot even read the id"),
    Mutant("03.predict", "a dead one is silent", {'"killed": "ConnectionLost"': '"killed": "RequestTimeout"'},
        "no need to wait"),
    Mutant("03.predict", "gone is lost", {'"ConnectError"': '"ConnectionLost"'}, "nobody listens"),
    Mutant("03.predict", "the last one counts", {'"charges": 3': '"charges": 1'}, "meant as one", short=True),
    Mutant("03.predict", "a timeout is a no", {'["killed", "paused"]': '["killed"]'}, "when it goes on"),
    Mutant("03.predict", "all of them", {'["killed", "paused"]': '["killed", "gone", "paused"]'}, "nothing was sent"),
    Mutant("03.predict", "numbers as text", {'"length": 8': '"length": "8"'}, "a whole number, such as 5"),
    Mutant("03.framing", "encode: code points", {UNITS: "len(text)}"}, "len(text): it counts code points", short=True),
    Mutant("03.framing", "encode: bytes", {UNITS: "len(text.encode())}"}, "the length in UTF-8 bytes"),
    Mutant("03.framing", "encode: bytes of UTF-16", {" // 2}#": "}#"}, "Divide by 2"),
    Mutant("03.framing", "encode: with a mark", {"'utf-16-le')) // 2}": "'utf-16')) // 2}"}, "byte order mark"),
    Mutant("03.framing", "encode: text", {'#{text}".encode()': '#{text}"'}, "end with .encode()"),
    Mutant("03.framing", "encode: a new line", {'#{text}".encode()': '#{text}\\n".encode()'}, "as it is, in UTF-8"),
    Mutant("03.framing", "encode: no length", {f'f"{{{UNITS}#{{text}}"': "text"}, "decimal digits"),
    Mutant("03.framing", "counts code points", {
        SIZE: 'rest.encode("utf-32-le")', "2 * int(head)": "4 * int(head)",
        '.decode("utf-16-le")': '.decode("utf-32-le")'}, "len(text): it counts code points"),
    Mutant("03.framing", "counts bytes", {
        SIZE: "rest.encode()", "2 * int(head)": "int(head)", '.decode("utf-16-le")': ".decode()"},
        "the length in UTF-8 bytes"),
    Mutant("03.framing", "one frame a piece", {LOOP: LOOP.replace("while", "if")}, "a loop, not an if", short=True),
    Mutant("03.framing", "each piece is a text", {"self.utf8.decode(data)": "data.decode()"}, "getincrementaldecoder"),
    Mutant("03.framing", "halves are dropped", {"self.utf8.decode(data)": 'data.decode(errors="replace")'},
        "getincrementaldecoder"),
    Mutant("03.framing", "forgets the rest", {"self.text += ": "self.text = "}, "keep what is not yet a whole frame"),
    Mutant("03.framing", "any header", {HEADER: HEADER.replace("len(head) > 10 or ", "")}, "10 digits at the most"),
    Mutant("03.framing", "one buffer for all", {"self.text": "Decoder.text"}, "shared by all", short=True),
    Mutant("03.framing", "returns text", {"return texts": 'return "".join(texts)'}, "feed returns a list"),
    Mutant("03.break", "a cut rocket", {
        """[b'3#"\\xc3', b'\\xa9"']""": """['4#"🚀"'.encode()[:4], '4#"🚀"'.encode()[4:]]"""},
        "change one thing at a time"),
    Mutant("03.break", "wrong lengths", {"""[b'3#"a"3#"b"']""": """[b'2#"a"2#"b"']"""}, "put all pieces together",
        short=True),
    Mutant("03.break", "a single é", {"""['4#"🚀"'.encode()]""": """['3#"é"'.encode()]"""}, "it counts with len()"),
    Mutant("03.break", "a cut behind the #", {"""[b'3', b'#"a"']""": """[b'3#', b'"a"']"""}, "it wants a #"),
    Mutant("03.break", "two pieces", {"""[b'3#"a"3#"b"']""": """[b'3#"a"', b'3#"b"']"""}, "When is that too few"),
    Mutant("03.break", "texts", {"""[b'3#"a"3#"b"']""": """['3#"a"3#"b"']"""}, "a list of bytes for each"),
    Mutant("03.break", "one for all", 'breaks = dict.fromkeys(("Amber", "Brown", "Coral", "Denim"), '
        """['2#🚀1#a'.encode()[:4], '2#🚀1#a'.encode()[4:]])""", "change one thing at a time"),
    Mutant("03.till", "trusts everybody", HAND_MADE.replace("    BODY\n", ""), "raise RpcError, or give data a type",
        short=True),
    Mutant("03.till", "an empty order is none", HAND_MADE.replace(
        "BODY", "if not data.get('lines'): return {'error': 'no lines'}"), "return the number alone"),
    Mutant("03.till", "returns errors", HAND_MADE.replace(
        "BODY", "if 'lines' not in data: return {'error': 'no lines'}"), "that is *returned*"),
    Mutant("03.till", "says no, not why", HAND_MADE.replace(
        "BODY", "if 'lines' not in data: raise RpcError('bad order')"), "say which field is wrong"),
    Mutant("03.till", "exits", HAND_MADE.replace("BODY", "if 'lines' not in data: __import__('os')._exit(3)"),
        "must not end the process"),
    Mutant("03.till", "another pattern", HAND_MADE.replace('{"cmd": "total"}', '"total"'), "letter by letter"),
    Mutant("03.till", "catches everything", HAND_MADE.replace(
        "    BODY\n    return ", "    try:\n        return ") + "    except Exception:\n        return 0\n",
        "it was accepted"),
    Mutant("03.till", "knows the example", HAND_MADE.replace("BODY", "return 6"), "the sum of qty * price"),
    Mutant("03.till", "nothing is a quantity", {CHECKED: "Field(ge=0)"}, "it was accepted"),
    Mutant("03.till", "not strict", {", strict=True": ""}, "pydantic converts unless told not to", short=True),
    Mutant("03.till", "adds prices", {"line.qty * line.price": "line.price"}, "the sum of qty * price"),
    Mutant("03.till", "one sum for all", SHARED, "share a variable with the others"),
    Mutant("03.block", "a turn before it", {RENDER: '    await asyncio.sleep(0)\n    text = render(data["pages"])\n'},
        "nothing else moves in a process"),
    Mutant("03.block", "the other handler", {
        RENDER: '    text = render(data["pages"])\n', "async def health": "def health"},
        "nothing else moves in a process", short=True),
    Mutant("03.block", "a thread that is joined", {
        RENDER: '    from threading import Thread\n    one = Thread(target=render, args=[data["pages"]])\n'
        '    one.start()\n    one.join()\n    text = f\'{data["pages"]} pages\'\n'}, "nothing else moves in a process"),
    Mutant("03.block", "called too early", {RENDER: RENDER.replace('render, data["pages"]', 'render(data["pages"])')},
        "object is not callable"),
    Mutant("03.block", "not awaited", {RENDER: RENDER.replace("await ", "")}, "return the number and what"),
    Mutant("03.block", "counts up afterwards", {
        COUNT: "", NUMBER: "    number = printed + 1\n", RENDER: RENDER + "    printed = number\n"},
        "Take the number and count up", short=True),
    Mutant("03.block", "counts at the end", {
        COUNT + NUMBER + RENDER: RENDER + "    number = printed\n    printed += 1\n"}, "return the number"),
    Mutant("03.block", "one at a time", {
        "import asyncio\n": "import asyncio\n\nlock = asyncio.Lock()\n",
        RENDER: f"    async with lock:\n    {RENDER}"}, "lets only one of them in"),
    Mutant("03.block", "prints nothing", {RENDER: '    text = f\'{data["pages"]} pages\'\n'}, "Was it called"),
    Mutant("03.block", "one text for all", {
        RENDER: '    global text\n    text = data["pages"]\n    await asyncio.to_thread(render, text)\n'
        "    text = f'{text} pages'\n"}, "asked for: do handlers share"),
    Mutant("03.drain", "thrown away", {LATER: SPAWN}, "thrown away", short=True),
    Mutant("03.drain", "deliver, then answer", {LATER: "await deliver(order)"}, "answer first, deliver after",
        short=True),
    Mutant("03.drain", "never delivered", {LATER: "pass"}, "await deliver(order) for each order"),
    Mutant("03.drain", "answered too early", {DELIVER: f"    {SPAWN}\n"}, "await deliver(order), then answer"),
    Mutant("03.drain", "twice", {DELIVER: DELIVER * 2}, "one place only"),
    Mutant("03.drain", "another status", {"status_code=202": "status_code=200"}, "status_code=202"),
    Mutant("03.drain", "a queue in memory", {"app = FastAPI()": WORKER, LATER: "waiting.put_nowait(order)"},
        "thrown away"),
    Mutant("03.drain", "a thread of its own", {LATER: DAEMON}, "only in memory when the process ended"),
    Mutant("03.drain", "never ends", {"app = FastAPI()": ENDLESS}, "something never ends"),
    Mutant("03.drain", "one door", {"--on tcp --http": "--on tcp"}, "--on tcp --http"),
]  # fmt: skip

OTHERS = [
    Mutant("03.till", "by hand", OWN),
    Mutant("03.block", "an executor", {RENDER: '    loop = asyncio.get_running_loop()\n'
        '    text = await loop.run_in_executor(None, render, data["pages"])\n'}),
    Mutant("03.drain", "awaited in the lifespan", {"app = FastAPI()": LIFESPAN, LATER: KEPT}),
]  # fmt: skip

LAB = Lab("03", MUTANTS, {
    "03.predict": "still ...: length",
    "03.framing": "NotImplementedError: Your code goes here",
    "03.break": "all four read these pieces well",
    "03.till": "NotImplementedError: Your code goes here",
    "03.block": "nothing else moves in a process",
    "03.drain": "NotImplementedError: Your code goes here",
}, others=OTHERS)  # fmt: skip
