"""Checkers of effects: what the ledger says of idempotency."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable

from classroom.checks.findings import Finding, counted, no_verdict
from classroom.checks.runs import Id, Run

__all__ = ["one_effect_per_id", "one_effect_per_key", "same_reply"]


def one_effect_per_key(run: Run) -> Finding:
    """In the ledger, an idempotency key has one effect. Rows without a key are not judged here."""
    text = "an idempotency key has one effect"
    if run.ledger is None:
        return no_verdict(text, "the ledger could not be read")
    rows = [(row.id, (row.kind, row.key)) for row in run.ledger if row.outcome == "effect" and row.key is not None]
    if not rows:
        return no_verdict(text, "no effect in the ledger has an idempotency key")
    return _once(text, run, rows, "effects too many for their key")


def one_effect_per_id(run: Run) -> Finding:
    """In the ledger, an order has one effect of each kind, whatever its idempotency keys were: nobody pays twice."""
    text = "an order has one effect of each kind"
    if not run.ledger:
        return no_verdict(text, "the ledger could not be read" if run.ledger is None else "the ledger has no rows")
    rows = [(row.id, (row.kind, row.id)) for row in run.ledger if row.outcome == "effect"]
    return _once(text, run, rows, "effects too many for their order")


def same_reply(run: Run) -> Finding:
    """Every call with one idempotency key is given the same answer: by what callers got, and by the ledger's rows."""
    text = "every retry is given the first answer"
    if run.replies is None and run.ledger is None:
        return no_verdict(text, "neither the replies nor the ledger could be read")
    answers: dict[Hashable, list[object]] = defaultdict(list)
    ids: dict[Hashable, Id] = {}
    for key, answer in run.replies or ():
        answers[key].append(answer)
    for row in run.ledger or ():
        if row.key is not None and row.receipt is not None:
            answers[row.kind, row.key].append(row.receipt)
            ids[row.kind, row.key] = ids[row.key] = row.id
    retried = [key for key, given in answers.items() if len(given) > 1]
    if not retried:
        return no_verdict(text, "nothing was retried")
    other = [key for key in retried if any(one != answers[key][0] for one in answers[key])]
    offenders = list(dict.fromkeys(ids.get(key, str(key)) for key in other))
    return counted(text, run, offenders, f"keys were given another, of {len(retried):,} retried", len(other))


def _once(text: str, run: Run, rows: Iterable[tuple[Id, Hashable]], what: str) -> Finding:
    """No two rows may have the same key; `rows` are (id, key)."""
    by_key: dict[Hashable, list[Id]] = defaultdict(list)
    for ident, key in rows:
        by_key[key].append(ident)
    many = [ids for ids in by_key.values() if len(ids) > 1]
    offenders = list(dict.fromkeys(one for ids in many for one in ids))
    return counted(text, run, offenders, f"{what}, of {len(by_key):,}", sum(len(ids) - 1 for ids in many))
