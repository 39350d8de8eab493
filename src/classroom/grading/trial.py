"""One task of one submission, judged once with one seed: by the same judge that a student's own check calls.

The judge gets the same kinds of objects as in a notebook: a broker, the ledger, services, functions. Only the
processes behind the services and functions run elsewhere, in sandboxes. It decides by what came over the wire and by
the ledger; what it is told by the code it judges (replies, answers, the line that says "ready") is of checked types.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from classroom.brokers.errors import NotOurs
from classroom.checks.result import Condition, Result
from classroom.grading.accounts import Accounts
from classroom.grading.answers import Answer, Lab, Task
from classroom.grading.elsewhere import Driver, DriverError, NotStarted, Remote
from classroom.grading.runner import Runner
from classroom.grading.sandbox import LIMITS, Limits
from classroom.grading.world import World, world
from classroom.service_handle import ServiceHandle
from classroom.service_plan import Plan, ServiceError, queue_options
from classroom.services import parsed

__all__ = ["Trial", "new_secret", "seeds_of", "trial"]

LIMIT = 180.0  # seconds of one trial; the longest reference takes about thirty
MOST_REPLICAS = 8
TWINS = ("amqp", "redis")  # behind these, judges start a twin, with queues of its own, and leave the service alone


@dataclass
class Trial:
    """What came of it. `passed` is None where there is no verdict; `note` then says why."""

    conditions: list[Condition] = field(default_factory=list)
    seconds: float = 0.0
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """False when a condition failed; None when one was not judged, or there is none."""
        verdicts = [one.passed for one in self.conditions]
        return False if False in verdicts else None if None in verdicts or not verdicts else True


async def trial(
    lab: Lab,
    task: Task,
    answer: Answer,
    seed: int,
    accounts: Accounts,
    limits: Limits = LIMITS,
    limit: float = LIMIT,
    sandboxed: bool = True,
) -> Trial:
    """Judge a task. Never raises for what a submission does; a trial without a verdict says why in its note."""
    began = time.monotonic()
    try:
        found = await _tried(lab, task, answer, seed, accounts, limits, limit, sandboxed, own_broker=False)
    except NotOurs:  # the judge breaks the broker: it gets one that may be broken
        found = await _tried(lab, task, answer, seed, accounts, limits, limit, sandboxed, own_broker=True)
    found.seconds = time.monotonic() - began
    return found


async def _tried(
    lab: Lab,
    task: Task,
    answer: Answer,
    seed: int,
    accounts: Accounts,
    limits: Limits,
    limit: float,
    sandboxed: bool,
    own_broker: bool,
) -> Trial:
    assert task.check
    result, lost, notes = Result(task.name, task.title), list[str](), list[str]()
    try:
        async with world(lab.given, accounts, own_broker) as there:
            stage = _Stage(lab, task, answer, there, Runner(there.wires(), there.environment, limits, sandboxed))
            try:
                async with asyncio.timeout(limit):
                    await stage.judge(result, seed)
            finally:
                lost = await asyncio.to_thread(there.lost)
                notes = [*stage.end(), *lost]
    except NotOurs:
        raise
    except TimeoutError:
        result.judge("the check came to its end", None, seen=f"it was stopped after {limit:g} s")
    except Exception as error:  # a judge must not be led astray; where one was, a person looks at it
        result.judge("the check came to its end", None, seen=f"{type(error).__name__}: {error}"[:500])
    if lost:  # whatever failed then is no fault of the submission's
        result.conditions = [replace(one, passed=one.passed or None) for one in result.conditions]
        result.judge("all that the lab gives was there to the end", None, seen="; ".join(lost))
    return Trial(result.conditions, note="; ".join(notes))


class _Stage:
    """The student's side of one trial."""

    def __init__(self, lab: Lab, task: Task, answer: Answer, there: World, runner: Runner) -> None:
        self.lab, self.task, self.answer, self.there, self.runner = lab, task, answer, there, runner
        self.driver: Driver | None = None
        self.services: list[ServiceHandle] = []

    async def judge(self, result: Result, seed: int) -> None:
        """Find what the check needs, then let it judge."""
        check = self.task.check
        assert check
        names: dict[str, Any] = {}
        for name, cell in check.needs.items():
            try:
                names[name] = await self._need(name)
            except (ServiceError, DriverError, TimeoutError, LookupError) as error:
                seen = f"{type(error).__name__}: {error}" if str(error) else "the cell did not come to its end"
                verdict = None if isinstance(error, NotStarted) else False
                result.judge(f"{name} is there to be checked", verdict, seen=seen[:1000], hint=f"look at {cell}.")
        if len(names) == len(check.needs):
            await check.apply(result, seed, names.values())

    async def _need(self, name: str) -> Any:
        """One variable. Raises ServiceError, DriverError, TimeoutError; LookupError when there is none."""
        if name in self.there.names and name != self.task.service:
            return self.there.names[name]
        assert self.answer.cell
        if name == self.task.service:
            return self._service(name, self.answer.cell.source)
        if self.driver is None:
            self.driver = Driver(self.runner, [*self.lab.given, *self.answer.others], self.answer.cell.source)
        found = await self.driver.look(name)
        if found.what == "function":
            return Remote(self.driver, name)
        if found.what == "value":
            return found.value
        if found.what == "missing":
            raise LookupError(f"the cell made no variable {name!r}. {found.error}".strip())
        return _Other(found.text[:100])

    def _service(self, name: str, source: str) -> ServiceHandle:
        plan = plan_of(name, source, self.there, self.runner)
        handle = ServiceHandle(name, plan, lambda _: False)
        self.services.append(handle)
        if not (plan.broker_url() or "").startswith(TWINS) or plan.http:
            handle.deploy(plan)
        return handle

    def end(self) -> list[str]:
        """Leave no process; which limits were broken, in a sentence each."""
        for service in self.services:
            with suppress(ServiceError):
                service.kill()
        self.runner.end()
        return self.runner.troubles()


