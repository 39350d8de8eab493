"""What every lesson has beside its budgets: an opening, predictions, a closing, and no more than a machine can spare.

The opening says what one will see, how long it takes, what it needs, and asks one question. Predictions are made by
`predict(...)`, run, and explained. The closing has the lesson's words, five questions with folded answers, and where
to read on.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from classroom.notebook_cost import Cost
from classroom.notebook_problem import Problem, cell_name
from classroom.notebooks import Notebook

MEGABYTES = 1000  # beside JupyterLab
WORDS, QUESTIONS = 5, 5
CLOSING = ("Words of this lesson", "Five questions", "Where to go from here")

OPENING = (
    (r"\*\*You will see\*\* \w", "does not say what one will see.", "Begin a paragraph with **You will see**."),
    (r"\*\*You need\*\* \w", "does not say what one needs.", "Begin a paragraph with **You need**."),
    (r"\b\d+ minutes\b", "does not say how long it takes.", "Write the minutes, as a number, after **You need**."),
    (r"\b[\d,]+ MB\b", "does not say how much memory it takes.", "Write the MB, as a number, after **You need**."),
    (
        r"(?i)broker|RabbitMQ|Redis|NATS|Mosquitto|Kafka",
        "does not say which brokers it needs.",
        "Name them after **You need**, or write: no broker.",
    ),
    (r"\*\*One question:?\*\*[^*\n]*\*[^*]+\?\*", "asks no question.", "End it with **One question:** *...?*"),
)


@dataclass(frozen=True)
class Size:
    """How long a kind of notebook is: its cells, the minutes of its reader, the predictions that it has at least."""

    kind: str
    cells: range
    minutes: range
    predictions: int


LESSON = Size("lesson", range(30, 51), range(35, 51), 3)
TOUR = Size("tour", range(10, 51), range(5, 51), 1)  # 00: it may be shorter
GUIDE = Size("field guide", range(20, 37), range(20, 36), 2)  # 02b to 02e: one broker or protocol, beside lesson 02
GUIDES = re.compile(r"02[b-e]-")


def size_of(name: str) -> Size:
    """The kind of a notebook in notebooks/, by its file's name."""
    if name.startswith("00-"):
        return TOUR
    return GUIDE if GUIDES.match(name) else LESSON


def opening(notebook: Notebook, name: str) -> Iterator[Problem]:
    """The first cell says what one will see, minutes, memory and brokers, and asks one question."""
    where, text = cell_name(0, notebook.cells[0]), notebook.cells[0].source
    for pattern, what, do in OPENING:
        if not re.search(pattern, text):
            yield Problem(where, f"the opening {what}", do)
    size = size_of(name)
    for minutes in re.findall(r"\b(\d+) minutes\b", text)[:1]:
        if int(minutes) not in size.minutes:
            what = f"the opening of a {size.kind} says {minutes} minutes, not {size.minutes[0]} to {size.minutes[-1]}."
            yield Problem(where, what, "Split or join ideas.")


def memory(notebook: Notebook, took: Cost) -> Iterator[Problem]:
    """A run took no more memory than a lesson may, and no more than the opening says."""
    if took.megabytes > MEGABYTES:
        what = f"it took {took.megabytes:,} MB of memory, more than {MEGABYTES:,}."
        yield Problem("run", what, "Start fewer brokers and services at a time.")
    said = re.search(r"\b([\d,]+) MB\b", notebook.cells[0].source)
    if said and took.megabytes > int(said[1].replace(",", "")):
        what = f"the opening says {said[0]} of memory, and a run took {took.megabytes:,}."
        yield Problem(cell_name(0, notebook.cells[0]), what, "Say at least what it takes.")


# ---- predictions


@dataclass
class Asked:
    """One `predict(...)` in the code: the cell that asks, and the one that tells."""

    index: int
    ident: str
    options: set[str]
    misconceptions: set[str]
    shown: bool  # the cell ends with it, so that a reader sees it
    told: list[tuple[int, str]] = field(default_factory=list)  # the cell and its answer, for each reveal("...")


def asked(notebook: Notebook) -> dict[str, Asked]:
    """All predictions of a notebook by the names of their variables, in order. Raises SyntaxError."""
    found: dict[str, Asked] = {}
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or cell.source.startswith("%%"):
            continue
        tree = _parsed(cell.source, cell_name(index, cell))
        for statement in tree.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=variable)], value=ast.Call(func=ast.Name(id="predict")) as call):
                    found[variable] = _asked(index, call, shown=_names(tree.body[-1], variable))
        for node in ast.walk(tree):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id=variable), attr="reveal"), args=[ast.Constant(value=answer)]
                ) if variable in found:
                    found[variable].told.append((index, str(answer)))
    return found


