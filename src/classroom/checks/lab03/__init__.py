"""The checks of lab 03, TCP."""

from __future__ import annotations

from classroom.checks import Check
from classroom.checks.lab03 import breaking, deaths, draining, framing, totalling, turning

FIRST = "the first cell of the lab"
FRAMES = {"encode": "the cell of task 2", "Decoder": "the cell of task 2"}
TILL, DESK, SHOP = ({name: f"the %%service {name} cell"} for name in ("till", "desk", "shop"))
PREDICTION, BREAKS = {"prediction": "the cell of task 1"}, {"breaks": "the cell of task 3"}

CHECKS = {
    "03.predict": Check("what a caller can know", PREDICTION, deaths.judge, "prediction", 2, 10),
    "03.framing": Check("frames", FRAMES, framing.judge, "function", 4, 20, draws=True),
    "03.break": Check("four broken decoders", BREAKS, breaking.judge, "diagnosis", 2, 10),
    "03.till": Check("a till that refuses well", TILL, totalling.judge, "service", 3, 10, draws=True),
    "03.block": Check("a desk that stands still", DESK, turning.judge, "diagnosis", 3, 15, draws=True),
    "03.drain": Check(
        "a shop that keeps its word", SHOP | {"book": FIRST}, draining.judge, "service", 3, 15, draws=True
    ),
}
