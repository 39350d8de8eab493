"""A wrong solution of a task, as learners write them, and the words that its check must answer with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """The reference of a task with some of its text replaced.

    Attributes:
        task: the check's name, "05.ack". name: the mistake, in a few words.
        changes: old text -> new text; each old text must be there. hint: words of the hint that it must be given.
    """

    task: str
    name: str
    changes: dict[str, str]
    hint: str

    def of(self, reference: str) -> str:
        """The wrong source."""
        reference += "\n"
        for old, new in self.changes.items():
            assert old in reference, f"{self.task}, {self.name}: the reference has no {old!r} any more"
            reference = reference.replace(old, new)
        return reference
