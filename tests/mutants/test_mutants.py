"""`make mutants` in short: every reference passes; every start and, of each task, two mistakes are refused by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from classroom.brokers import Broker, BrokerError
from classroom.checks import check, every_check

from .bench import Bench, bench
from .mutant import Lab, Mutant, labs

LABS = {lab.name: lab for lab in labs()}
TASKS = [task for lab in LABS.values() for task in lab.starts]
STARTS = [(task, reason) for lab in LABS.values() for task, reason in lab.starts.items()]
MUTANTS = [one for lab in LABS.values() for one in lab.mutants]
FEWEST = 4  # wrong solutions of each task
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
    pytest.mark.apart(r"\d\d[a-z]?"),  # each lab by itself
]


@asynccontextmanager
async def tabled(lab: Lab) -> AsyncIterator[Bench]:
    """A lab's bench, where this machine has its broker."""
    try:
        async with bench(lab.name, lab.given) as one:
            yield one
    except BrokerError as error:
        pytest.skip(f"no broker for lab {lab.name} here: {error}")


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="table")
async def a_bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """The bench of the lab that a test names; the tests of a lab stand together, so each has one bench."""
    async with tabled(LABS[request.param]) as one:
        yield one


def of_tasks(values: list, names: str):
    """A test for each value, on the bench of its lab; a value begins with a task's name, or is a mutant."""
    rows = []
    for value in values:
        task = getattr(value, "task", None) or (value if isinstance(value, str) else value[0])
        label = f"{task} {value.name}" if isinstance(value, Mutant) else task
        rows.append(pytest.param(task.partition(".")[0], *(value if isinstance(value, tuple) else (value,)), id=label))
    return pytest.mark.parametrize(f"table,{names}", rows, indirect=["table"], scope="module")


@of_tasks(TASKS, "task")
async def test_the_reference_passes(table: Bench, task: str):
    """All conditions hold."""
    trial = await table.trial(task, table.references[task])
    assert trial.result.passed, trial.result


@of_tasks([one for lab in LABS.values() for one in lab.others], "other")
async def test_another_right_solution_passes(table: Bench, other: Mutant):
    """Nobody is refused for not having written the reference."""
    trial = await table.trial(other.task, other.of(table.references[other.task]))
    assert trial.result.passed, trial.result


@of_tasks(STARTS, "task,reason")
async def test_the_unchanged_start_fails_for_a_clear_reason(table: Bench, task: str, reason: str):
    """The first condition that fails says it."""
    trial = await table.trial(task, table.start_of(task))
    assert not trial.result.passed
    assert reason in trial.advice, trial.result


@of_tasks([one for one in MUTANTS if one.short], "mutant")
async def test_a_wrong_solution_is_answered_by_name(table: Bench, mutant: Mutant):
    """Refused, and the first condition that fails has the hint for this mistake."""
    trial = await table.trial(mutant.task, mutant.of(table.references[mutant.task]))
    assert not trial.result.passed, trial.result
    assert mutant.hint in trial.advice, trial.result


@pytest.mark.parametrize("task", TASKS)
async def test_every_task_has_its_wrong_solutions(task: str):
    """Four at least, each another text; one at least is tried here."""
    mine = [one for one in MUTANTS if one.task == task]
    assert len({str(one.changes) for one in mine}) >= FEWEST
    assert any(one.short for one in mine)


async def test_every_check_of_a_lab_is_checked():
    """No task is left out."""
    assert {name for name in every_check() if name.partition(".")[0] in LABS} == {*TASKS}


on_lab_05 = pytest.mark.parametrize("table", ["05"], indirect=True, scope="module")


@on_lab_05
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


@pytest.mark.parametrize(("table", "task"), [("05", "05.ack"), ("06", "06.once")], indirect=["table"], scope="module")
async def test_a_broker_that_dies_meanwhile_leaves_no_verdict(table: Bench, task: str):
    """What could not be judged has not passed, and is no mistake of the learner's; the check comes to its end."""
    book = table.shell.user_ns["book"]
    broker = next(one for one in table.shell.user_ns.values() if isinstance(one, Broker))
    await table.run(table.references[task])
    rows = len(await book.rows())
    checking = asyncio.create_task(check(task, names=table.shell.user_ns))
    await book.wait(rows + 1)  # it is in the middle of it
    async with broker.down():
        result = await asyncio.wait_for(checking, 60)
    assert [one.passed for one in result.conditions][-1] is None, result
    assert result.conditions[-1].text == "the check came to its end"
