"""`make mutants` in short: every reference passes; every start and, of each task, two mistakes are refused by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from classroom.brokers import BrokerError
from classroom.checks import check
from classroom.checks.lab05 import CHECKS

from .bench import Bench, bench
from .lab05 import MUTANTS
from .mutant import Mutant

TASKS = list(CHECKS)
FEWEST = 4  # wrong solutions of each task
SHORT = {
    "05.predict": ("what is held is lost", "the shorter first"),
    "05.confirm": ("knows the keys of the lesson", "silence is a no"),
    "05.ack": ("catches everything", "charges twice"),
    "05.prefetch": ("one replica",),  # the start is the other one
    "05.poison": ("many in the hand",),  # the start is a classic queue
}
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="table")
async def a_bench() -> AsyncIterator[Bench]:
    """Lab 05, with a broker of its own."""
    try:
        async with bench("05") as one:
            yield one
    except BrokerError as error:
        pytest.skip(f"nothing serves RabbitMQ here: {error}")


@pytest.mark.parametrize("task", TASKS)
async def test_the_reference_passes(table: Bench, task: str):
    """All conditions hold."""
    trial = await table.trial(task, table.references[task])
    assert trial.result.passed, trial.result


@pytest.mark.parametrize(("task", "reason"), [
    ("05.predict", "still ...: waiting, held"),
    ("05.confirm", "NotImplementedError: Your code goes here"),
    ("05.ack", "NotImplementedError: Your code goes here"),
    ("05.prefetch", "each may hold 16 letters"),
    ("05.poison", "a classic queue does not count deliveries"),
])  # fmt: skip
async def test_the_unchanged_start_fails_for_a_clear_reason(table: Bench, task: str, reason: str):
    """The first condition that fails says it."""
    trial = await table.trial(task, table.start_of(task))
    assert not trial.result.passed
    assert reason in trial.advice, trial.result


@pytest.mark.parametrize(
    "mutant", [one for one in MUTANTS if one.name in SHORT[one.task]], ids=lambda one: f"{one.task} {one.name}"
)
async def test_a_wrong_solution_is_answered_by_name(table: Bench, mutant: Mutant):
    """Refused, and the first condition that fails has the hint for this mistake."""
    trial = await table.trial(mutant.task, mutant.of(table.references[mutant.task]))
    assert not trial.result.passed, trial.result
    assert mutant.hint in trial.advice, trial.result


@pytest.mark.parametrize("task", TASKS)
async def test_every_task_has_its_wrong_solutions(task: str):
    """Four at least, each another text."""
    mine = {str(one.changes) for one in MUTANTS if one.task == task}
    assert len(mine) >= FEWEST
    assert {*SHORT[task]} <= {one.name for one in MUTANTS if one.task == task}


@pytest.mark.parametrize(("names", "seen"), [
    ({"rabbit": 42, "book": None, "payments": None}, "rabbit is a broker that runs"),
    ({"book": 42, "payments": None}, "book is a ledger that runs"),
    ({"payments": 42}, "payments is a service"),
])  # fmt: skip
async def test_what_is_no_broker_ledger_or_service_is_named(table: Bench, names: dict[str, object], seen: str):
    """A variable that the learner has used for something else."""
    world = {name: table.shell.user_ns[name] for name in ("rabbit", "book")}
    result = await check("05.ack", names=world | names)
    assert [one.text for one in result.conditions] == [seen]
    assert not result.passed


async def test_a_broker_that_dies_meanwhile_leaves_no_verdict(table: Bench):
    """What could not be judged has not passed, and is no mistake of the learner's; the check comes to its end."""
    rabbit, book = table.shell.user_ns["rabbit"], table.shell.user_ns["book"]
    await table.trial("05.ack", table.references["05.ack"])
    rows = len(await book.rows())
    checking = asyncio.create_task(check("05.ack", names=table.shell.user_ns))
    await book.wait(rows + 1)  # it is in the middle of it
    async with rabbit.down():
        result = await asyncio.wait_for(checking, 60)
    assert [one.passed for one in result.conditions][-1] is None, result
    assert result.conditions[-1].text == "the check came to its end"
