"""The checkers against brute force, against seeded violations, and against runs that are known in part only."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from classroom.checks.invariants import (
    CHECKERS,
    Handling,
    Run,
    dead_letter_copies,
    dead_letter_ids,
    deliveries,
    duplicates,
    ends,
    handlings,
    lost,
    one_effect_per_id,
    one_effect_per_key,
    order,
    same_reply,
    tally,
    unexpected,
    verify,
)
from classroom.events import Event, Life
from classroom.ledger import Row

N = 20
POISON = (5, 11)


def row(number: int, id: int | str, *, key: str | None = None, outcome: str = "effect", receipt: int | None = None):
    """A row of the ledger: a charge, a hundredth of a second after the one before."""
    receipt = number if outcome == "effect" else receipt
    return Row(
        number, number / 100, number / 100, "charge", id, 10, key, {}, outcome, receipt, True, "payments", 0, 4711
    )


def good() -> Run:
    """Twenty messages, two of them poison with two deliveries each; one crash, one message done twice for it."""
    handled = [Handling(one, 1 + one / 100, "payments 0") for one in range(N) if one not in POISON]
    handled += [Handling(one, 1 + one / 100 + n / 1000, "payments 0", n, "failed") for one in POISON for n in (1, 2)]
    handled.append(Handling(7, 2.0, "payments 1", 2))
    rows = [row(one + 1, one, key=f"k{one}") for one in range(N)] + [
        row(N + 1, 7, key="k7", outcome="repeat", receipt=8)
    ]
    return Run(
        attempted={one: one / 100 for one in range(N)},
        acknowledged={one: one / 100 + 0.005 for one in range(N) if one != 19},
        unknown=[19],
        handled=handled,
        dead_lettered=list(POISON),
        ledger=rows,
        replies=[("k7", {"receipt": 8}), ("k7", {"receipt": 8}), ("k8", {"receipt": 9})],
        crashes=1,
        in_flight=1,
        limit=2,
        poison=POISON,
        events=[Event(1.5, "payments 0", "killed", "")],
    )


def test_a_good_run_passes_every_checker():
    result = verify(good())
    assert [one.text for one in result.conditions if one.passed is not True] == []
    assert result.passed
    assert "11 of 11 conditions hold" in repr(result)


def more(run: Run, *handled: Handling) -> Run:
    return replace(run, handled=[*(run.handled or ()), *handled])


def without(run: Run, id: int) -> Run:
    return replace(run, handled=[one for one in run.handled or () if one.id != id])


GOOD = good()
VIOLATIONS = {
    "a message is gone": (lost, without(GOOD, 3), 1, 3, "lost"),
    "work begun, never done, is lost": (lost, more(without(GOOD, 3), Handling(3, 1, "p", end="begun")), 1, 3, "begun"),
    "work that failed is lost": (lost, more(without(GOOD, 3), Handling(3, 1, "p", end="failed")), 1, 3, "failed"),
    "a dead letter is gone": (lost, replace(GOOD, dead_lettered=[5]), 1, 11, "failed"),
    "a stranger": (unexpected, more(GOOD, Handling(99, 1, "p")), 1, 99, "nobody sent it"),
    "handled though refused": (
        unexpected,
        replace(GOOD, acknowledged={one: 0.0 for one in range(N) if one not in (3, 19)}, refused=[3]),
        1,
        3,
        "refused",
    ),
    "done twice too often": (duplicates, more(GOOD, Handling(4, 3, "p", 2)), 2, 4, "attempt 2"),
    "done twice without a crash": (duplicates, replace(GOOD, crashes=0), 1, 7, "attempt 2"),
    "one late": (order, more(without(GOOD, 3), Handling(3, 9, "p")), N - 6, 3, "behind 19"),
    "three deliveries of two, and a crash": (
        deliveries,
        more(GOOD, Handling(5, 3, "p", 3, "failed"), Handling(5, 4, "p", 4, "failed")),
        1,
        5,
        "attempt 4",
    ),
    "a poison message is no dead letter": (dead_letter_ids, replace(GOOD, dead_lettered=[5]), 1, 11, "failed"),
    "a healthy dead letter": (dead_letter_ids, replace(GOOD, dead_lettered=[5, 11, 2]), 1, 2, "dead-letter"),
    "three copies, one crash": (dead_letter_copies, replace(GOOD, dead_lettered=[5, 11, 5, 5]), 2, 5, "dead-letter"),
    "two copies, no crash": (dead_letter_copies, replace(GOOD, dead_lettered=[5, 11, 5], crashes=0), 1, 5, "dead"),
    "two effects of a key": (
        one_effect_per_key,
        replace(GOOD, ledger=[*(GOOD.ledger or ()), row(50, 9, key="k9")]),
        1,
        9,
        "row 50",
    ),
    "two effects of an order": (
        one_effect_per_id,
        replace(GOOD, ledger=[*(GOOD.ledger or ()), row(50, 9, key="new")]),
        1,
        9,
        "row 50",
    ),
    "another answer to a caller": (same_reply, replace(GOOD, replies=[("k7", 1), ("k7", 2)]), 1, 7, "repeat"),
    "another answer in the ledger": (
        same_reply,
        replace(GOOD, ledger=[*(GOOD.ledger or ()), row(50, 9, key="k9", outcome="repeat", receipt=3)]),
        1,
        9,
        "row 50",
    ),
    "a sending without an end": (ends, replace(GOOD, unknown=[]), 1, 19, "attempted"),
}  # fmt: skip


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_seeded_violation_is_found(name: str):
    """The checker fails with the right number, and shows the life of the offender."""
    checker, run, count, offender, word = VIOLATIONS[name]
    found = checker(run)
    assert (found.passed, found.count, found.mark) == (False, count, "FAIL")
    assert found.count > found.most
    assert offender in found.offenders
    assert found.life.message == str(offender)
    assert word in repr(found.life)
    assert f"message {offender}:" in repr(found)
    assert found.expected
    assert f"{count:,} " in found.seen


MISSING = {
    "acknowledged": {ends, lost, dead_letter_ids},
    "handled": {lost, unexpected, duplicates, order, deliveries},
    "dead_lettered": {lost, dead_letter_ids, dead_letter_copies},
    "poison": {dead_letter_ids},
    "limit": {deliveries},
    "crashes": {duplicates},  # nothing else was more than a run without crashes may have
    "ledger": {one_effect_per_key, one_effect_per_id},
}


@pytest.mark.parametrize("part", MISSING)
def test_what_could_not_be_read_is_unknown(part: str):
    """Exactly the checkers that need the part are unknown, and the run as a whole has not passed."""
    run = replace(GOOD, **{part: None})
    verdicts = {checker: checker(run) for checker in CHECKERS}
    assert {checker for checker, found in verdicts.items() if found.passed is None} == MISSING[part]
    assert all(found.passed for checker, found in verdicts.items() if checker not in MISSING[part])
    assert not verify(run).passed
    for checker in MISSING[part]:
        assert verdicts[checker].mark == "unknown"
        assert verdicts[checker].seen
        assert verdicts[checker].count is None


def test_what_is_known_all_the_same():
    """What is missing makes unknown only what depends on it."""
    healthy = replace(good(), poison=(), dead_lettered=None, handled=[Handling(one, one, "p") for one in range(N)])
    assert lost(healthy).passed  # all were handled, so no dead letter can change the verdict
    assert duplicates(replace(healthy, crashes=None)).passed  # nothing was done twice, however many crashes
    assert same_reply(replace(GOOD, replies=None)).passed  # by the ledger's rows
    assert same_reply(replace(GOOD, ledger=None)).passed  # by what callers got


def test_a_run_in_which_nothing_happened_shows_nothing():
    empty = Run([], acknowledged=[], handled=[], dead_lettered=[], ledger=[], replies=[], crashes=0, limit=1, poison=[])
    passed = {checker for checker in CHECKERS if checker(empty).passed is not None}
    assert passed == {dead_letter_copies}  # no copy too many, indeed


def test_a_timeout_is_no_failure_and_no_loss():
    """19 timed out: handled or not, it is neither lost nor unexpected; it is counted apart."""
    for run in (GOOD, without(GOOD, 19)):
        assert lost(run).passed
        assert unexpected(run).passed
        assert ends(run).passed
        assert tally(run).unknown == 1
    assert "1 unknown (1 of these handled)" in ends(GOOD).seen
    assert "1 unknown (0 of these handled)" in ends(without(GOOD, 19)).seen
    retried = replace(GOOD, unknown=[19, 3])  # 3 timed out, was sent again, and was acknowledged then
    assert "1 unknown (1 of these handled)" in ends(retried).seen
    assert tally(retried).unknown == 1


def test_order_is_kept_key_by_key():
    """Two keys may overtake each other; two messages of one may not; a message without a key may do as it likes."""
    handled = [Handling(one, at, "p") for at, one in enumerate([1, 0, 3, 2, 5, 4])]
    run = Run(range(6), handled=handled, order_keys={0: "a", 1: "b", 2: "c", 3: "c", 4: "c"})
    assert order(run).count == 1
    assert order(run).offenders == (2,)
    assert order(run, most=1).passed
    assert order(replace(run, order_keys=None)).count == 3


def test_crashes_that_a_broker_counts_are_no_excuse():
    run = more(without(GOOD, 3), *(Handling(3, n, "p", n, "begun") for n in (1, 2, 3)))
    assert deliveries(run).passed  # limit 2, and one crash
    assert deliveries(run, counts_crashes=True).offenders == (3,)


def test_the_counterexample_is_the_shortest_life_and_reads_well():
    run = Run({1: 10.0, 2: 10.1}, {1: 10.2, 2: 10.3}, [Handling(1, 10.5, "payments 0", 1, "begun")], dead_lettered=[],
              events=[Event(10.6, "payments 0", "killed", "", "SIGKILL")])  # fmt: skip
    life = lost(run).life
    assert repr(life).splitlines() == [
        "message 2:",
        "     +0.000 s  the sender   attempted",
        "     +0.200 s  the sender   acknowledged",
        "     +0.500 s  payments 0   killed        SIGKILL",
        "            ?  the checker  lost",
    ]
    assert [event.what for event in life] == ["attempted", "acknowledged", "killed", "lost"]
    assert [event.at for event in life] == [10.1, 10.3, 10.6, 10.6]  # every event can be drawn
    assert repr(Life(7, [])) == "message 7: nothing was seen of it"


def test_a_failed_result_shows_the_life_in_text_and_html():
    result = verify(without(GOOD, 3), lost, duplicates, name="rabbitmq, kill")
    assert repr(result).startswith("rabbitmq, kill, 20 messages: not yet, 1 of 2 conditions hold")
    for text in (repr(result), result._repr_html_()):
        assert "message 3:" in text
        assert "acknowledged" in text


def test_handlings_out_of_the_ledger():
    """A call that failed or conflicted was delivered and not done; a repeat was done."""
    rows = [
        row(1, 5, outcome="failed"),
        row(2, 5),
        row(3, 5, outcome="repeat", receipt=2),
        row(4, 6, outcome="conflict"),
    ]
    found = handlings(rows)
    assert [(one.id, one.attempt, one.end) for one in found] == [
        (5, 1, "failed"), (5, 2, "handled"), (5, 3, "handled"), (6, 1, "failed"),
    ]  # fmt: skip
    assert found[0].process == "payments 0 (pid 4711)"


# against brute force

ids = some.integers(0, 6)
handled_ones = some.builds(
    Handling, ids, some.integers(0, 20).map(float), some.just("p"), some.integers(1, 4),
    some.sampled_from(["handled", "handled", "failed", "begun"]),
)  # fmt: skip


def ledger_of(calls: list[tuple[int, str | None, str]]) -> list[Row]:
    """Rows of calls, given as (id, key, outcome); a repeat has any receipt."""
    return [
        row(number, one, key=key, outcome=what, receipt=number % 3 if what == "repeat" else None)
        for number, (one, key, what) in enumerate(calls, 1)
    ]


keys = some.sampled_from([None, "a", "b", "c"])
calls = some.tuples(ids, keys, some.sampled_from(["effect", "repeat", "failed"]))
rows = some.lists(calls, max_size=8).map(ledger_of)
maybe_ids = some.none() | some.lists(ids, max_size=6, unique=True)
runs = some.builds(
    Run,
    attempted=some.lists(ids, min_size=1, max_size=7, unique=True),
    acknowledged=maybe_ids,
    handled=some.none() | some.lists(handled_ones, max_size=12),
    unknown=some.lists(ids, max_size=3, unique=True),
    refused=some.lists(ids, max_size=3, unique=True),
    dead_lettered=some.none() | some.lists(ids, max_size=5),
    ledger=some.none() | rows,
    replies=some.none() | some.lists(some.tuples(some.sampled_from("abc"), some.integers(0, 1)), max_size=5),
    crashes=some.none() | some.integers(0, 2),
    in_flight=some.integers(1, 2),
    limit=some.none() | some.integers(1, 3),
    poison=maybe_ids,
    order_keys=some.none() | some.dictionaries(ids, some.sampled_from("xy")),
)


def worlds(run: Run) -> list[tuple[list[int], int]]:
    """What the parts that are not known might be, if few enough values can stand for all: (dead letters, crashes)."""
    letters = [run.dead_lettered] if run.dead_lettered is not None else [[], list(range(7))]
    crashes = [run.crashes] if run.crashes is not None else [0, 1000]
    return [(list(one), number) for one in letters for number in crashes]


def oracle(run: Run, dead: list[int], crashes: int) -> dict[object, int | None]:
    """How many offences there are over what is allowed, in one world, by definition: 0 is a pass, None unknown."""
    done = [one for one in run.handled or [] if one.end == "handled"]
    first: dict[int, float] = {}
    for one in done:
        first[one.id] = min([one.at] + [other.at for other in done if other.id == one.id])
    sent = list(run.attempted)
    pairs = [
        (a, b) for a, b in combinations([one for one in sent if one in first], 2)
        if first[a] > first[b] and (run.order_keys is None or (
            a in run.order_keys and b in run.order_keys and run.order_keys[a] == run.order_keys[b]))
    ]  # fmt: skip
    allowed = crashes * run.in_flight
    extra = sum(times - 1 for times in Counter(one.id for one in done).values())
    copies = sum(times - 1 for times in Counter(dead).values())
    told = [one for one in run.refused if one not in (run.acknowledged or []) and one not in run.unknown]
    strange = {one.id for one in run.handled or [] if one.id not in sent or one.id in told}
    effects = [one for one in run.ledger or [] if one.outcome == "effect"]
    answers = [(key, answer) for key, answer in run.replies or []]
    answers += [(("charge", one.key), one.receipt) for one in run.ledger or [] if one.key and one.outcome != "failed"]
    retried = {key for key, _ in answers if sum(key == other for other, _ in answers) > 1}
    found: dict[object, int | None] = {
        lost: None, ends: None, deliveries: None, dead_letter_ids: None,
        unexpected: len(strange) if run.handled else None,
        duplicates: max(0, extra - allowed) if run.handled else None,
        order: len(pairs) if run.handled else None,
        dead_letter_copies: max(0, copies - allowed) if run.dead_lettered is not None else None,
        one_effect_per_key: None, one_effect_per_id: None, same_reply: None,
    }  # fmt: skip
    if run.acknowledged and run.handled is not None:
        found[lost] = sum(one not in first and one not in dead for one in run.acknowledged)
    if run.acknowledged is not None:
        known = {*run.acknowledged, *run.refused, *run.unknown}
        found[ends] = sum(one not in known for one in sent)
    if run.handled and run.limit is not None:
        numbers = {one.id: [other.attempt for other in run.handled if other.id == one.id] for one in run.handled}
        found[deliveries] = sum(max(*n, len(n)) > run.limit + crashes for n in numbers.values())
    if run.dead_lettered is not None and run.poison is not None and run.acknowledged is not None:
        missing = [one for one in run.poison if one in sent and one in run.acknowledged and one not in dead]
        wrong = [one for one in set(dead) if one not in run.poison or one not in sent]
        found[dead_letter_ids] = len(missing) + len(wrong)
    if any(one.key for one in effects):
        keys = [one.key for one in effects if one.key]
        found[one_effect_per_key] = len(keys) - len(set(keys))
    if run.ledger:
        found[one_effect_per_id] = len(effects) - len({one.id for one in effects})
    if retried:
        found[same_reply] = sum(len({answer for other, answer in answers if other == key}) > 1 for key in retried)
    return found


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs)
def test_the_checkers_agree_with_brute_force(run: Run):
    """Pass and fail as the definition says in every possible world; unknown where the worlds differ."""
    possible = [oracle(run, *world) for world in worlds(run)]
    for checker in CHECKERS:
        verdicts = {None if world[checker] is None else world[checker] == 0 for world in possible}
        found = checker(run)
        expected = verdicts.pop() if len(verdicts) == 1 else None
        assert found.passed is expected, (checker.__name__, found, possible)
        if found.passed is False:
            excess = {max(0, found.count - found.most)}
            assert excess == {world[checker] for world in possible}
            assert found.life is not None
            assert found.life.message in {str(one) for one in found.offenders} | set("abc")
        if found.passed is not False:
            assert found.life is None


@settings(max_examples=300, deadline=None)
@given(runs)
def test_the_numbers_agree_with_the_checkers(run: Run):
    numbers = tally(run)
    for checker, number in ((lost, numbers.lost), (order, numbers.inversions)):
        if (count := checker(run).count) is not None:
            assert count == number
    if run.handled is None:
        assert (numbers.handled, numbers.duplicated, numbers.recovered, numbers.inversions) == (None,) * 4
    else:
        again = [one.id for one in run.handled if one.end == "handled"]
        assert numbers.duplicated == len(again) - len(set(again))
