"""Wrong solutions of lab 01."""

from __future__ import annotations

from .mutant import Lab, Mutant

SEND = '            await client.send("charge", order, timeout=patience)\n'
CATCH = '    except PostOfficeError as error:\n        return "unknown" if error.may_have_happened else "not done"\n'
ASK = '            await bank.send("charge", order, timeout=0.5)\n'
CONNECT = '        async with await Client.connect(os.environ["BANK"]) as bank:\n'
REFUSED = '    except RpcError:\n        return "refused"\n'
UNKNOWN = '    except PostOfficeError:\n        return "unknown"\n'
PROD_ALL = 'math.prod(availability(part) for part in plan["all"])'
ANY = '1 - math.prod(1 - availability(part) for part in plan["any"])'
BUSY = 'return "bank busy" if traces["answers others"] else "bank paused"'
SENT = '    if not traces["sent"]:\n        return "request lost"\n'
CHARGED = '    if traces["charged"]:\n        return "reply lost"\n'

MUTANTS = [
    Mutant("01.silences", "silence means not done", {'"reply lost": ("silence", 1)': '"reply lost": ("silence", 0)'},
        "only the telling got lost", short=True),
    Mutant("01.silences", "a sleeper forgets", {'"paused, woken": ("silence", 1)': '"paused, woken": ("silence", 0)'},
        "read when it woke up"),
    Mutant("01.silences", "a killed one remembers", {'killed": ("silence", 0)': 'killed": ("silence", 1)'},
        "dies with it"),
    Mutant("01.silences", "giving up stops the work", {'"slow": ("silence", 1)': '"slow": ("silence", 0)'},
        "not the work"),
    Mutant("01.silences", "the bank knows the order", {'("answer", 2)': '("answer", 1)'}, "that it is the same",
        short=True),
    Mutant("01.silences", "a lost request is an error", {'"request lost": ("silence"': '"request lost": ("error"'},
        "all that the caller has"),
    Mutant("01.silences", "numbers as text", {'"request lost": ("silence", 0)': '"request lost": ("silence", "0")'},
        "never known there"),
    Mutant("01.silences", "another word", {'("error", 0)': '("an error", 0)'}, "one of answer, error, silence"),
    Mutant("01.call", "no limit", {", timeout=patience": ""}, "it has no limit of its own", short=True),
    Mutant("01.call", "a limit of its own", {"timeout=patience": "timeout=4.5"}, "another than `patience`"),
    Mutant("01.call", "silence is a no", {CATCH: '    except PostOfficeError:\n        return "not done"\n'},
        "no answer is not a no", short=True),
    Mutant("01.call", "catches everything", {
        CATCH: '    except Exception:\n        return "unknown"\n'}, "Connecting belongs into the `try`"),
    Mutant("01.call", "no refusals", {"    except RpcError:\n        return \"refused\"\n": ""}, "That is an answer"),
    Mutant("01.call", "only timeouts", {
        CATCH: '    except RequestTimeout:\n        return "unknown"\n'
        '    except ConnectError:\n        return "not done"\n',
        "import Client, PostOfficeError, RpcError": "import Client, ConnectError, RequestTimeout, RpcError"},
        "the connection broke while the answer was awaited"),
    Mutant("01.call", "tries again", {
        SEND: SEND.replace("await client", "try:\n                await client")
        + "            except RequestTimeout:\n    " + SEND,
        "Client, PostOfficeError, RpcError": "Client, PostOfficeError, RequestTimeout, RpcError"},
        "asked again by itself"),
    Mutant("01.call", "emits", {SEND: '            await client.emit("charge", order)\n'}, "That is an answer"),
    Mutant("01.call", "charges another order", {SEND: SEND.replace("order,", '{"id": 7, "amount": 10},')},
        "send the order as it is"),
    Mutant("01.which", "by the ledger alone", {
        SENT: '    if not traces["charged"]:\n        return "request lost"\n'}, ""),
    Mutant("01.which", "by the road alone", {CHARGED: ""}, "the news got lost", short=True),
    Mutant("01.which", "busy is paused", {BUSY: 'return "bank paused"'}, "it is awake", short=True),
    Mutant("01.which", "paused is busy", {BUSY: 'return "bank busy"'}, "nobody else gets an answer either"),
    Mutant("01.which", "there is always silence", {
        '    if traces["returned"]:\n        return "no silence"\n': ""}, "bytes came back"),
    Mutant("01.which", "always the same", {
        '    if traces["returned"]:\n        return "no silence"\n': '    return "request lost"\n'}, ""),
    Mutant("01.shop", "no limit", {", timeout=0.5": ""}, "timeout=0.5", short=True),
    Mutant("01.shop", "catches nothing but the no", {UNKNOWN: ""}, "an error that the shop did not catch"),
    Mutant("01.shop", "silence is a no", {UNKNOWN: UNKNOWN.replace("unknown", "refused")}, "not a no, and not a yes",
        short=True),
    Mutant("01.shop", "a no is unknown", {REFUSED: ""}, "say 'refused'"),
    Mutant("01.shop", "emits", {ASK: '            await bank.emit("charge", order)\n'}, "say 'refused'"),
    Mutant("01.shop", "asks again", {
        ASK: "            for attempt in range(2):\n                try:\n"
        '                    return await bank.send("charge", order, timeout=0.3) and "paid"\n'
        "                except RequestTimeout:\n                    pass\n            return \"unknown\"\n",
        "RpcError, message": "RequestTimeout, RpcError, message"}, "a second charge"),
    Mutant("01.shop", "gives the bank up for good", {
        UNKNOWN: '    except PostOfficeError:\n        gone.append(order)\n        return "unknown"\n',
        "    try:\n        async with": '    if gone:\n        return "unknown"\n    try:\n        async with',
        "async def state_of": "gone = []\n\nasync def state_of"}, "a note that the bank is gone"),
    Mutant("01.shop", "one at a time", {
        "    try:\n        async with": "    try:\n      async with lock:\n        async with",
        "async def state_of": "import asyncio\nlock = asyncio.Lock()\n\nasync def state_of",
        "timeout=0.5": "timeout=0.9"}, "longer than a second"),
    Mutant("01.parts", "the weakest part", {PROD_ALL: 'min(availability(part) for part in plan["all"])'}, "Multiply",
        short=True),
    Mutant("01.parts", "the best replica", {ANY: 'max(availability(part) for part in plan["any"])'}, "of replicas one",
        short=True),
    Mutant("01.parts", "adds what is missing", {
        PROD_ALL: '1 - sum(1 - availability(part) for part in plan["all"])'}, "Multiply"),
    Mutant("01.parts", "replicas multiply", {ANY: 'math.prod(availability(part) for part in plan["any"])'},
        "of replicas one"),
    Mutant("01.parts", "one level only", {
        "        return plan\n": "        return plan\n    plan = {kind: [one if not isinstance(one, dict) else 1.0"
        " for one in parts] for kind, parts in plan.items()}\n"}, "call your function for it"),
    Mutant("01.parts", "rounds", {PROD_ALL: f"round({PROD_ALL}, 2)"}, "do not round"),
]  # fmt: skip

LAB = Lab("01", MUTANTS, {
    "01.silences": "still to do: request lost, reply lost",
    "01.call": "write this part first",
    "01.which": "write this part first",
    "01.shop": "an error that the shop did not catch",
    "01.parts": "write this part first",
}, ("start", "bank", "road"))  # fmt: skip
