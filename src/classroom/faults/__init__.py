"""Real faults, undone by themselves.

link.py: the network, by a TCP proxy. crash.py: a service's process, at a point of its work. disk.py: a full disk.
Those of a broker and of a service are verbs of their handles: `broker.paused()`, `users.killed()` and so on.
"""

from __future__ import annotations

from classroom.faults.crash import Crash
from classroom.faults.fault import Fault
from classroom.faults.link import Link, LinkError, start_link

__all__ = ["Crash", "Fault", "Link", "LinkError", "start_link"]
