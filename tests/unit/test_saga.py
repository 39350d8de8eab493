"""Sagas: every one ends done, compensated or asking for a human, and each step is told the same key in every try."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postoffice import PermanentError, RequestTimeout, Retry, UsageError
from postoffice.database import Database
from postoffice.saga import Call, LeaseLost, Outcome, Saga, SagaBusy, Step

QUICK = Retry(attempts=3, initial=0.001, max=0.001, jitter=0)


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(tmp_path / "sagas.db") as db:
        yield db


class World:
    """Services that keep what each key did; a step fails as its plan says."""

    def __init__(self, **plans: list[BaseException]) -> None:
        self.plans = plans
        self.calls: list[str] = []
        self.done: dict[str, Call] = {}

    def verb(self, name: str) -> Callable[[Call], Awaitable[Any]]:
        async def call(call: Call) -> Any:
            self.calls.append(name)
            if self.plans.get(name):
                raise self.plans[name].pop(0)
            if call.undoes:
                self.done.pop(call.undoes, None)
            else:
                self.done[call.key] = call
            return {"by": name}

        return call

    def saga(self, db: Database, **options: Any) -> Saga:
        steps = [Step(name, self.verb(name), self.verb(f"un{name}")) for name in ("charge", "ship")]
        return Saga("order", [*steps, Step("mail", self.verb("mail"))], db, **{"retry": QUICK, **options})


async def test_all_goes_well(db: Database) -> None:
    """Steps in order; each sees the data and the results before it; running it again does nothing."""
    world = World()
    saga = world.saga(db)
    outcome = await saga.run("7", {"total": 10})
    assert outcome == Outcome(
        "7", "done", {"total": 10}, {name: {"by": name} for name in ("charge", "ship", "mail")},
        {"charge": "done", "ship": "done", "mail": "done"}, None,
    )  # fmt: skip
    assert world.done["order:7:ship:do"].results == {"charge": {"by": "charge"}}
    assert await saga.run("7", {"total": 10}) == outcome
    assert world.calls == ["charge", "ship", "mail"]
    assert repr(saga) == "<Saga 'order': charge > ship > mail>"


async def test_a_refusal_undoes_what_was_done(db: Database) -> None:
    """At once, last first; the refused step did nothing, so it is not undone."""
    world = World(mail=[PermanentError("no such address")])
    outcome = await world.saga(db).run("7")
    assert (outcome.state, outcome.error) == ("compensated", "mail: PermanentError: no such address")
    assert outcome.steps == {"charge": "undone", "ship": "undone", "mail": "refused"}
    assert world.calls == ["charge", "ship", "mail", "unship", "uncharge"]
    assert world.done == {}


async def test_a_transient_error_is_tried_again_with_the_same_key(db: Database) -> None:
    """And then goes on."""
    world = World(ship=[RequestTimeout("late"), RequestTimeout("late")])
    assert (await world.saga(db).run("7")).state == "done"
    assert world.calls == ["charge", "ship", "ship", "ship", "mail"]
    assert list(world.done) == [f"order:7:{name}:do" for name in ("charge", "ship", "mail")]


async def test_an_unknown_outcome_is_undone_too(db: Database) -> None:
    """Its tries are used up; it may have taken place."""
    world = World(ship=[RequestTimeout("late")] * 3)
    outcome = await world.saga(db).run("7")
    assert outcome.state == "compensated"
    assert world.calls == ["charge", "ship", "ship", "ship", "unship", "uncharge"]


async def test_a_compensation_that_fails_needs_a_human(db: Database) -> None:
    """The others are still undone; later the human has it tried once more."""
    world = World(mail=[PermanentError("no")], unship=[ConnectionError("gone")] * 3)
    saga = world.saga(db)
    outcome = await saga.run("7")
    assert outcome.state == "needs a human"
    assert outcome.steps == {"charge": "undone", "ship": "stuck", "mail": "refused"}
    assert world.calls.count("unship") == 3
    assert [one.id for one in await saga.find("needs a human")] == ["7"]
    assert await saga.resume() == [], "an end is an end"
    assert (await saga.retry("7")).state == "compensated"
    assert world.done == {}
    with pytest.raises(UsageError, match="is 'compensated'; only one that needs a human"):
        await saga.retry("7")


async def test_a_cancelled_saga_goes_on_where_it_was(db: Database) -> None:
    """As when its service stops; nobody has to wait for the lease."""
    began = asyncio.Event()
    world = World()

    async def slow(call: Call) -> None:
        began.set()
        await asyncio.sleep(60)

    steps = [Step("charge", world.verb("charge")), Step("ship", slow)]
    task = asyncio.create_task(Saga("order", steps, db).run("7"))
    await began.wait()
    task.cancel()
    await asyncio.wait([task])
    steps[1] = Step("ship", world.verb("ship"))
    assert [one.state for one in await Saga("order", steps, db).resume()] == ["done"]
    assert world.calls == ["charge", "ship"]


async def test_one_process_at_a_time(db: Database) -> None:
    """Whoever comes second is told; one that was silent too long cannot write any more."""
    began, gate = asyncio.Event(), asyncio.Event()

    async def slow(call: Call) -> None:
        began.set()
        await gate.wait()

    saga = Saga("order", [Step("charge", slow)], db)
    first = asyncio.create_task(saga.run("7"))
    await began.wait()
    with pytest.raises(SagaBusy, match="another process runs the saga '7'"):
        await saga.run("7")
    assert await saga.resume() == []
    await db.run(lambda tx: tx.execute("UPDATE sagas SET until = 0"))  # as if it had been paused
    second = asyncio.create_task(saga.run("7"))
    await asyncio.sleep(0.01)
    gate.set()
    with pytest.raises(LeaseLost, match="another process has taken the saga '7' over"):
        await first
    assert (await second).state == "done"


async def test_a_step_that_kills_its_process_ends_too(db: Database) -> None:
    """Each crash counts as a try; then the saga is compensated without it."""

    class Killed(BaseException):
        pass

    world = World(ship=[Killed()] * 9)
    saga = world.saga(db)
    for _ in range(3):
        with pytest.raises(Killed):
            await saga.run("7")
    outcome = await saga.run("7")
    assert outcome.state == "compensated"
    assert world.calls == ["charge", "ship", "ship", "ship", "unship", "uncharge"]
    assert outcome.error == "ship: RuntimeError: each of 3 tries ended with its process"


async def test_what_is_wrong_is_said(db: Database) -> None:
    """No steps, two of a name, other data under an id, an id that is none."""
    world = World()
    with pytest.raises(UsageError, match="needs steps, each with its own name"):
        Saga("order", [], db)
    with pytest.raises(UsageError, match="needs steps, each with its own name"):
        Saga("order", [Step("a", world.verb("a"))] * 2, db)
    saga = world.saga(db)
    await saga.run("7", {"total": 10})
    with pytest.raises(UsageError, match="with the id '7' is there, with other data"):
        await saga.run("7", {"total": 11})
    with pytest.raises(UsageError, match="there is no saga 'order' with the id '8'"):
        await saga.retry("8")


FAILURES = {"": [], "no": [PermanentError("no")], "once": [RequestTimeout("x")], "always": [RequestTimeout("x")] * 3}
VERBS = ("charge", "ship", "mail", "uncharge", "unship")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fixed_dictionaries({verb: st.sampled_from(sorted(FAILURES)) for verb in VERBS}))
def test_whatever_fails(tmp_path_factory: pytest.TempPathFactory, plan: dict[str, str]) -> None:
    """Against what must be: all done, or all undone, or exactly the failed compensations left for a human."""

    async def run() -> None:
        async with Database(tmp_path_factory.mktemp("saga") / "s.db") as db:
            world = World(**{verb: list(FAILURES[kind]) for verb, kind in plan.items()})
            outcome = await world.saga(db).run("7")
            order = ("charge", "ship", "mail")
            broken = next((name for name in order if plan[name] in ("no", "always")), None)
            if broken is None:
                assert outcome.state == "done"
                assert len(world.done) == 3
                return
            to_undo = [name for name in order[: order.index(broken) + (plan[broken] == "always")] if name != "mail"]
            stuck = {name for name in to_undo if plan[f"un{name}"] in ("no", "always")}
            assert outcome.state == ("needs a human" if stuck else "compensated")
            assert {key.split(":")[2] for key in world.done} <= stuck
            assert Counter(world.calls)["mail"] <= 3

    asyncio.run(run())