class _Other:
    """Stands for a student's object that is neither a function nor plain data."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return f"<{self._text}>"


def plan_of(name: str, source: str, there: World, runner: Runner) -> Plan:
    """What a service cell asks for, as far as a grader grants it. Its code is not looked at.

    Raises ServiceError for what cannot be.
    """
    source = source.lstrip()
    first, _, body = source.partition("\n")
    words = first.split(None, 1)
    if not words or words[0] != "%%service" or len(words) < 2:
        raise ServiceError(f"the cell does not begin with %%service {name}")
    options = parsed(words[1])
    if options.name != name:
        raise ServiceError(f"the cell makes a service {options.name!r}, and {name!r} is asked for")
    if options.replicas > MOST_REPLICAS:
        raise ServiceError(f"--replicas {options.replicas}: a grader starts {MOST_REPLICAS} at most")
    text = f"# %%service {words[1]}\n{body}"
    queue = queue_options(options.delivery, options.prefetch, options.quorum, options.exchange)
    where = _where(options.on, there)
    proto = _proto(options.proto) if options.proto else None
    return Plan(
        text,
        options.on,
        lambda: where,
        options.delivery,
        options.group,
        options.replicas,
        options.http,
        proto,
        queue,
        runner if runner.sandboxed else None,
    )


def _where(on: str, there: World) -> str | None:
    """The address of the broker that a cell names; None for a port of its own. No other address can be reached."""
    if on in ("tcp", "grpc"):
        return None
    if on in there.brokers:
        return there.brokers[on].url
    raise ServiceError(f"--on {on}: this lab gives {', '.join([*there.brokers, 'tcp'])}")


def _proto(name: str) -> str:
    """A .proto file that a given cell has written; never another file of this machine."""
    path = Path(name).resolve()
    if path.parent != Path.cwd() or path.suffix != ".proto" or not path.is_file():
        raise ServiceError(f"--proto {name}: this lab gives no such file")
    return str(path)


def seeds_of(secret: int, task: str, count: int) -> tuple[int, ...]:
    """The seeds of a task, drawn from the secret one: the same for every student, and for every run with it."""
    chance = Random(f"{secret} {task}")
    return tuple(chance.randrange(1, 1 << 31) for _ in range(count))


def new_secret() -> int:
    """A secret seed that nobody can guess."""
    return secrets.randbelow(1 << 53)
