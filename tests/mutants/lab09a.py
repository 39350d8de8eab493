"""Wrong solutions of lab 09a."""

from __future__ import annotations

from .mutant import Lab, Mutant

KEY = "    key = f\"order {data['order']}\"\n"
CHARGE = '    await ledger.charge(data["order"], amount=data["total"], idempotency_key=key)\n'
RETRY = ", retry=Retry(attempts=5, initial=0.1)"
EVENT = f'@event_pattern("order.placed"{RETRY})\n'
DEF = "async def charge(data, ctx):\n"
HANDLER = EVENT + DEF
SEEN = """    if data["order"] in seen:
        return
    await ledger.charge(data["order"], amount=data["total"])
    seen.add(data["order"])
"""
IN_MEMORY = f"""from postoffice import idempotency, idempotency_stores

async def again(data, ctx):
    return await idempotency.run_again()

keys = idempotency_stores.MemoryKeys()

{EVENT}@idempotency.idempotent(keys, key=lambda data, ctx: str(data["order"]), resolve=again)
{DEF}"""
IN_A_FILE = f"""from postoffice import database, idempotency, idempotency_stores

keys = idempotency_stores.SqliteKeys(database.Database(f"{{__file__}}.keys"))

{EVENT}@idempotency.idempotent(keys, key=lambda data, ctx: str(data["order"]), lease=0.5)
{DEF}"""
PLAIN = CHARGE.replace(", idempotency_key=key", "")
WAIT = "        wait = random.uniform(0, ceiling)\n"
STOP = "        if spent + wait >= patience:\n            break\n"
RETRYING = "    return await retrying(charge, retry=plan, idempotent=True, budget=budget)\n"
IN_ORDERS = "    return await retrying(lambda: bank(order), retry=plan, idempotent=True, budget=budget)\n"
IN_SHOP = "    return await retrying(lambda: orders(order), retry=plan, idempotent=True, budget=budget)\n"
SLEEPY = """    for attempt in range(3):
        try:
            return await charge()
        except Exception:
            await asyncio.sleep(0.01)
    raise RpcError("the ledger is out of order")
"""
OPENS = """    async with breaker:
        return await retrying(charge, retry=plan, idempotent=True, budget=budget)
"""
BREAKER = """from postoffice import RpcError
from postoffice.breaker import CircuitBreaker

breaker = CircuitBreaker("ledger", window=10, minimum=10, wait=600, failures=(RpcError,))
"""
GATED = """    if down:
        raise RpcError("the ledger is out of order")
    try:
        return await retrying(charge, retry=plan, idempotent=True, budget=budget)
    except RpcError:
        down.append(True)
        raise
"""
ONCE_EACH = "for letter in {one.id: one for one in await office.list()}.values():"
REQUEUE = '            if letter.kind == "exhausted":\n                await office.requeue(letter)\n'
PERMANENT = '            elif letter.kind == "permanent":\n                await office.drop(letter)\n'
POST = """            if letter.kind == "exhausted":
                name = queue.removesuffix(".dead")
                async with await Client.connect(url, queue=name, delivery="at-least-once") as post:
                    await post.emit("order.placed", letter.data)
                await office.drop(letter)
"""
REPAIR = 'total = letter.data["qty"] * letter.data["price"]'

