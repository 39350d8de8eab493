"""Check 09a.waits: the waits between attempts, judged by what holds of many draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from classroom.checks.asking import Answer, ask
from classroom.checks.needs import need_function
from classroom.checks.result import Result

DRAWS = 200  # of each question; at 0.9 ** DRAWS (7e-10) even the rarest of what is awaited shows itself
PATIENT = 1e9  # seconds: more than any waits come to
FAR = 3000  # attempts: 2.0 ** 3000 is more than a float can hold
CLOSE = 1e-9  # seconds, for sums of floats
MULTIPLIED = "the ceiling of wait n is min(initial * 2 ** (n - 1), most): draw each wait from 0 to it."
OVERFLOW = (
    "the ceiling was doubled until no float could hold it. Cut it to `most` at each step:"
    " ceiling = min(2 * ceiling, most)."
)
SAME = "every call gave the same waits: is there a fixed seed, or no draw at all? Then all callers come back together."
IN_STEP = "all waits of a call are the same part of their ceilings: draw anew for each."
HALF = "full jitter draws from 0 up to the whole ceiling: random.uniform(0, ceiling)."
LUMPS = "many waits are exactly `most`: cut the ceiling first, and draw then. A cut wait has lost its jitter."
LATE = (
    "an attempt that begins when its caller has gone is work for nobody. Add up the waits: the first that would end at"
    " `patience` or later is left out, and so are all behind it."
)
EARLY = "it gave up while there was time: count the waits that were drawn, not their ceilings, against `patience`."


async def judge(result: Result, draw: Random, waits: Any) -> None:
    """All conditions of the task."""
    need_function(result, "waits", waits, "def waits(...):")
    initial = round(draw.uniform(0.05, 0.5), 3)
    most = round(initial * draw.uniform(5, 7), 3)  # between the ceilings of the third wait and the fourth
    attempts = draw.randint(6, 9)
    found = await _draws(result, waits, (attempts, initial, most, PATIENT))
    if not (found and _fit(result, found, attempts, initial, most) and _spread(result, found, initial, most)):
        return
    await _keep_to_patience(result, waits, initial)
    await _ends_of_the_scale(result, waits, initial, most)


def ceilings(number: int, initial: float, most: float) -> list[float]:
    """The longest that each of so many waits may be."""
    found, ceiling = [], min(initial, most)
    for _ in range(number):
        found.append(ceiling)
        ceiling = min(2 * ceiling, most)
    return found


def _numbers(answer: Answer) -> bool:
    """Whether it is a list of numbers that are no less than 0, but for what rounding takes off."""
    value = answer.value
    return type(value) is list and all(type(one) in (int, float) and one >= -CLOSE for one in value)


def _called(arguments: Sequence[float]) -> str:
    return f"waits({', '.join(f'{one:g}' for one in arguments)})"


async def _draws(result: Result, waits: Any, arguments: tuple[float, ...]) -> list[list[float]]:
    """The answers to one question, asked often; none, and a condition that failed, where one is no list of numbers."""
    found = []
    for _ in range(DRAWS):
        answer = await ask(waits, *arguments)
        if not _numbers(answer):
            hint = "write this part first." if answer.kind == "NotImplementedError" else "return a list of seconds."
            expected = "a list of numbers, none below 0"
            result.judge(f"{_called(arguments)} answers", False, expected=expected, seen=repr(answer)[:300], hint=hint)
            return []
        found.append(answer.value)
    return found


def _fit(result: Result, found: list[list[float]], attempts: int, initial: float, most: float) -> bool:
    """As many waits as there are between attempts, none above its ceiling."""
    lengths = sorted({len(one) for one in found})
    text, seen = f"between {attempts} attempts there are {attempts - 1} waits", f"{', '.join(map(str, lengths))} waits"
    hint = "the first attempt waits for nothing, and behind the last one nothing is awaited."
    if not result.judge(text, lengths == [attempts - 1], expected=f"{attempts - 1} waits", seen=seen, hint=hint):
        return False
    tops = ceilings(attempts - 1, initial, most)
    over = next(((n, one[n], top) for one in found for n, top in enumerate(tops) if one[n] > top + CLOSE), None)
    seen = f"wait {over[0] + 1} was {over[1]:.4g} s, and its ceiling is {over[2]:.4g} s" if over else ""
    return result.judge("no wait is longer than its ceiling", over is None, seen=seen, hint=MULTIPLIED)


def _spread(result: Result, found: list[list[float]], initial: float, most: float) -> bool:
    """Drawn anew each time, from 0 up to the whole ceiling, each wait for itself."""
    different = len({tuple(one) for one in found})
    text, seen = "two callers do not wait alike", f"{different} different answers to {DRAWS} calls"
    if not result.judge(text, different > DRAWS // 2, expected=f"{DRAWS} different answers", seen=seen, hint=SAME):
        return False
    tops = ceilings(len(found[0]), initial, most)
    parts = [[wait / top for wait, top in zip(one, tops, strict=True)] for one in found]
    alike = sum(max(one) - min(one) < CLOSE for one in parts)
    text, seen = "each wait has a draw of its own", f"in {alike} of {DRAWS} calls they are the same part of the ceiling"
    if not result.judge(text, alike < DRAWS // 2, seen=seen, hint=IN_STEP):
        return False
    return all(_fills(result, number, [one[number] for one in parts]) for number in range(len(tops)))


def _fills(result: Result, number: int, parts: list[float]) -> bool:
    """One wait, as parts of its ceiling, fills the room from 0 to 1 evenly; only a failure is told."""
    lumps = sum(part > 1 - CLOSE for part in parts)
    low = sum(part < 0.5 for part in parts)
    even = min(parts) < 0.1 and max(parts) > 0.9 and 0.25 < low / len(parts) < 0.75
    if lumps <= 1 and even:
        return True
    text = f"wait {number + 1} lies anywhere between 0 and its ceiling"
    seen = f"from {min(parts):.0%} to {max(parts):.0%} of it, {low} of {len(parts)} in its lower half"
    seen += f", {lumps} exactly at it" if lumps > 1 else ""
    expected = f"from near 0 % to near 100 %, about {len(parts) // 2} in the lower half"
    return result.judge(text, False, expected=expected, seen=seen, hint=LUMPS if lumps > 1 else HALF)


async def _keep_to_patience(result: Result, waits: Any, initial: float) -> None:
    """With four times the first ceiling left, some calls have room for three waits, and none goes beyond."""
    patience = 4 * initial
    found = await _draws(result, waits, (8, initial, 100 * initial, patience))
    if not found:
        return
    late = next((one for one in found if sum(one) >= patience - CLOSE), None)
    seen = f"waits of {', '.join(f'{wait:.3g}' for wait in late)} s: {sum(late):.4g} s in all" if late else ""
    text = "no attempt begins after the caller has given up"
    if not result.judge(text, late is None, expected=f"less than {patience:g} s in all", seen=seen, hint=LATE):
        return
    longest = max(map(len, found))
    seen = f"never more than {longest} wait{'s'[: longest != 1]}, in {DRAWS} calls"
    result.judge("and it goes on while there is time", longest >= 3, expected="now and then 3", seen=seen, hint=EARLY)


async def _ends_of_the_scale(result: Result, waits: Any, initial: float, most: float) -> None:
    """One attempt, no time, and very many attempts."""
    right: Callable[[Any], bool]
    for arguments, expected, right, hint in (
        ((1, initial, most, PATIENT), "no wait: []", lambda value: value == [], "nothing comes behind the last one."),
        ((5, initial, most, 0.0), "no wait: []", lambda value: value == [], LATE),
        ((FAR, initial, most, PATIENT), f"{FAR - 1:,} waits", lambda value: len(value) == FAR - 1, OVERFLOW),
    ):
        answer = await ask(waits, *arguments)
        good = _numbers(answer) and right(answer.value)
        seen = answer.error or (f"{len(answer.value)} waits" if _numbers(answer) else repr(answer)[:300])
        result.judge(f"{_called(arguments)} gives {expected}", good, expected=expected, seen=seen, hint=hint)
