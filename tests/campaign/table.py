"""The rows of a campaign, as text."""

from __future__ import annotations

from collections.abc import Iterator

from .cell import Row
from .expected import reasons

__all__ = ["details", "markdown", "table"]

COLUMNS = (
    ("attempted", "sent"),
    ("acknowledged", "ack'ed"),
    ("handled", "handled"),
    ("lost", "lost"),
    ("duplicated", "again"),
    ("recovered", "recov."),
    ("dead_lettered", "dead"),
    ("unknown", "unknown"),
    ("refused", "refused"),
    ("inversions", "invers."),
)


def table(rows: list[Row]) -> str:
    """A line for each configuration and break: the sums over its seeds, and whether all were as expected."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.config, row.fault), []).append(row)
    width = max((len(fault) for _, fault in groups), default=0)
    lines: list[str] = []
    config = None
    for (name, fault), same in groups.items():
        if name != config:
            config = name
            heads = " ".join(f"{head:>8}" for _, head in COLUMNS)
            lines += ["", f"{name}", f"  {'':<{width}} seeds {heads}  worst s  verdict"]
        sums = " ".join(f"{sum(getattr(row, column) or 0 for row in same):>8,}" for column, _ in COLUMNS)
        bad = [row for row in same if not row.good]
        verdict = f"as expected ({same[0].expected})" if not bad else f"NOT as expected: seeds {[r.seed for r in bad]}"
        worst = max(row.seconds for row in same)
        lines.append(f"  {fault:<{width}} {len(same):>5} {sums}  {worst:>7.1f}  {verdict}")
    return "\n".join(lines)


def details(rows: list[Row]) -> Iterator[str]:
    """What was not as expected, with the life of one message; and why some cells may lose."""
    for row in rows:
        if not row.good:
            yield f"\n{row.config} | {row.fault} | seed {row.seed}: {row.error or '; '.join(row.offences)}"
            yield row.life
    yield "\nWhere losing or repeating is expected:"
    yield from (f"  {reason}" for reason in reasons())


def markdown(rows: list[Row], how: str) -> str:
    """The same as a page: for each configuration and break what was lost and what was done again, of how many."""
    configs = list(dict.fromkeys(row.config for row in rows))
    faults = list(dict.fromkeys(row.fault for row in rows))
    parts = [f"{how}\n"]
    for durable in (True, False):
        chosen = [one for one in configs if _durable(rows, one) == durable]
        if not chosen:
            continue
        parts += [f"\n{'At least once' if durable else 'At most once'}: lost / done again\n"]
        parts += ["| | " + " | ".join(chosen) + " |", "|---" * (len(chosen) + 1) + "|"]
        for fault in faults:
            cells = [_cell([r for r in rows if (r.config, r.fault) == (config, fault)]) for config in chosen]
            if any(cells):
                parts.append(f"| {fault} | " + " | ".join(cells) + " |")
    return "\n".join(parts) + "\n"


def _durable(rows: list[Row], config: str) -> bool:
    return any(row.config == config and row.fault == "poison messages" for row in rows)


def _cell(same: list[Row]) -> str:
    if not same:
        return ""
    if any(row.error for row in same):
        return "no result"
    lost, again = (sum(getattr(row, name) for row in same) for name in ("lost", "duplicated"))
    return f"{lost:,} / {again:,}" + ("" if all(row.good for row in same) else " (!)")
