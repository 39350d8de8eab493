"""Brokers of the tests: every kind by both engines; what an engine cannot have here is skipped with the reason."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "classroom"))  # classroom_help: kernels, waiting for conditions

from classroom.brokers.catalogue import KINDS
from classroom.brokers.container_engine import pull
from classroom.brokers.errors import BrokerError
from classroom.brokers.finding import Candidate, fetch_packages, find

ENGINES = ["process", pytest.param("container", marks=pytest.mark.containers)]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Both engines."""
    return request.param


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine and the addresses that a test wants are those that it gives."""
    for name in ["CLASSROOM_ENGINE", *(kind.variable for kind in KINDS.values())]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def serve():
    """Make sure that an engine can serve a broker here: `serve("redis", "process")`, else skip with the reason."""
    problems: dict[tuple[str, str], str] = {}

    def check(kind: str, engine: str) -> None:
        if (kind, engine) not in problems:
            problems[kind, engine] = _problem(kind, engine)
        if problems[kind, engine]:
            pytest.skip(problems[kind, engine])

    return check


def _problem(kind: str, engine: str) -> str:
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
