"""The checks of lab 03, TCP."""

from __future__ import annotations

from classroom.checks import Check, framing

CHECKS = {
    "03.framing": Check("frames", {"encode": "the cell of task 1", "Decoder": "the cell of task 1"}, framing.judge),
}
