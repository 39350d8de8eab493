"""A service's log as its cell shows it: the frames of the cell, and those alone."""

from __future__ import annotations

from classroom.service_text import cell_lines

OURS = '  File "/tmp/x/service-till-a1/v3/till.py", line 18, in charge'
THEIRS = '  File "/somewhere/postoffice/dispatch.py", line 9, in run'
BEGIN = "Traceback (most recent call last):"


def test_frames_around_those_of_the_cell_are_left_out():
    """Those before and those behind, with their source lines; what is said after the traceback stays."""
    log = ["ERROR till: failed", BEGIN, THEIRS, "    await f()", OURS, "    await ledger.charge(", "    ^^^^"]
    log += [THEIRS, "    raise KeyError", "KeyError: 'x'", "  more of it"]
    shown = ["ERROR till: failed", BEGIN, "  Cell till, line 18, in charge", "    await ledger.charge(", "    ^^^^"]
    assert cell_lines(log, "till") == [*shown, "KeyError: 'x'", "  more of it"]


def test_a_traceback_without_the_cell_is_shown_whole():
    """There is nothing else to go by; also where the log ends within it."""
    log = [BEGIN, THEIRS, "    await f()", "ValueError: y"]
    assert cell_lines(log, "till") == log
    assert cell_lines(log[:-1], "till") == log[:-1]


def test_each_of_two_chained_tracebacks_is_judged_alone():
    """One has a frame of the cell, the other has not."""
    log = [BEGIN, THEIRS, "    await f()", "OSError: z", "", "The above exception was the direct cause:", ""]
    log += [BEGIN, OURS, "    go()", THEIRS, "    raise", "RpcError: no"]
    assert cell_lines(log, "till") == [*log[:8], "  Cell till, line 18, in charge", "    go()", "RpcError: no"]
