"""Decorators and what a service accepts as handlers; the words of each refusal."""

import functools
import inspect
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from postoffice import Context, HandlerError, PatternError, event_pattern, message_pattern
from postoffice.handlers import collect


@message_pattern("a")
async def a(data):
    """Kept as it is."""
    return data


def test_a_decorated_function_stays_what_it_was() -> None:
    """Decorators attach, and do nothing else."""
    assert inspect.iscoroutinefunction(a)
    assert (a.__name__, a.__doc__) == ("a", "Kept as it is.")
    assert [(one.kind, one.route) for one in collect(a)] == [("message", "a")]


def test_several_patterns_in_the_order_they_are_written() -> None:
    """One function, one decorator each; kinds may be mixed."""

    @message_pattern({"b": 1, "a": 2})
    @event_pattern(42)
    @event_pattern("x")
    async def many():
        pass

    assert [(one.kind, one.route) for one in collect(many)] == [
        ("message", '{"a":2,"b":1}'),
        ("event", "42"),
        ("event", "x"),
    ]


def test_a_module_serves_its_functions_once() -> None:
    """In the order they are defined, also when one has two names; plain functions are left alone."""
    module = types.ModuleType("shop")
    module.__dict__.update(a=a, again=a, plain=lambda: None, number=3)
    assert [one.route for one in collect(module)] == ["a"]


class Base:
    @message_pattern("kept")
    async def kept(self, data):
        return data

    @message_pattern("replaced")
    async def replaced(self):
        return "base"

    @message_pattern("dropped")
    async def dropped(self):
        return "base"


class Derived(Base):
    @message_pattern("replaced")
    async def replaced(self):
        return "derived"

    async def dropped(self):
        return "no handler any more"

    @staticmethod
    @message_pattern("static")
    async def static(data, ctx: Context):
        return data

    @event_pattern("class")
    @classmethod
    async def of_class(cls):
        pass

    @property
    def costly(self) -> Any:
        raise AssertionError("looking for handlers reads no property")


def test_the_methods_of_an_object_with_what_it_inherits() -> None:
    """An override takes the place of what it overrides; static and class methods count too."""
    found = {one.route: one.parameters for one in collect(Derived())}
    assert found == {"kept": 1, "replaced": 0, "static": 2, "class": 0}


def test_a_bound_method_and_a_wrapped_function() -> None:
    """Both keep their pattern; the wrapper is what runs."""

    @functools.wraps(a)
    async def wrapper(data):
        return ["wrapped", await a(data)]

    assert [one.function for one in collect(wrapper)] == [wrapper]
    assert [one.route for one in collect(Derived().kept)] == ["kept"]


def refused(*targets: Any) -> str:
    with pytest.raises(HandlerError) as caught:
        collect(*targets)
    return str(caught.value)


def test_nothing_to_serve() -> None:
    """With what to do about it."""
    for targets in ((), (types.ModuleType("empty"),), (object(),), (lambda: None,)):
        assert "no function here bears @message_pattern or @event_pattern. Decorate one" in refused(*targets)


def test_a_handler_that_is_not_async() -> None:
    """Named with its file and line, and the line to write instead."""

    @message_pattern("sync")
    def sync(data):
        return data

    words = refused(sync)
    assert "sync (" in words
    assert f"{Path(__file__).name}:" in words
    assert "is not async" in words
    assert "Write `async def sync(...)`" in words


def test_two_handlers_for_one_message_pattern() -> None:
    """Both are named; two for one event are right."""

    @message_pattern("a")
    async def second():
        pass

    words = refused(a, second)
    assert "two handlers for the message pattern 'a': a (" in words
    assert "second (" in words
    event = [event_pattern("e")(function) for function in (_event(), _event())]
    assert len(collect(*event)) == 2


def _event() -> Any:
    async def event():
        pass

    return event


def test_too_many_arguments() -> None:
    """A handler gets the data and the context; defaults beyond that are its own business."""

    @message_pattern("three")
    async def three(data, ctx, more):
        pass

    @message_pattern("keyword")
    async def keyword(data, *, limit):
        pass

    @message_pattern("fine")
    async def fine(data, ctx, more=1, *, limit=2):
        pass

    assert "asks for 3 arguments (data, ctx, more)" in refused(three)
    assert "asks for 2 arguments (data, limit)" in refused(keyword)
    assert collect(fine)[0].wants_context


def test_a_class_instead_of_an_object() -> None:
    """The line to write instead."""
    assert refused(Base) == "Base is a class; pass an object of it: Service(Base())"


class Foreign:
    """JSON knows no form of it."""


@pytest.mark.parametrize("wanted", [Foreign, list[Foreign], Path, "Missing", dict[str, Foreign] | None], ids=str)
def test_a_type_that_cannot_be_checked(wanted: Any) -> None:
    """At start, not with every message."""

    @message_pattern("typed")
    async def typed(data):
        pass

    typed.__annotations__["data"] = wanted
    words = refused(typed)
    assert "wants `data` of a type that cannot be checked" in words
    assert "Use plain types, a dataclass, a TypedDict, a msgspec Struct or a pydantic model" in words


@pytest.mark.parametrize("decorate", [message_pattern, event_pattern])
def test_a_pattern_is_checked_where_it_is_written(decorate: Any) -> None:
    """The line of the decorator fails, not the start of the service."""
    with pytest.raises(PatternError, match="a pattern must be a string, a number, a dict or a list; got None"):
        decorate(None)


def test_typed_handlers_load_no_pydantic() -> None:
    """Only a pydantic model in an annotation does."""
    code = (
        "import sys\nfrom dataclasses import dataclass\nfrom postoffice import message_pattern\n"
        "from postoffice.handlers import collect\n@dataclass\nclass P:\n    x: int\n"
        "@message_pattern('p')\nasync def p(data: P): ...\ncollect(p)\nprint('pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "False\n"
