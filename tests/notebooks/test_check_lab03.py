"""Checks 03.till and 03.drain, with real services: the reference passes, the start and known mistakes do not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from classroom.checks import Result, check
from classroom.notebooks import read, take_out_answers
from classroom.service_fleet import Plan
from classroom.service_handle import ServiceHandle

SOLUTION = Path(__file__).parents[2] / "solutions/03-tcp-microservice.ipynb"
CELLS = {cell.id: cell.source.partition("\n")[2] for cell in read(SOLUTION).cells if cell.cell_type == "code"}
Deploy = Callable[..., ServiceHandle]


@pytest.fixture
async def deploy() -> AsyncIterator[Deploy]:
    """Run a cell's code as %%service does; all such services are gone at the end."""
    handles: list[ServiceHandle] = []

    def start(name: str, source: str, http: bool = False) -> ServiceHandle:
        plan = Plan(f"# %%service {name}\n{source}", "tcp", lambda: None, "at-most-once", None, 1, http)
        handles.append(ServiceHandle(name, plan, lambda _: False))
        handles[-1].deploy(plan)
        return handles[-1]

    yield start
    for handle in handles:
        handle.kill()


def mistake(cell: str, old: str, new: str) -> str:
    """The reference of a cell with one thing changed."""
    assert old in CELLS[cell]
    return CELLS[cell].replace(old, new)


def first_failure(result: Result) -> str:
    """The first condition that does not hold, with its hint."""
    return "\n".join(next(one for one in result.conditions if not one.passed).lines())


async def judge_till(deploy: Deploy, source: str) -> Result:
    return await check("03.till", names={"till": deploy("till", source)})


async def test_the_reference_till_passes(deploy: Deploy):
    """All seven conditions."""
    result = await judge_till(deploy, CELLS["till"])
    assert result.passed, result
    assert len(result.conditions) == 7


async def test_the_unchanged_till_fails_with_its_own_words(deploy: Deploy):
    """The cell raises at start, and the check quotes what it raised."""
    result = await judge_till(deploy, take_out_answers(CELLS["till"]))
    assert "NotImplementedError: Your code goes here" in first_failure(result)


HAND_MADE = """
from postoffice import RpcError, message_pattern

@message_pattern({"cmd": "total"})
async def total(data):
    BODY
    return sum(line["qty"] * line["price"] for line in data["lines"])
"""


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        (HAND_MADE.replace("BODY", "pass"), "raise RpcError, or give data a type"),
        (
            HAND_MADE.replace("BODY", "if not data.get('lines'): return {'error': 'no lines'}"),
            "return the number alone",
        ),
        (HAND_MADE.replace("BODY", "if 'lines' not in data: return {'error': 'no lines'}"), "that is *returned*"),
        (HAND_MADE.replace("BODY", "if 'lines' not in data: raise RpcError('bad order')"), "say which field is wrong"),
        (HAND_MADE.replace("BODY", "if 'lines' not in data: __import__('os')._exit(3)"), "must not end the process"),
        (HAND_MADE.replace('{"cmd": "total"}', '"total"'), "letter by letter"),
        (mistake("till", "Field(ge=1)", "Field(ge=0)"), "it was accepted"),
        (CELLS["till"].replace(", strict=True", ""), "pydantic converts unless told not to"),
        (mistake("till", "line.qty * line.price", "line.price"), "the sum of qty * price"),
    ],
)
async def test_a_wrong_till_is_answered_by_name(deploy: Deploy, source: str, hint: str):
    """The first condition that fails has the hint for this mistake."""
    assert hint in first_failure(await judge_till(deploy, source.replace("    BODY\n", "")))


async def test_a_variable_that_is_no_service_any_more_is_named():
    """A reader who assigned to the name is told to run the cell again."""
    result = await check("03.till", names={"till": 42})
    assert "till = 42" in repr(result)
    assert "run the %%service till cell again" in repr(result)


async def judge_shop(deploy: Deploy, monkeypatch: pytest.MonkeyPatch, source: str, http: bool = True) -> Result:
    ledger = deploy("ledger", CELLS["ledger"])
    monkeypatch.setenv("LEDGER_URL", ledger.url)
    return await check("03.drain", names={"shop": deploy("shop", source, http), "ledger": ledger})


async def test_the_reference_shop_passes(deploy: Deploy, monkeypatch: pytest.MonkeyPatch):
    """All nine conditions, and the shop runs afterwards."""
    result = await judge_shop(deploy, monkeypatch, CELLS["shop"])
    assert result.passed, result
    assert len(result.conditions) == 9


async def test_the_unchanged_shop_fails_with_its_own_words(deploy: Deploy, monkeypatch: pytest.MonkeyPatch):
    """The cell raises at start, and the check quotes what it raised."""
    result = await judge_shop(deploy, monkeypatch, take_out_answers(CELLS["shop"]))
    assert "NotImplementedError: Your code goes here" in first_failure(result)


SPAWN = "import asyncio; asyncio.create_task(deliver(order))"
LIFESPAN = """
import asyncio, contextlib

tasks = set()

@contextlib.asynccontextmanager
async def finish(app):
    yield
    await asyncio.gather(*tasks)

app = FastAPI(lifespan=finish)
"""


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        (mistake("shop", "after.add_task(deliver, order)", SPAWN), "thrown away"),
        (mistake("shop", "after.add_task(deliver, order)", "await deliver(order)"), "answer first, deliver after"),
        (mistake("shop", "after.add_task(deliver, order)", "pass"), "await deliver(order) for each order"),
        (mistake("shop", "    await deliver(order)\n", f"    {SPAWN}\n"), "thrown away"),
        (mistake("shop", "    await deliver(order)\n", "    [await deliver(order) for _ in '12']\n"), "one place only"),
        (mistake("shop", "status_code=202", "status_code=200"), "status_code=202"),
    ],
)
async def test_a_wrong_shop_is_answered_by_name(deploy: Deploy, monkeypatch, source: str, hint: str):
    """The first condition that fails has the hint for this mistake."""
    assert hint in first_failure(await judge_shop(deploy, monkeypatch, source))


async def test_another_right_way_passes_too(deploy: Deploy, monkeypatch: pytest.MonkeyPatch):
    """Tasks that are kept and awaited in the application's lifespan are as good as BackgroundTasks."""
    source = mistake("shop", "app = FastAPI()", LIFESPAN)
    kept = "task = asyncio.create_task(deliver(order)); tasks.add(task); task.add_done_callback(tasks.discard)"
    result = await judge_shop(deploy, monkeypatch, source.replace("after.add_task(deliver, order)", kept))
    assert result.passed, result


async def test_a_shop_without_http_is_told_the_option(deploy: Deploy, monkeypatch: pytest.MonkeyPatch):
    """The option of the magic is named."""
    result = await judge_shop(deploy, monkeypatch, CELLS["shop"], http=False)
    assert "--on tcp --http" in first_failure(result)
