"""Whether an engine can serve a broker on this machine."""

from classroom.brokers.catalogue import KINDS
from classroom.brokers.container_engine import pull
from classroom.brokers.errors import BrokerError
from classroom.brokers.finding import Candidate, fetch_packages, find


def problem(kind: str, engine: str) -> str:
    """Why it cannot ("" if it can, once all that it needs is fetched)."""
    reasons = []
    for source in find(KINDS[kind], engine):
        if not isinstance(source, Candidate):
            reasons.append(source.reason)
            continue
        try:
            if engine == "container":
                pull(source)
            elif source.program is None:
                fetch_packages(source)
            return ""
        except BrokerError as error:
            reasons.append(str(error))
    return f"no {engine} can serve {kind} here: {'; '.join(reasons)}"