def _parsed(source: str, name: str) -> ast.Module:
    """The syntax of a cell, which may await; without the lines that are IPython's own."""
    code = re.sub(r"(?m)^[%!].*$", "", source)
    tree = compile(code, name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(tree, ast.Module)
    return tree


def _asked(index: int, call: ast.Call, shown: bool) -> Asked:
    arguments = {keyword.arg: keyword.value for keyword in call.keywords}
    arguments |= dict(zip(("ident", "question", "options"), call.args, strict=False))
    ident = arguments.get("ident")
    name = ident.value if isinstance(ident, ast.Constant) else ""
    return Asked(index, str(name), _keys(arguments.get("options")), _keys(arguments.get("misconceptions")), shown)


def _keys(value: ast.expr | None) -> set[str]:
    keys = value.keys if isinstance(value, ast.Dict) else []
    return {str(key.value) for key in keys if isinstance(key, ast.Constant)}


def _names(statement: ast.stmt, variable: str) -> bool:
    """Whether a statement shows this variable: as the value of its cell, or through display."""
    uses = any(isinstance(node, ast.Name) and node.id == variable for node in ast.walk(statement))
    return isinstance(statement, ast.Expr) and uses


def predictions(notebook: Notebook, name: str) -> Iterator[Problem]:
    """Enough of them; each is shown, told in a later cell, explained by text, and answers whoever guesses wrong."""
    try:
        found = asked(notebook)
    except SyntaxError as error:
        yield Problem(str(error.filename), f"cannot be read: {error.msg}.", "Correct it.")
        return
    least = size_of(name).predictions
    if len(found) < least:
        yield Problem("predictions", f"there are {len(found)}, fewer than {least}.", "Ask by predict(...).")
    seen: set[str] = set()
    for variable, one in found.items():
        where = cell_name(one.index, notebook.cells[one.index])
        for what, do in _wrong(notebook, name, variable, one, seen):
            yield Problem(where, f"the prediction {variable} {what}", do)
        seen.add(one.ident)


def _wrong(notebook: Notebook, name: str, variable: str, one: Asked, seen: set[str]) -> Iterator[tuple[str, str]]:
    number = name.partition("-")[0]
    if not one.ident.startswith(f"{number}.") or one.ident in seen:
        yield f"is called {one.ident!r}.", f'Give it a name of its own that begins with "{number}.".'
    if not is_hidden(notebook.cells[one.index]):
        yield "shows its code, and so its answer.", "Run `make notebooks`, or collapse it in JupyterLab and save."
    if not one.shown:
        yield "is not shown.", f"End its cell with {variable}."
    if len(one.told) != 1 or one.told[0][0] <= one.index:
        yield f"is told {len(one.told)} times.", f'Once, in a later cell: {variable}.reveal("...").'
        return
    index, answer = one.told[0]
    if silent := one.options - one.misconceptions - {answer}:
        yield f"says nothing to who guesses {', '.join(sorted(silent))}.", "Add the belief to misconceptions=."
    if answer not in one.options:
        yield f"has no option {answer!r}, and that is its answer.", f"Its options: {', '.join(sorted(one.options))}."
    if index + 1 >= len(notebook.cells) or notebook.cells[index + 1].cell_type != "markdown":
        yield "is told and not explained.", "Put a text cell behind the one that tells."


def is_hidden(cell: Notebook) -> bool:
    """Whether JupyterLab shows this cell's output only: the code of a prediction would tell its answer."""
    return bool(cell.metadata.get("jupyter", {}).get("source_hidden"))


# ---- the closing


def closing(notebook: Notebook) -> Iterator[Problem]:
    """The last cell ends with the lesson's words, five questions with folded answers, and where to read on."""
    last = notebook.cells[-1]
    where, text = cell_name(len(notebook.cells) - 1, last), last.source if last.cell_type == "markdown" else ""
    parts = re.split(r"(?m)^## (.+)$", text)
    if tuple(parts[1::2])[-3:] != CLOSING:
        yield Problem(where, f"is no closing: {' / '.join(CLOSING)}.", "Put these headings, in this order, last.")
        return
    words, questions, onward = parts[-5::2]
    count = max(len(re.findall(r"(?m)^\|", words)) - 2, 0)  # without the head and the line under it
    if count < WORDS:
        yield Problem(where, f"the closing has {count} words, fewer than {WORDS}.", "Put them into a table.")
    folded = re.findall(r"<details><summary>(\d+)\. \S.*?</summary>\s*\S.*?</details>", questions, re.DOTALL)
    if folded != [str(number) for number in range(1, QUESTIONS + 1)]:
        what = f"the closing has {len(folded)} questions with folded answers, not {QUESTIONS}, numbered."
        yield Problem(where, what, "Each: <details><summary>1. ...?</summary> and its answer.")
    if not re.search(r"\[[^]]+\]\([^)]+\)", onward):
        yield Problem(where, "the closing does not say where to read on.", "Link to a page or a notebook.")
