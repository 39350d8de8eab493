"""A wrong solution of a task, as learners write them, and the words that its check must answer with."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """The reference of a task with some of its text replaced.

    Attributes:
        task: the check's name, "05.ack". name: the mistake, in a few words.
        changes: old text -> new text; each old text must be there. Or the whole source, of one that is no small change.
        hint: words of the hint that it must be given; of another right solution, which must pass, there is none.
        short: whether it is tried in `make test`, too.
    """

    task: str
    name: str
    changes: dict[str, str] | str
    hint: str = ""
    short: bool = False

    def of(self, reference: str) -> str:
        """Its source."""
        if isinstance(self.changes, str):
            return self.changes
        reference = re.sub(r"(?m)^\s*### START.*\n", "", reference + "\n")
        for old, new in self.changes.items():
            assert old in reference, f"{self.task}, {self.name}: the reference has no {old!r} any more"
            reference = reference.replace(old, new)
        return reference


@dataclass(frozen=True)
class Lab:
    """What of a lab is tried: the module `labNN` beside this one names it `LAB`.

    Attributes:
        name: "05". mutants: its wrong solutions. starts: task -> words that its unchanged start is answered with.
        given: the ids of the cells that run first, once. others: right solutions that are not the reference.
    """

    name: str
    mutants: Sequence[Mutant]
    starts: Mapping[str, str]
    given: Sequence[str] = ("start",)
    others: Sequence[Mutant] = ()


def labs() -> list[Lab]:
    """All of them, in order."""
    here = Path(__file__).parent
    return [importlib.import_module(f"{__package__}.{path.stem}").LAB for path in sorted(here.glob("lab*.py"))]
