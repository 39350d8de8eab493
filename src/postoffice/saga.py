"""A saga: several steps in several services that end all done, or undone, or asking for a human. Orchestrated.

    order = Saga("order", [Step("charge", charge, refund), Step("ship", ship, recall), Step("mail", mail)], db)
    outcome = await order.run("order-7", {"total": 10})        # or, after a crash: await order.resume()

Each move is written to SQLite before it is made and after it, so that a saga goes on where it was when its process
dies. A step that fails is tried again; when that does not help, the steps done so far are undone, last first.

Guarantee: every saga that is resumed ends as `done`, `compensated` or `needs a human`. A step's `do` and `undo` run at
least once each when their turn has come, with the same key in every try: pass `call.key` on, so that its effect counts
once. A PermanentError of `do` means "no, and nothing was done". After any other error, once the tries are used up,
the outcome is unknown: then this step is undone as well, so an `undo` must do no harm where nothing was done.
A failing `undo` is tried again, and then left for a human, while the others are still undone.
Where it ends: there is no isolation, others see the steps in between. And a `do` whose answer timed out may arrive
after its `undo`: only the effect's owner can refuse that, by remembering the key that was undone.

Sagas are Garcia-Molina and Salem's ("Sagas", SIGMOD 1987).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import messages
from .database import Database
from .errors import PermanentError, UsageError
from .leases import kept
from .retry import Retry
from .saga_log import FINAL, LeaseLost, Outcome, Phase, SagaBusy, SagaLog, SagaState

__all__ = ["Call", "LeaseLost", "Outcome", "Saga", "SagaBusy", "SagaState", "Step"]


@dataclass(frozen=True, slots=True)
class Call:
    """What a step's functions are told.

    Attributes:
        saga: its id. data: as given to `run`. results: of the steps that are done, by name.
        key: the idempotency key of this call, the same in every try. undoes: in an `undo`, the key of its `do`.
    """

    saga: str
    data: Any
    results: dict[str, Any]
    key: str
    undoes: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A step, and how to undo it; None where there is nothing to undo. What `do` returns is kept as JSON."""

    name: str
    do: Callable[[Call], Awaitable[Any]]
    undo: Callable[[Call], Awaitable[Any]] | None = None


class Saga:
    """A kind of saga: its steps, and where the runs of it are kept (tables sagas and saga_steps).

    Args:
        name: of the kind, unique in the file. retry: how often each `do` and `undo` is tried; a crash counts as a try.
        lease: seconds after which a process that has fallen silent counts as dead.

    Raises:
        UsageError: no steps, or two of one name.
    """

    def __init__(
        self, name: str, steps: Sequence[Step], db: Database, *, retry: Retry | None = None, lease: float = 30.0
    ) -> None:
        self.name, self.steps = name, {step.name: step for step in steps}
        if not steps or len(self.steps) != len(steps):
            raise UsageError(
                f"the saga {name!r} needs steps, each with its own name; got {[one.name for one in steps]}."
            )
        self._retry = retry or Retry(attempts=3, initial=0.1, max=2.0)
        self._log = SagaLog(db, name, lease)
        self._lease = lease

    def __repr__(self) -> str:
        return f"<Saga {self.name!r}: {' > '.join(self.steps)}>"

    async def run(self, id: str, data: Any = None) -> Outcome:
        """Begin a saga, or go on with it, until it ends. One that has ended is not run again.

        Raises:
            UsageError: another saga, with other data, has this id. SagaBusy: another process is at work on it.
            LeaseLost: another process has taken it over meanwhile.
        """
        await self._log.begin(id, data)
        return await self._go_on(id)

    async def resume(self) -> list[Outcome]:
        """Go on with every saga that has not ended and that nobody works on; returns how they ended."""
        ended = []
        for id in await self._log.ids(idle=True):
            with contextlib.suppress(SagaBusy, LeaseLost):  # another process was quicker
                ended.append(await self._go_on(id))
        return ended

    async def retry(self, id: str) -> Outcome:
        """A human has looked at a saga that needs one: try once more to undo what could not be undone."""
        await self._log.again(id)
        return await self._go_on(id)

    async def find(self, *states: SagaState) -> list[Outcome]:
        """The sagas in one of these states, oldest first; all, where none is given."""
        found = [await self._log.read(id) for id in await self._log.ids()]
        return [one for one in found if not states or one.state in states]

    async def _go_on(self, id: str) -> Outcome:
        owner = secrets.token_hex(8)
        outcome = await self._log.claim(id, owner)
        if outcome.state in FINAL:
            return outcome
        try:
            async with kept(lambda: self._log.renew(id, owner), self._lease):
                if outcome.state == "compensating" or not await self._forward(outcome, owner):
                    await self._backward(await self._log.read(id), owner)
        except BaseException:
            with contextlib.suppress(Exception):  # the database is away: the lease will run out
                await self._log.release(id, owner)
            raise
        return await self._log.read(id)

    async def _forward(self, so_far: Outcome, owner: str) -> bool:
        """Do what is not done yet. False when a step could not be done."""
        results = dict(so_far.results)
        for step in self.steps.values():
            if so_far.steps.get(step.name) != "done":
                call = Call(so_far.id, so_far.data, results, self._key(so_far.id, step.name, "do"))
                if not await self._tried(step.name, "doing", step.do, call, owner):
                    return False
                results = (await self._log.read(so_far.id)).results
        await self._log.end(so_far.id, owner, "done")
        return True

    async def _backward(self, so_far: Outcome, owner: str) -> None:
        """Undo what was, or may have been, done, last first; one that is stuck does not stop the others."""
        stuck = "stuck" in so_far.steps.values()
        for step in reversed(self.steps.values()):
            if step.undo is not None and so_far.steps.get(step.name) in ("done", "unknown", "undoing"):
                keys = [self._key(so_far.id, step.name, verb) for verb in ("undo", "do")]
                call = Call(so_far.id, so_far.data, so_far.results, *keys)
                stuck = not await self._tried(step.name, "undoing", step.undo, call, owner) or stuck
        await self._log.end(so_far.id, owner, "needs a human" if stuck else "compensated")

    async def _tried(
        self, step: str, phase: Phase, function: Callable[[Call], Awaitable[Any]], call: Call, owner: str
    ) -> bool:
        """Try a `do` or an `undo` until it goes well, its tries are used up, or it says that trying cannot help."""
        doing = phase == "doing"
        while True:
            number = await self._log.begin_try(call.saga, owner, step, phase)
            if number > self._retry.attempts:  # the last try killed its process
                failed: BaseException = RuntimeError(f"each of {self._retry.attempts} tries ended with its process")
                break
            try:
                result = messages.encode(await function(call))
            except Exception as error:
                failed = error
                if not self._retry.covers(error) or (pause := self._retry.delay(number)) is None:
                    break
                await asyncio.sleep(pause)
            else:
                kept_result = result if doing else None
                await self._log.note(call.saga, owner, step, "done" if doing else "undone", result=kept_result)
                return True
        refused = isinstance(failed, PermanentError)
        end: Phase = ("refused" if refused else "unknown") if doing else "stuck"
        await self._log.note(call.saga, owner, step, end, error=f"{type(failed).__name__}: {failed}")
        return False

    def _key(self, id: str, step: str, verb: str) -> str:
        return f"{self.name}:{id}:{step}:{verb}"
