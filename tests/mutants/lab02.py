"""Wrong solutions of lab 02."""

from __future__ import annotations

from .mutant import Lab, Mutant


def cell(name: str, old: str, new: str) -> dict[str, str]:
    """Another word in one cell of a table."""
    return {f'"{name}": "{old}"': f'"{name}": "{new}"'}


CHARGE = '    await ledger.charge(data["id"], amount=data["total"])\n'
SPAWN = "import asyncio\n\ntasks = set()\n\n"
EFFECTS = 'effects = Counter(row["id"] for row in rows if row["outcome"] == "effect")'
HANDLED = 'handled = {row["id"] for row in rows if row["outcome"] != "failed"}'

MUTANTS = [
    Mutant("02.away", "a broker keeps everything", cell("redis, at most once", "none", "all"), "whoever listens now"),
    Mutant("02.away", "a queue is no place", cell("rabbitmq, at most once", "all", "none"), "a queue waits",
        short=True),
    Mutant("02.away", "TCP loses in silence", cell("tcp, at most once", "refused", "none"), "cannot even connect"),
    Mutant("02.away", "the service's promise is enough",
        cell("nats, at least once, sent at most once", "none", "all"), "asked nobody to store it", short=True),
    Mutant("02.away", "some come", cell("mqtt, at least once", "all", "lost"), "both sides asked for it"),
    Mutant("02.away", "a word of its own", cell("nats, at most once", "none", "nothing"), "the words are"),
    Mutant("02.killed", "nothing is lost on RabbitMQ", cell("rabbitmq, at most once", "lost", "all"),
        "in the hands of the process"),
    Mutant("02.killed", "exactly once", cell("nats, at least once", "twice", "all"), "comes again", short=True),
    Mutant("02.killed", "all is lost", cell("redis, at most once", "lost", "none"), "in the hands of the process"),
    Mutant("02.killed", "MQTT loses with QoS 1", cell("mqtt, at least once", "twice", "lost"), "comes again"),
    Mutant("02.slow", "slow is no harm", cell("redis, at most once", "lost", "all"), "up to 32 MB", short=True),
    Mutant("02.slow", "NATS hangs up", cell("nats, at most once", "all", "lost"), "waits: in the socket"),
    Mutant("02.slow", "RabbitMQ drops", cell("rabbitmq, at most once", "all", "lost"), "waits: in the socket"),
    Mutant("02.slow", "a stream has the limit, too", cell("redis, at least once", "all", "lost"), "waits: in"),
    Mutant("02.replicas", "two always share", cell("nats, at most once", "twice", "all"), "a copy of its own",
        short=True),
    Mutant("02.replicas", "MQTT shares at least once", cell("mqtt, at least once", "twice", "all"),
        "a copy of its own"),
    Mutant("02.replicas", "streams give copies", cell("redis, at least once", "all", "twice"), "both take from one"),
    Mutant("02.replicas", "queues give copies", cell("rabbitmq, at most once", "all", "twice"), "both take from one"),
    Mutant("02.account", "failed calls count", {HANDLED: 'handled = {row["id"] for row in rows}'}, "took no effect",
        short=True),
    Mutant("02.account", "repeats count", {EFFECTS: 'effects = Counter(row["id"] for row in rows)'}, "took no effect"),
    Mutant("02.account", "repeats count twice", {
        EFFECTS: EFFECTS.replace('== "effect"', '!= "failed"')}, "recognised by its key"),
    Mutant("02.account", "a repeat is not handled", {HANDLED: "handled = set(effects)"}, "recognised by its key"),
    Mutant("02.account", "sent is promised", {"set(confirmed) - handled": "set(sent) - handled"},
        "nothing was confirmed", short=True),
    Mutant("02.account", "unconfirmed is strange", {"set(effects) - set(sent)": "set(effects) - set(confirmed)"},
        "sent and not confirmed is not"),
    Mutant("02.account", "not sorted", {
        '"lost": sorted(set(confirmed) - handled)': '"lost": sorted(set(confirmed) - handled, reverse=True)'},
        "each a sorted list"),
    Mutant("02.account", "returns sets", {"sorted(set(effects) - set(sent))": "set(effects) - set(sent)"},
        "each a sorted list"),
    Mutant("02.orders", "a group, at most once", {" --delivery at-least-once": " --group tills"},
        "the service did not", short=True),
    Mutant("02.orders", "as it was", {" --delivery at-least-once": ""}, "the service did not"),
    Mutant("02.orders", "one replica", {" --replicas 2": ""}, "one is no cure"),
    Mutant("02.orders", "in the background", {
        CHARGE: "    tasks.add(asyncio.create_task(later(data)))\n",
        "@event_pattern": f"async def later(data):\n    await asyncio.sleep(0.5)\n{CHARGE}\n@event_pattern",
        "from classroom.ledger": f"{SPAWN}from classroom.ledger"}, "only begun"),
    Mutant("02.orders", "charges twice", {CHARGE: CHARGE * 2}, "each replica"),
    Mutant("02.orders", "always 10", {'amount=data["total"]': "amount=10"}, 'as its amount data["total"]'),
    Mutant("02.choose", "streams for prices", {'"prices": "nats, at most once"': '"prices": "nats, at least once"'},
        "share the events"),
    Mutant("02.choose", "pub/sub for invoices", {
        '"invoices": "rabbitmq, at least once"': '"invoices": "redis, at most once"'}, "a copy of its own",
        short=True),
    Mutant("02.choose", "a queue for alarms", {
        '"alarms": "mqtt, at least once"': '"alarms": "rabbitmq, at least once"'},
        "share the events"),
    Mutant("02.choose", "QoS 0 for alarms", {'"alarms": "mqtt, at least once"': '"alarms": "mqtt, at most once"'},
        "nobody keeps it"),
    Mutant("02.choose", "careful dice", {'"games": "rabbitmq, at most once"': '"games": "rabbitmq, at least once"'},
        "here losing it is better"),
    Mutant("02.choose", "invoices at most once", {
        '"invoices": "rabbitmq, at least once"': '"invoices": "rabbitmq, at most once"'}, "what it held when it died"),
]  # fmt: skip

LAB = Lab("02", MUTANTS, {
    "02.away": "still ...: tcp, at most once",
    "02.killed": "still ...: redis, at most once",
    "02.slow": "still ...: redis, at most once",
    "02.replicas": "still ...: redis, at most once",
    "02.account": "NotImplementedError",
    "02.orders": "the service did not",
    "02.choose": "still ...: prices",
})  # fmt: skip
