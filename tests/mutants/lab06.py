"""Wrong solutions of lab 06."""

from __future__ import annotations

from .mutant import Lab, Mutant

LEAST = " --delivery at-least-once"
RETRY = ", retry=Retry(initial=0.1)"
CHARGE = '    await ledger.charge(data["id"], amount=data["total"])\n'
SET = "done = set()\n\n@event_pattern"
SEEN = f'    if data["id"] not in done:\n        done.add(data["id"])\n    {CHARGE}'
SPAWN = "import asyncio\n\ntasks = set()\n\n"
PAGED = 'while stale := await redis.xpending_range(stream, group, "-", "+", 100, idle=idle):\n            for'
ONE_PAGE = 'if stale := await redis.xpending_range(stream, group, "-", "+", 100, idle=idle):\n            for'
CLAIM = "mine += [taken for taken, _ in await redis.xclaim(stream, group, me, idle, [ident])]"
ACK = "                await redis.xack(stream, group, ident)\n"
BURY = 'await redis.xadd(f"{stream}.dead", fields)'
TIMEOUT = "    async with asyncio.timeout(1.5):\n        weight = await weigh(parcel)\n"
NO_LIMIT = {TIMEOUT: "    weight = await weigh(parcel)\n"}
CAUGHT = f"    try:\n    {TIMEOUT.replace(chr(10), chr(10) + '    ', 1)}    except TimeoutError:\n"
SHIP = '    await ledger.ship(parcel["id"], weight=weight)\n'
TRIES = ", retry=Retry(attempts=2, initial=0.1)"