MUTANTS = [
    Mutant("09a.predict", "a refusal is not counted", {'"refused twice": [3,': '"refused twice": [2,'},
        "two in vain, and a third"),
    Mutant("09a.predict", "three more after the first", {
        '"refused three times": [3, "dead", 0]': '"refused three times": [4, "done", 1]'}, "counts the first one, too"),
    Mutant("09a.predict", "dead, so not charged", {'[3, "dead", 3]': '[3, "dead", 0]'}, "only the answers were lost",
        short=True),
    Mutant("09a.predict", "the handler sees what is invalid", {'[0, "dead", 0]': '[1, "dead", 0]'},
        "is not called for it"),
    Mutant("09a.predict", "every error is tried again", {'[1, "dead", 0]': '[3, "dead", 0]'}, "A KeyError is not among",
        short=True),
    Mutant("09a.predict", "a kill repeats nothing", {'[2, "done", 2]': '[2, "done", 1]'}, "second delivery"),
    Mutant("09a.predict", "numbers as text", {'"refused twice": [3,': '"refused twice": ["3",'}, "one by one"),
    Mutant("09a.once", "no key", {", idempotency_key=key": "", KEY: ""}, "no idempotency_key"),
    Mutant("09a.once", "a key for the message", {KEY: "    key = ctx.message_id\n"}, "clicked twice", short=True),
    Mutant("09a.once", "a key for each call", {
        KEY: "    key = str(uuid4())\n", "from classroom.ledger": "from uuid import uuid4\nfrom classroom.ledger"},
        "clicked twice"),
    Mutant("09a.once", "a key for customer and total", {KEY: "    key = f\"{data['customer']} {data['total']}\"\n"},
        "two charges"),
    Mutant("09a.once", "the attempt in the key", {KEY: "    key = f\"order {data['order']} {ctx.attempt}\"\n"},
        "from the attempt"),
    Mutant("09a.once", "the attempt beside the key", {"key=key)": "key=key, attempt=ctx.attempt)"}, "two payloads"),
    Mutant("09a.once", "a set in memory", {KEY + CHARGE: SEEN, HANDLER: f"seen = set()\n\n{HANDLER}"}, "given no"),
    Mutant("09a.once", "keys in memory", {HANDLER: IN_MEMORY, CHARGE: PLAIN}, "given no"),
    Mutant("09a.once", "a record of its own", {HANDLER: IN_A_FILE, CHARGE: PLAIN}, "a record of your own"),
    Mutant("09a.once", "no retry", {RETRY: ""}, "nobody tried again", short=True),
    Mutant("09a.once", "too few attempts", {"attempts=5": "attempts=2"}, "a fourth attempt"),
    Mutant("09a.once", "catches everything", {
        CHARGE: f"    try:\n    {CHARGE}    except Exception as error:\n        print(error)\n"}, "hides the error"),
    Mutant("09a.once", "at most once", {" --delivery at-least-once": "", RETRY: ""}, "--delivery at-least-once"),
    Mutant("09a.waits", "no jitter", {WAIT: "        wait = ceiling\n"}, "no draw at all", short=True),
    Mutant("09a.waits", "half of it is jitter", {"uniform(0, ceiling)": "uniform(ceiling / 2, ceiling)"},
        "full jitter draws"),
    Mutant("09a.waits", "a fixed seed", {WAIT: f"        random.seed(len(found))\n{WAIT}"}, "a fixed seed"),
    Mutant("09a.waits", "one draw for all", {
        "    for _": "    part = random.random()\n    for _", WAIT: "        wait = part * ceiling\n"}, "draw anew"),
    Mutant("09a.waits", "cut after the draw", {
        WAIT: "        wait = min(random.uniform(0, ceiling), most)\n", "min(2 * ceiling, most)": "2 * ceiling"},
        "cut the ceiling first"),
    Mutant("09a.waits", "no ceiling", {"min(2 * ceiling, most)": "2 * ceiling"}, "from 0 to it"),
    Mutant("09a.waits", "linear", {"min(2 * ceiling, most)": "min(ceiling + initial, most)"}, "full jitter draws"),
    Mutant("09a.waits", "one wait too many", {"range(attempts - 1)": "range(attempts)"}, "behind the last one"),
    Mutant("09a.waits", "no patience", {STOP: ""}, "work for nobody", short=True),
    Mutant("09a.waits", "each wait within patience", {"spent + wait >=": "wait >="}, "work for nobody"),
    Mutant("09a.waits", "cut to the patience", {
        STOP: "        wait = min(wait, patience - spent)\n"}, "work for nobody"),
    Mutant("09a.waits", "ceilings count against patience", {"spent += wait": "spent += ceiling",
        "spent + wait >=": "spent + ceiling >="}, "not their ceilings"),
    Mutant("09a.waits", "a power too high", {
        WAIT: "        ceiling = min(initial * 2.0 ** len(found), most)\n" + WAIT,
        "        ceiling = min(2 * ceiling, most)\n": ""}, "no float could hold"),
    Mutant("09a.storm", "one tier, without a budget", {", budget=budget": ""}, "Bound the part of retries"),
    Mutant("09a.storm", "two tiers", {", budget=budget": "", "    return await bank(order)\n": IN_ORDERS.replace(
        ", budget=budget", "")}, "tiers are multiplied", short=True),
    Mutant("09a.storm", "fewer attempts in each tier", {
        ", budget=budget": "", "attempts=3": "attempts=2", "    return await bank(order)\n": IN_ORDERS.replace(
        ", budget=budget", ""), "    return await orders(order)\n": IN_SHOP.replace(", budget=budget", "")},
        "tiers are multiplied"),
    Mutant("09a.storm", "a budget for each request", {"budget=budget": "budget=RetryBudget(ratio=0.1)"},
        "shared by all requests"),
    Mutant("09a.storm", "longer waits", {", budget=budget": "", "initial=0.01": "initial=0.2"},
        "Bound the part of retries"),
    Mutant("09a.storm", "a loop by hand", {
        RETRYING: SLEEPY, "from classroom.ledger": "import asyncio\nfrom postoffice import RpcError\n"
        "from classroom.ledger"}, "Bound the part of retries"),
    Mutant("09a.storm", "nobody tries again", {RETRYING: "    return await charge()\n"}, "no outage", short=True),
    Mutant("09a.storm", "only what certainly did nothing", {", idempotent=True": ""}, "no outage"),
    Mutant("09a.storm", "what is lost is not repeated", {
        "initial=0.01": "initial=0.01, on=RpcError", "import Retry, m": "import RpcError, Retry, m"},
        "idempotent=True"),
    Mutant("09a.storm", "without its key", {", idempotency_key=f\"order {order['id']}\"": ""}, "charges again"),
    Mutant("09a.storm", "all is well", {
        RETRYING: f"    try:\n    {RETRYING}    except Exception:\n        return None\n"}, "all is well"),
    Mutant("09a.storm", "a breaker that stays open", {
        RETRYING: OPENS, "budget = ": f"{BREAKER}budget = "}, "come back by itself"),
    Mutant("09a.storm", "a flag that stays", {
        RETRYING: GATED, "budget = ": "from postoffice import RpcError\n\ndown = []\nbudget = "},
        "come back by itself"),
    Mutant("09a.storm", "a budget that is not filled", {"ratio=0.1": "ratio=0"}, "pays in a part"),
    Mutant("09a.letters", "everything goes back", {
        REQUEUE: "            await office.requeue(letter)\n            continue\n" + REQUEUE}, "even the mended till"),
    Mutant("09a.letters", "everything else is dropped", {
        REPAIR: REPAIR + "\n", "    await office.requeue(letter, {**letter.data, \"total\": total})\n":
        "    await office.requeue(letter, {**letter.data, \"total\": total})\n            else:\n"
        "                await office.drop(letter)\n"}, "nobody has said", short=True),
    Mutant("09a.letters", "sent once more as new", {
        REQUEUE: POST, "import dead_letters": "import Client, dead_letters"}, "as a new message"),
    Mutant("09a.letters", "each copy", {ONCE_EACH: "for letter in await office.list():"}, "lies there twice",
        short=True),
    Mutant("09a.letters", "the first letter says it all", {
        ONCE_EACH: "for letter in (await office.list())[:3]:"}, "nobody touched them"),
    Mutant("09a.letters", "knows the letters above", {ONCE_EACH: ONCE_EACH.replace(
        ":\n", "").removesuffix(":") + ":\n            if letter.id not in (\"order-2\", \"order-3\", \"order-4\"):\n"
        "                continue"}, "nobody touched them"),
    Mutant("09a.letters", "the price is the total", {REPAIR: 'total = letter.data["price"]'}, "both of them"),
    Mutant("09a.letters", "what has no price costs nothing", {
        ' and {"qty", "price"} <= letter.data.keys()': "", REPAIR:
        'total = letter.data.get("qty", 1) * letter.data.get("price", 1)'}, "cannot be charged"),
    Mutant("09a.letters", "a price for all", {
        ' and {"qty", "price"} <= letter.data.keys()': ""}, "not all of a kind are alike"),
    Mutant("09a.letters", "what is negative is a slip", {PERMANENT:
        '            elif letter.kind == "permanent":\n'
        '                await office.requeue(letter, {**letter.data, "total": -letter.data["total"]})\n'},
        "never charged"),
    Mutant("09a.letters", "sent back unrepaired", {
        ', {**letter.data, "total": total})': ")"}, "even the mended till"),
]  # fmt: skip

LAB = Lab("09a", MUTANTS, {
    "09a.predict": "still ...: refused twice",
    "09a.once": "no idempotency_key",
    "09a.waits": "NotImplementedError: Your code goes here",
    "09a.storm": "tiers are multiplied",
    "09a.letters": "NotImplementedError: Your code goes here",
})  # fmt: skip
