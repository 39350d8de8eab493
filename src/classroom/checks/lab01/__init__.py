"""The checks of lab 01, what a microservice is."""

from __future__ import annotations

from classroom.checks import Check
from classroom.checks.lab01 import counter, parts, patience, silences

GIVEN = {"bank": "the %%service bank cell", "road": "the cell of the road", "book": "the first cell of the lab"}
PREDICTION = {"prediction": "the cell of task 1"} | GIVEN
CALL = {"charge": "the cell of task 2"} | GIVEN
WHICH = {"which": "the cell of task 3"} | GIVEN
SHOP = {"shop": "the %%service shop cell"} | GIVEN
PARTS = {"availability": "the cell of task 5"}

CHECKS = {
    "01.silences": Check("what a caller sees", PREDICTION, silences.judge, "prediction", 3, 15),
    "01.call": Check("a call that ends", CALL, patience.judge, "function", 3, 20, draws=True),
    "01.which": Check("which silence was it?", WHICH, silences.judge_which, "diagnosis", 3, 15, draws=True),
    "01.shop": Check("a shop that tells no lies", SHOP, counter.judge, "service", 4, 25, draws=True),
    "01.parts": Check("the whole and its parts", PARTS, parts.judge, "function", 2, 10, draws=True),
}
