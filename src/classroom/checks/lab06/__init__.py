"""The checks of lab 06, Redis."""

from __future__ import annotations

from classroom.checks import Check
from classroom.checks.lab06 import claiming, dealing, standing, streaming

FIRST = "the first cell of the lab"
WORLD = {"broker": FIRST, "book": FIRST}
PREDICTION = {"prediction": "the cell of task 1", "broker": FIRST}
RESCUE = {"rescue": "the cell of task 3", "broker": FIRST}
PAYMENTS, PARCELS = ({name: f"the %%service {name} cell"} | WORLD for name in ("payments", "parcels"))

CHECKS = {
    "06.predict": Check("who has heard, who has it", PREDICTION, streaming.judge, "prediction", 2, 10),
    "06.once": Check("two replicas, one charge", PAYMENTS, dealing.judge, "service", 3, 20, draws=True),
    "06.rescue": Check("the stale ones", RESCUE, claiming.judge, "function", 4, 25, draws=True),
    "06.stuck": Check("a service that stands still", PARCELS, standing.judge, "diagnosis", 4, 25, draws=True),
}
