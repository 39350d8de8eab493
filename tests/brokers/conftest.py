"""Brokers of the tests: every kind by both engines; what an engine cannot have here is skipped with the reason."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "classroom"))  # classroom_help: kernels, waiting for conditions

from serving import problem

from classroom.brokers.catalogue import KINDS

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
            problems[kind, engine] = problem(kind, engine)
        if problems[kind, engine]:
            pytest.skip(problems[kind, engine])

    return check
