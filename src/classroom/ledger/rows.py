"""What the ledger has recorded, as its readers see it: `Row`, and `Rows`, a small table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    from classroom.observe.picture import Picture

__all__ = ["Outcome", "Row", "Rows"]

Outcome = Literal["effect", "repeat", "conflict", "failed"]
SHOWN = 20  # rows of a table; the rest is counted
COLUMNS = ("row", "time", "kind", "id", "amount", "outcome", "idempotency key", "by", "besides")
NOTES: dict[Outcome, tuple[str, str]] = {
    "effect": ("effect", "effects"),
    "repeat": ("repeat of an idempotency key", "repeats of an idempotency key"),
    "conflict": ("call with another payload under a known key", "calls with another payload under a known key"),
    "failed": ("call that failed before its effect", "calls that failed before their effect"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One call.

    Attributes:
        number: 1, 2, 3 …, in the order in which the calls took effect.
        at: when the call arrived, in unix seconds. done: when it took effect, or was refused.
        kind: "charge", "ship", "mail", or what `record` was given. id: of the order, the message, whatever it is for.
        amount: of a charge; None where there is none.
        key: the idempotency key; None where none was given.
        fields: what else the caller gave.
        outcome: "effect": it took place. "repeat": its key was known, so nothing more took place, and the first
            answer was given again. "conflict": its key was known with another payload; refused.
            "failed": the ledger was told to fail; nothing took place.
        receipt: the number of the effect that the answer speaks of; None where there is none.
        replied: whether an answer was sent; False where the reply was lost on demand.
        service, replica, pid: who called, as the caller said. service is "" outside a %%service cell.
    """

    number: int
    at: float
    done: float
    kind: str
    id: int | str
    amount: float | None
    key: str | None
    fields: dict[str, Any]
    outcome: Outcome
    receipt: int | None
    replied: bool
    service: str
    replica: int
    pid: int

    @property
    def by(self) -> str:
        """Who called, in a word: the service with its replica and pid, or the pid alone."""
        return f"{self.service} {self.replica} (pid {self.pid})" if self.service else f"pid {self.pid}"

    def cells(self, began: float) -> tuple[str, ...]:
        """The row as texts, in the order of the columns; the time in seconds since `began`."""
        amount = "" if self.amount is None else f"{self.amount:g}"
        besides = [f"{name}={value!r}" for name, value in self.fields.items()]
        besides += [] if self.replied else ["reply lost"]
        besides += [f"as row {self.receipt}"] if self.outcome == "repeat" else []
        time, key = f"{self.at - began:+.3f} s", _short(self.key or "", 16)
        return (str(self.number), time, self.kind, _short(str(self.id)), amount, self.outcome, key, self.by,
                _short(", ".join(besides), 40))  # fmt: skip


class Rows(Sequence[Row]):
    """Rows of the ledger: a sequence, shown as a table."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = tuple(rows)

    @property
    def effects(self) -> Rows:
        """The rows that took place, without repeats, conflicts and failures."""
        return Rows(row for row in self.rows if row.outcome == "effect")

    @property
    def ids(self) -> list[int | str]:
        """The id of each row, in order; an id that stands in two rows is there twice."""
        return [row.id for row in self.rows]

    @property
    def total(self) -> float:
        """The sum of the amounts of the effects."""
        return sum(row.amount or 0 for row in self.effects)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Row | Rows:
        return Rows(self.rows[index]) if isinstance(index, slice) else self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def rate(self, by: str = "kind", every: float = 0.1) -> Picture:
        """A picture of how many calls came in each `every` seconds, for each value of `by`.

        Args:
            by: a column ("kind", "outcome", "service") or the name of something that the caller gave besides.

        Raises ValueError where there are no rows, or more than 400 bars of that width.
        """
        from classroom.ledger.rate import draw

        return draw(self.rows, lambda row: str(row.fields.get(by, getattr(row, by, ""))), every)

    def _headline(self) -> str:
        counts = Counter(row.outcome for row in self.rows)
        parts = [f"{counts[one]:,} {names[counts[one] != 1]}" for one, names in NOTES.items() if counts[one]]
        return f"{len(self):,} call{'s'[: len(self) != 1]} to the ledger: {', '.join(parts) or 'nothing happened'}"

    def _table(self) -> Iterator[tuple[str, ...]]:
        yield from (row.cells(self.rows[0].at) for row in self.rows[:SHOWN])

    def _rest(self) -> list[str]:
        return [f"… and {len(self) - SHOWN:,} more"] if len(self) > SHOWN else []

    def __repr__(self) -> str:
        table = [COLUMNS, *self._table()] if self.rows else []
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in table]
        return "\n".join([self._headline(), *(line.rstrip() for line in lines), *self._rest()])

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col" style="text-align:left">{name}</th>' for name in COLUMNS)
        body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in self._table())
        rest = "".join(f"<p>{line}</p>" for line in self._rest())
        caption = f"<caption style='text-align:left'><b>{escape(self._headline())}</b></caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def _cell(text: str) -> str:
    return f"<td style='text-align:left'>{escape(text)}</td>"


def _short(text: str, limit: int = 24) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