MUTANTS = [
    Mutant("06.predict", "a channel keeps what comes later", {'"heard": 7': '"heard": 12'}, "after he has gone"),
    Mutant("06.predict", "replicas share", {'"charges": 12': '"charges": 4'}, "every replica that listens", short=True),
    Mutant("06.predict", "a death gives back", {'"bob": 14': '"bob": 18'}, "handed out, too"),
    Mutant("06.predict", "a death settles", {'"pending": 4': '"pending": 0'}, "stays on the list"),
    Mutant("06.predict", "as RabbitMQ does", {'"by itself": 0': '"by itself": 4'}, "somebody has to claim them",
        short=True),
    Mutant("06.predict", "an ack removes", {'"length": 20': '"length": 0'}, "not out of the stream"),
    Mutant("06.predict", "a group gets all", {'"latecomer": 0': '"latecomer": 20'}, "the end of the stream"),
    Mutant("06.predict", "numbers as text", {'"claimed": 4': '"claimed": "4"'}, "a whole number, such as 5"),
    Mutant("06.predict", "a truth for a number", {'"by itself": 0': '"by itself": False'}, "a whole number, such as 5"),
    Mutant("06.once", "at most once", {LEAST: "", RETRY: ""}, "every replica hears every order", short=True),
    Mutant("06.once", "one replica, at most once", {
        LEAST: "", RETRY: "", "--replicas 2": "--replicas 1"}, "keep --replicas 2"),
    Mutant("06.once", "one replica", {"--replicas 2": "--replicas 1"}, "keep --replicas 2"),
    Mutant("06.once", "keeps the set", {"@event_pattern": SET, CHARGE: SEEN}, "was noted as done before it was",
        short=True),
    Mutant("06.once", "keeps the set, and tries once", {
        RETRY: "", "@event_pattern": SET, CHARGE: SEEN}, "was noted as done before it was"),
    Mutant("06.once", "catches everything", {
        CHARGE: f"    try:\n    {CHARGE}    except Exception as error:\n        print(error)\n"}, "hides the error"),
    Mutant("06.once", "begun, and not done", {
        CHARGE: CHARGE.replace("await ", "tasks.add(asyncio.create_task(")[:-1] + "))\n",
        "from classroom.ledger": f"{SPAWN}from classroom.ledger"}, "the ledger refused"),
    Mutant("06.once", "charges twice", {CHARGE: CHARGE * 2}, "is there a second call"),
    Mutant("06.once", "another amount", {'data["total"]': "10"}, 'as its amount data["total"]'),
    Mutant("06.rescue", "one page", {PAGED: ONE_PAGE}, "go on until none is left", short=True),
    Mutant("06.rescue", "takes what is fresh", {
        ", idle=idle)": ")", "me, idle, [ident]": "me, 0, [ident]", PAGED.replace("100, idle=idle", "100"):
        'if stale := await redis.xpending_range(stream, group, "-", "+", 10_000):\n            for'},
        "a reader who works on it", short=True),
    Mutant("06.rescue", "claims, and then counts", {
        '                ident = one["message_id"]\n': '                ident = one["message_id"]\n'
        "                await redis.xclaim(stream, group, me, idle, [ident])\n"
        '                one["times_delivered"] += 1\n', "me, idle, [ident])]": "me, 0, [ident])]"},
        "look at XPENDING's times_delivered"),
    Mutant("06.rescue", "deletes the stream", {
        "    return {": "        await redis.delete(stream)\n    return {"},
        "delete neither the stream nor its group"),
    Mutant("06.rescue", "buries nothing", {"< most": "< 10**9"}, "perhaps killed its readers"),
    Mutant("06.rescue", "buries, and keeps it pending", {
        ACK: "", PAGED: 'for stale in [await redis.xpending_range(stream, group, "-", "+", 10_000, idle=idle)]:\n'
        "            for"}, "must leave the pending list"),
    Mutant("06.rescue", "acknowledges what is stale", {CLAIM: "await redis.xack(stream, group, ident)"},
        "do not acknowledge it"),
    Mutant("06.rescue", "buries an empty letter", {BURY: 'await redis.xadd(f"{stream}.dead", {"id": ident})'},
        "copy the fields"),
    Mutant("06.rescue", "tells of what is gone", {CLAIM: f"{CLAIM.replace('mine += [', '_ = [')}\n"
        "                    mine.append(ident)"}, "no longer in the stream"),
    Mutant("06.stuck", "tries without a limit", NO_LIMIT, "XPENDING names a reader"),
    Mutant("06.stuck", "more replicas", {**NO_LIMIT, LEAST: f"{LEAST} --replicas 2"}, "XPENDING names a reader"),
    Mutant("06.stuck", "room for a thousand", {
        **NO_LIMIT, LEAST: f"{LEAST} --prefetch 1000"}, "only puts it off", short=True),
    Mutant("06.stuck", "impatient", {"timeout(1.5)": "timeout(0.1)"}, "busy answers after half a second", short=True),
    Mutant("06.stuck", "stubborn", {"attempts=2": "attempts=4"}, "twice at most"),
    Mutant("06.stuck", "hides the timeout", {
        TIMEOUT + SHIP: f"{CAUGHT}        return\n{SHIP}"}, "hides the TimeoutError"),
    Mutant("06.stuck", "a guess for a weight", {TIMEOUT: f"{CAUGHT}        weight = 0\n"}, "never weighed"),
    Mutant("06.stuck", "in the background", {
        TIMEOUT + SHIP: "    tasks.add(asyncio.create_task(work(parcel)))\n",
        "@event_pattern": f"tasks = set()\n\nasync def work(parcel):\n{TIMEOUT}{SHIP}\n@event_pattern"},
        "returns while its work is still to be done"),
    Mutant("06.stuck", "at most once", {LEAST: "", TRIES: ""}, "--delivery at-least-once"),
]  # fmt: skip

OTHERS = [
    Mutant("06.once", "gives up at once: what was refused lies among the dead letters", {RETRY: ""}),
]

LAB = Lab("06", MUTANTS, {
    "06.predict": "still ...: heard, charges",
    "06.once": "every replica hears every order",
    "06.rescue": "NotImplementedError: Your code goes here",
    "06.stuck": "XPENDING names a reader",
}, others=OTHERS)  # fmt: skip
