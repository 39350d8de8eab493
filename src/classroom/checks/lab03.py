"""The checks of lab 03, TCP."""

from __future__ import annotations

from classroom.checks import Check, draining, framing, serving

CHECKS = {
    "03.framing": Check("frames", {"encode": "the cell of task 1", "Decoder": "the cell of task 1"}, framing.judge),
    "03.till": Check("a till that refuses well", {"till": "the %%service till cell"}, serving.judge),
    "03.drain": Check(
        "a shop that loses nothing",
        {"shop": "the %%service shop cell", "ledger": "the %%service ledger cell"},
        draining.judge,
    ),
}
