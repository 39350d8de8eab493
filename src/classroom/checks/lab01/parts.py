"""Check 01.parts: the availability of a whole, from that of its parts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from random import Random
from typing import Any

from classroom.checks.asking import ask
from classroom.checks.needs import need_function
from classroom.checks.result import Result

NEAR = 1e-9
CHAIN = "a chain needs all of its parts: two of three hours, and again two of three. Multiply."
REPLICAS = "of replicas one is enough. Ask for the opposite: when are all of them away? One minus that product."
MIXED = "a part may itself be made of parts: call your function for it."
EXACT = "do not round: 0.9999 and 0.9994 are 4 hours a year apart."

Plan = Any  # a number, or {"all": [Plan, ...]}, or {"any": [Plan, ...]}


async def judge(result: Result, draw: Random, availability: Any) -> None:
    """All conditions of the task: plans drawn by lot, each compared with a count over all its states."""
    need_function(result, "availability", availability, "def availability(plan):")
    for text, plans, hint in tasks(draw):
        answers = []
        for plan in plans:
            answers.append((plan, await ask(availability, plan), truth(plan)))
            if answers[-1][1].kind:  # it raised, or does not end: once is enough
                break
        wrong = [one for one in answers if not _near(one[1].value, one[2])]
        if not wrong:
            result.judge(text, True)
            continue
        plan, told, exact = wrong[0]
        rounded = all(_rounded(one.value, wanted) for _, one, wanted in answers)
        advice = "write this part first." if told.kind == "NotImplementedError" else EXACT if rounded else hint
        result.judge(text, False, expected=f"{exact:.10g} for {plan}", seen=repr(told), hint=advice)
        return


def _near(value: Any, exact: float) -> bool:
    return type(value) in (int, float) and abs(value - exact) < NEAR


def _rounded(value: Any, exact: float) -> bool:
    return _near(value, exact) or any(value == round(exact, digits) for digits in range(1, 7))


def tasks(draw: Random) -> Iterator[tuple[str, list[Plan], str]]:
    """What is asked, in words; the plans; the hint."""
    yield "a single part", [_part(draw) for _ in range(3)], "a number is its own availability."
    chains = [{"all": [_part(draw) for _ in range(length)]} for length in (1, 2, 3, 5)]
    yield "a chain, where all are needed", chains, CHAIN
    replicas = [{"any": [_part(draw) for _ in range(length)]} for length in (1, 2, 3)]
    yield "replicas, where one is enough", replicas, REPLICAS
    yield "parts that are made of parts", [_mixed(draw, kind) for kind in ("all", "any", "all")], MIXED


def _part(draw: Random) -> float:
    return draw.choice([0.5, 0.8, 0.9, 0.99, 0.999]) if draw.random() < 0.5 else round(draw.uniform(0.5, 0.9), 4)


def _mixed(draw: Random, kind: str) -> Plan:
    other = "any" if kind == "all" else "all"
    inner = {kind: [_part(draw), _part(draw)]}
    return {kind: [_part(draw), {other: [_part(draw), inner, _part(draw)]}, _part(draw)]}


def truth(plan: Plan) -> float:
    """The exact value: all states of all parts are gone through, and those in which the whole works are added up."""
    parts = [*_leaves(plan)]
    total = 0.0
    for states in itertools.product([True, False], repeat=len(parts)):
        weight = 1.0
        for up, part in zip(states, parts, strict=True):
            weight *= part if up else 1 - part
        total += weight if _works(plan, iter(states)) else 0.0
    return total


def _leaves(plan: Plan) -> Iterator[float]:
    if isinstance(plan, dict):
        (inner,) = plan.values()
        for one in inner:
            yield from _leaves(one)
    else:
        yield plan


def _works(plan: Plan, states: Iterator[bool]) -> bool:
    if not isinstance(plan, dict):
        return next(states)
    ((kind, inner),) = plan.items()
    each = [_works(one, states) for one in inner]
    return all(each) if kind == "all" else any(each)
