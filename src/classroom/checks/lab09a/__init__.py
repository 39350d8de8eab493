"""The checks of lab 09a, errors."""

from __future__ import annotations

from classroom.checks import Check
from classroom.checks.lab09a import attempting, charging, mending, storming, waiting

FIRST = "the first cell of the lab"
WORLD = {"rabbit": FIRST, "book": FIRST}
PREDICTION = {"prediction": "the cell of task 1"} | WORLD
PAYMENTS = {"payments": "the %%service payments cell"} | WORLD
WAITS = {"waits": "the cell of task 3"}
SHOP = {"shop": "the %%service shop cell", "book": FIRST}
CLEAR = {"clear": "the cell of task 5"} | WORLD

CHECKS = {
    "09a.predict": Check("six orders go wrong", PREDICTION, attempting.judge, "prediction", 2, 10, draws=True),
    "09a.once": Check("charged once", PAYMENTS, charging.judge, "service", 4, 15, draws=True),
    "09a.waits": Check("waits that do not meet", WAITS, waiting.judge, "function", 3, 15, draws=True),
    "09a.storm": Check("three tiers in a storm", SHOP, storming.judge, "service", 4, 20, draws=True),
    "09a.letters": Check("a queue is cleared", CLEAR, mending.judge, "diagnosis", 4, 20, draws=True),
}
