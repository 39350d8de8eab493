"""The checks of lab 05, RabbitMQ."""

from __future__ import annotations

from classroom.checks import Check, acking, foretelling, poisoning, posting, sharing

FIRST = "the first cell of the lab"
WORLD = {"rabbit": FIRST, "book": FIRST}

CHECKS = {
    "05.predict": Check(
        "what the broker holds", {"prediction": "the cell of task 1", "rabbit": FIRST}, foretelling.judge
    ),
    "05.confirm": Check(
        "a publisher that knows", {"post": "the cell of task 2", "rabbit": FIRST}, posting.judge, draws=True
    ),
    "05.ack": Check(
        "charged, whoever is killed", {"payments": "the %%service payments cell"} | WORLD, acking.judge, draws=True
    ),
    "05.prefetch": Check(
        "short jobs overtake", {"printers": "the %%service printers cell"} | WORLD, sharing.judge, draws=True
    ),
    "05.poison": Check(
        "a queue that flows on", {"labels": "the %%service labels cell"} | WORLD, poisoning.judge, draws=True
    ),
}
