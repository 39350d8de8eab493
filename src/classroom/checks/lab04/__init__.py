"""The checks of lab 04, message patterns."""

from __future__ import annotations

from classroom.checks import Check
from classroom.checks.lab04 import calling, choosing, following, replicas

FIRST = "the first cell of the lab"
WORLD = {"post": FIRST, "book": FIRST}
PREDICTION = {"prediction": "the cell of task 1"} | WORLD
GIVEN = {name: f"the %%service {name} cell" for name in ("desk", "payments", "parcels")}
MAILS = {"mails": "the %%service mails cell"} | WORLD

CHECKS = {
    "04.predict": Check("who runs, and who hears", PREDICTION, choosing.judge, "prediction", 3, 15),
    "04.desk": Check("fix the caller", GIVEN | WORLD, calling.judge, "diagnosis", 5, 30, draws=True),
    "04.mails": Check("one letter, one mail", MAILS, replicas.judge, "service", 3, 15, draws=True),
    "04.follow": Check("an answer in pieces", {"follow": "the cell of task 4"}, following.judge, "function", 3, 20,
                       draws=True),
}  # fmt: skip
