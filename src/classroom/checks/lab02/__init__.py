"""The checks of lab 02, transports."""

from __future__ import annotations

from classroom.checks import Check
from classroom.checks.lab02 import accounting, guaranteeing, picking, sharing_out

FIRST = "the first cell of the lab"
WORLD = dict.fromkeys(("book", *guaranteeing.BROKERS), FIRST)
ORDERS = {"orders": "the %%service orders cell", "nats": FIRST, "book": FIRST}
AWAY, KILLED, SLOW, REPLICAS = (
    {name: f"the cell of task {number}"} | WORLD for number, name in enumerate(guaranteeing.CELLS, 1)
)
ACCOUNT = {"account": "the cell of task 5"}
CHOICE = {"choice": "the cell of task 7"} | WORLD

CHECKS = {
    "02.away": Check("away, and back", AWAY, guaranteeing.judge("away"), "prediction", 3, 15, draws=True),
    "02.killed": Check("killed before its ack", KILLED, guaranteeing.judge("killed"), "prediction", 2, 10, draws=True),
    "02.slow": Check("a slow reader", SLOW, guaranteeing.judge("slow"), "prediction", 1, 10, draws=True),
    "02.replicas": Check("two replicas", REPLICAS, guaranteeing.judge("replicas"), "prediction", 2, 10, draws=True),
    "02.account": Check("lost, twice, strange", ACCOUNT, accounting.judge, "function", 3, 20, draws=True),
    "02.orders": Check("two replicas, one charge", ORDERS, sharing_out.judge, "service", 3, 15, draws=True),
    "02.choose": Check("four cases", CHOICE, picking.judge, "diagnosis", 3, 15, draws=True),
}
