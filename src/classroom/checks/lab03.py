"""The checks of lab 03, TCP."""

from __future__ import annotations

from classroom.checks import Check, draining, framing, serving

CELL = "the cell of task 1"
SHOP = {"shop": "the %%service shop cell", "ledger": "the %%service ledger cell"}

CHECKS = {
    "03.framing": Check("frames", {"encode": CELL, "Decoder": CELL}, framing.judge, "function", 4, 20),
    "03.till": Check("a till that refuses well", {"till": "the %%service till cell"}, serving.judge, "service", 3, 15),
    "03.drain": Check("a shop that loses nothing", SHOP, draining.judge, "service", 3, 25),
}
