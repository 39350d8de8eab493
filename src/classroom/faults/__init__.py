"""Real faults, undone by themselves: of a link (link.py), of a service's process (crash.py), of a broker's disk."""

from __future__ import annotations

from classroom.faults.fault import Fault
from classroom.faults.link import Link, LinkError, start_link

__all__ = ["Fault", "Link", "LinkError", "start_link"]
