"""Runs a student's cell in a sandbox, and answers the grader's questions about what it made: plain data only.

    python -m classroom.grading.inside.driver

It connects to the gate. Each line is a request (plain.py), and each answer bears its number:

    {"id": 1, "op": "read", "path": ...}                     the cells of a notebook
    {"id": 2, "op": "run", "others": [source, ...], "cell": source}
    {"id": 3, "op": "look", "name": "post"}                  what a variable is: function, value or other
    {"id": 4, "op": "ask", "name": "post", "arguments": [...], "via": source, "limit": 10.0}

Of the other cells of the notebook only what defines something is run: imports, functions, classes, and names for
plain values; so a helper that was written in a cell of its own is there, and nothing is started. Each request runs in
a thread of its own. The cell's code can do anything in this process, such as answering in its place. That is why the
grader believes no more than that it was sent this plain data.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import linecache
import os
import re
import socket
import sys
import threading
import traceback
from typing import Any

from classroom.grading.inside import cells, plain

GATE = os.environ.get("CLASSROOM_GATE", "/gate/socket")
CELL = "/tmp/ipykernel_cell.py"  # errors name the lines of files with "ipykernel" in their names
DEFINE = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
MAGIC = re.compile(r"^[ \t]*[%!].*$", re.MULTILINE)
LAZY = getattr(ast, "PyCF_ALLOW_TOP_LEVEL_AWAIT", 0x2000)


class Notebook:
    """The variables that the cells made."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        self.error = ""

    def run(self, others: list[str], cell: str) -> dict[str, Any]:
        """The definitions of other cells, then the whole of this one, as far as it comes."""
        for source in others:
            self._define(source)
        linecache.cache[CELL] = (len(cell), None, cell.splitlines(keepends=True), CELL)
        try:
            self._execute(_plain_python(cell))
        except BaseException as error:
            self.error = "".join(traceback.format_exception_only(error)).strip()[:1000]
        return {"error": self.error}

    def _define(self, source: str) -> None:
        try:
            statements = ast.parse(_plain_python(source)).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        for one in statements:
            if isinstance(one, DEFINE) or _is_constant(one):
                try:
                    exec(compile(ast.Module([one], []), "/tmp/ipykernel_other.py", "exec"), self.names)
                except BaseException:  # such as an import of what is not here
                    continue

    def _execute(self, source: str) -> None:
        code = compile(source, CELL, "exec", flags=LAZY, dont_inherit=True)
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(eval(code, self.names))
        else:
            exec(code, self.names)

    def look(self, name: str) -> dict[str, Any]:
        """What a variable is."""
        if name not in self.names:
            return {"is": "missing", "error": self.error}
        value = self.names[name]
        try:
            plain.encode(value)
            return {"is": "value", "value": value}
        except (TypeError, ValueError, RecursionError):
            if type(value) is dict and (wrong := _not_plain(value)):
                return {"is": "value", "value": wrong}
        return {"is": "function" if callable(value) else "other", "text": f"a {type(value).__name__}"[:100]}

    def ask(self, name: str, arguments: list[Any], via: str, limit: float) -> dict[str, Any]:
        """Call a function; what came of it."""
        from classroom.checks.asking import ask

        adapter = None
        if via:
            made: dict[str, Any] = {}
            exec(compile(f"from __future__ import annotations\n{via}", "/tmp/adapter.py", "exec"), made)
            adapter = next(one for one in made.values() if inspect.isfunction(one))
        answer = asyncio.run(ask(self.names.get(name), *arguments, limit=limit, via=adapter))
        return {"value": answer.value, "kind": answer.kind, "error": answer.error}


def _not_plain(value: dict[Any, Any]) -> dict[Any, Any] | None:
    """A dict with the values that are no plain data as text: which of them is wrong is worth a sentence."""
    try:
        return {str(key): one if _is_plain(one) else f"<a {type(one).__name__}>" for key, one in value.items()}
    except Exception:
        return None


def _is_plain(value: Any) -> bool:
    try:
        plain.encode(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _is_constant(statement: ast.stmt) -> bool:
    """Whether it gives a name to a plain value."""
    value = getattr(statement, "value", None)
    if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or value is None:
        return False
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return False
    return True


def _plain_python(source: str) -> str:
    """Without the lines that only IPython understands. A cell that is a magic as a whole is none of ours."""
    return "" if source.lstrip().startswith("%%") else MAGIC.sub("pass", source)


def main() -> None:
    """Answer until the gate is closed."""
    notebook, writing = Notebook(), threading.Lock()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(GATE)
    connection.sendall(b"ask\n")
    operations: dict[str, Any] = {"read": cells.read, "run": notebook.run, "look": notebook.look, "ask": notebook.ask}

    def answer(request: dict[str, Any]) -> None:
        number, operation = request.pop("id"), operations[request.pop("op")]
        try:
            line = plain.encode({"id": number, "answer": operation(**request)})
        except BaseException as error:
            line = plain.encode({"id": number, "failed": f"{type(error).__name__}: {error}"[:1000]})
        with writing:
            connection.sendall(line + b"\n")

    for line in connection.makefile("rb"):
        threading.Thread(target=answer, args=(plain.decode(line),), daemon=True).start()
    os._exit(0)


if __name__ == "__main__":
    sys.setrecursionlimit(2000)
    main()
