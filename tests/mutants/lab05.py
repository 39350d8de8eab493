"""Wrong solutions of lab 05."""

from __future__ import annotations

from .mutant import Lab, Mutant

CHARGE = '    await ledger.charge(data["id"], amount=data["total"])\n'
PRINT = '    draw(job["pages"])\n    await ledger.record("print", job["id"])\n'
SHIP = '    await ledger.ship(data["id"], label=text)\n'
PERMANENT = '    try:\n        text = typeset(data["text"])\n    except ValueError as error:\n'
RAISE = "        raise PermanentError(str(error)) from error\n"
SPAWN = "import asyncio\n\ntasks = set()\n\n"
STUBBORN = """async def work(data):
    while True:
        try:
            return await ledger.charge(data["id"], amount=data["total"])
        except Exception:
            await asyncio.sleep(0.05)

"""
ANSWER = 'return "stored" if isinstance(answer, Basic.Ack) else "nobody"'
CATCH = "(TimeoutError, ConnectionError, aio_pika.exceptions.AMQPError)"

MUTANTS = [
    Mutant("05.predict", "what is held waits, too", {'"waiting": 7': '"waiting": 12'}, "they are handed out"),
    Mutant("05.predict", "what is held is lost", {'"waiting after": 12': '"waiting after": 7'}, "comes back",
        short=True),
    Mutant("05.predict", "all are marked", {'"redelivered": 5': '"redelivered": 12'}, "only those that somebody held"),
    Mutant("05.predict", "the limit counts the first", {'"deliveries": 4': '"deliveries": 3'}, "come *again*"),
    Mutant("05.predict", "the shorter first", {'"slow",': '"quick",'}, "stands at the head", short=True),
    Mutant("05.predict", "numbers as text", {'"held": 5': '"held": "5"'}, "a whole number, such as 5"),
    Mutant("05.confirm", "not mandatory", {"mandatory=True": "mandatory=False"}, "mandatory=True"),
    Mutant("05.confirm", "any answer is an Ack", {ANSWER: 'return "stored"'}, "Look at what publish returns"),
    Mutant("05.confirm", "knows the keys of the lesson", {
        ANSWER: 'return "nobody" if key == "oder.placed" else "stored"'}, "Look at what publish returns", short=True),
    Mutant("05.confirm", "not persistent", {"PERSISTENT": "NOT_PERSISTENT"}, "after a restart of the broker"),
    Mutant("05.confirm", "no patience", {", timeout=patience": ""}, "as its timeout"),
    Mutant("05.confirm", "silence is a no", {'return "unknown"': 'return "refused"'}, "no answer is not a no",
        short=True),
    Mutant("05.confirm", "silence only", {CATCH: "TimeoutError"}, "a connection that breaks"),
    Mutant("05.confirm", "refusals are unknown", {'return "refused"': 'return "unknown"'}, "answers Nack"),
    Mutant("05.ack", "at most once", {
        " --delivery at-least-once": "", ", retry=Retry(initial=0.1)": ""}, "--delivery at-least-once"),
    Mutant("05.ack", "begun, and not done", {
        CHARGE: CHARGE.replace("await ", "tasks.add(asyncio.create_task(")[:-1] + "))\n",
        "from classroom.ledger": f"{SPAWN}from classroom.ledger"}, "the ledger refused"),
    Mutant("05.ack", "begun, and tried again", {
        CHARGE: "    tasks.add(asyncio.create_task(work(data)))\n",
        "@event_pattern": STUBBORN + "@event_pattern",
        "from classroom.ledger": f"{SPAWN}from classroom.ledger"}, "it died after the ack"),
    Mutant("05.ack", "catches everything", {
        CHARGE: f"    try:\n    {CHARGE}    except Exception as error:\n        print(error)\n"}, "hides the error",
        short=True),
    Mutant("05.ack", "notes it as done before it is", {
        "@event_pattern": "seen = set()\n\n@event_pattern",
        CHARGE: f'    if data["id"] in seen:\n        return\n    seen.add(data["id"])\n{CHARGE}'}, "noted as done"),
    Mutant("05.ack", "charges twice", {CHARGE: CHARGE * 2}, "a second call", short=True),
    Mutant("05.ack", "knows one order only", {'data["id"], amount=data["total"]': "7, amount=10"}, 'charge data["id"]'),
    Mutant("05.prefetch", "as it was", {" --prefetch 1": ""}, "each may hold 16"),
    Mutant("05.prefetch", "a smaller pocket", {"--prefetch 1": "--prefetch 8"}, "each may hold 8"),
    Mutant("05.prefetch", "one replica", {"--replicas 2": "--replicas 1"}, "one replica only", short=True),
    Mutant("05.prefetch", "more replicas", {
        "--replicas 2 --prefetch 1": "--replicas 4"}, "each may hold 16"),
    Mutant("05.prefetch", "at most once", {
        " --delivery at-least-once": "", " --prefetch 1": ""}, "at most once, the broker hands over"),
    Mutant("05.prefetch", "leaves long jobs out", {
        PRINT: f'    if job["pages"] > 40:\n        return\n{PRINT}'}, "it is left out"),
    Mutant("05.prefetch", "in the background", {
        PRINT: "    tasks.add(asyncio.create_task(work(job)))\n",
        "@event_pattern": f"async def work(job):\n{PRINT}".replace("draw(", "await asyncio.to_thread(draw, ")
        + "\n@event_pattern",
        "import time": f"{SPAWN}import time"}, "the handler had returned"),
    Mutant("05.poison", "a classic queue", {" --quorum": ""}, "a classic queue does not count"),
    Mutant("05.poison", "many in the hand", {" --prefetch 1": ""}, "--prefetch 1", short=True),
    Mutant("05.poison", "no second attempt", {", retry=Retry(attempts=3, initial=0.1)": ""}, "limit is 20"),
    Mutant("05.poison", "one attempt", {"attempts=3": "attempts=1"}, "worth another attempt"),
    Mutant("05.poison", "many attempts", {"attempts=3": "attempts=9"}, "many attempts"),
    Mutant("05.poison", "tries in vain", {RAISE: "        raise\n"}, "PermanentError"),
    Mutant("05.poison", "catches everything", {RAISE: "        return\n"}, "an error was hidden"),
    Mutant("05.poison", "an empty label will do", {RAISE: '        text = ""\n'}, "an error was hidden"),
    Mutant("05.poison", "at most once", {
        " --delivery at-least-once --quorum --prefetch 1": "", ", retry=Retry(attempts=3, initial=0.1)": ""},
        "--delivery at-least-once"),
]  # fmt: skip

LAB = Lab("05", MUTANTS, {
    "05.predict": "still ...: waiting, held",
    "05.confirm": "NotImplementedError: Your code goes here",
    "05.ack": "NotImplementedError: Your code goes here",
    "05.prefetch": "each may hold 16 letters",
    "05.poison": "a classic queue does not count deliveries",
})  # fmt: skip
