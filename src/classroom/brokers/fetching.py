"""`fetch`: get ahead of time what `start_broker` would fetch, so that a class needs no network later."""

from __future__ import annotations

from classroom.brokers.catalogue import KINDS, Kind, kind_of
from classroom.brokers.errors import BrokerError
from classroom.brokers.finding import Candidate, chosen_engine, command_for, fetch_packages, find


def fetch(*names: str, engine: str | None = None) -> int:
    """Make sure that brokers can start, with one line for each; blocks. The number of those that cannot.

    `names` as for `start_broker`, and `engine` too; without names, all but Kafka, which few lessons need. What is here
    already is not fetched again, and needs no network. One that could not be got is reported with the command that
    would get it; nothing is raised for it.
    Raises ValueError for an unknown name or engine.
    """
    chosen = chosen_engine(engine)
    kinds = [kind_of(name) for name in names] or [kind for kind in KINDS.values() if not kind.on_demand]
    return sum(not _fetch_one(kind, chosen) for kind in kinds)


def _fetch_one(kind: Kind, engine: str) -> bool:
    reasons = []
    for source in find(kind, engine):
        if isinstance(source, Candidate):
            try:
                served = _fetched(source)
            except BrokerError as error:
                reasons.append(str(error))
                continue
            print(f"{kind.title}: {served.source} {served.version}".rstrip(), flush=True)
            return True
        if source.surprising:
            reasons.append(source.reason)
    print(f"{kind.title}: not to be had. " + "; ".join(reasons), flush=True)
    print(f"    lessons without {kind.title} work; this would get it: {command_for(kind, engine)}", flush=True)
    return False


def _fetched(candidate: Candidate) -> Candidate:
    if candidate.engine == "process" and candidate.program is None:
        return fetch_packages(candidate)
    if candidate.engine == "container" and candidate.to_fetch:
        from classroom.brokers.container_engine import pull

        pull(candidate)
    return candidate
