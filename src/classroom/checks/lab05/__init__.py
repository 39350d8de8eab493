"""The checks of lab 05, RabbitMQ."""

from __future__ import annotations

from classroom.checks import Check
from classroom.checks.lab05 import acking, foretelling, poisoning, posting, sharing

FIRST = "the first cell of the lab"
WORLD = {"rabbit": FIRST, "book": FIRST}
PREDICTION = {"prediction": "the cell of task 1", "rabbit": FIRST}
POST = {"post": "the cell of task 2", "rabbit": FIRST}
PAYMENTS, PRINTERS, LABELS = (
    {name: f"the %%service {name} cell"} | WORLD for name in ("payments", "printers", "labels")
)

CHECKS = {
    "05.predict": Check("what the broker holds", PREDICTION, foretelling.judge, "prediction", 2, 10),
    "05.confirm": Check("a publisher that knows", POST, posting.judge, "function", 3, 20, draws=True),
    "05.ack": Check("charged, whoever is killed", PAYMENTS, acking.judge, "service", 3, 15, draws=True),
    "05.prefetch": Check("short jobs overtake", PRINTERS, sharing.judge, "service", 2, 10, draws=True),
    "05.poison": Check("a queue that flows on", LABELS, poisoning.judge, "diagnosis", 4, 25, draws=True),
}
