"""Right submissions in odd clothes: each does the work, so each is to get its points."""

from __future__ import annotations

import uuid
from typing import Any

from .notebooks import Case, Notebook, reference

PREDICT, CONFIRM, ACK, LABELS = (reference("05", cell) for cell in ("predict", "confirm", "ack", "poison"))
FRAMING = reference("03", "framing")
FIRST, REST = ACK.split("\n", 1)
BODY = "    await ledger.charge"


def case(
    name: str, task: str, source: str = "", change: Any = None, file: str = "student.ipynb", short: bool = False
) -> Case:
    """The solved lab with the cell of a task replaced, and something done to it."""
    ids = {"05.predict": "predict", "05.confirm": "confirm", "05.ack": "ack", "03.framing": "framing"}
    return Case(name, task, {ids[task]: source} if source else {}, change, file, solved=True, short=short)


def no_ids(made: Notebook) -> None:
    for cell in made["cells"]:
        cell["id"] = uuid.uuid4().hex[:8]
        cell["metadata"] = {}


def grade_ids_only(made: Notebook) -> None:
    for cell in made["cells"]:
        cell["id"] = uuid.uuid4().hex[:8]


def old_format(made: Notebook) -> None:
    made["nbformat_minor"] = 2
    for cell in made["cells"]:
        del cell["id"]


def format_three(made: Notebook) -> None:
    cells = made.pop("cells")
    for cell in cells:
        if cell["cell_type"] == "code":
            cell["input"] = cell.pop("source")
    made.update(nbformat=3, nbformat_minor=0, worksheets=[{"cells": cells}])


def backwards(made: Notebook) -> None:
    made["cells"].reverse()


def other_kernel(made: Notebook) -> None:
    made["metadata"] = {"kernelspec": {"name": "julia-1.9", "language": "julia"}}


def more_cells(made: Notebook) -> None:
    for source in (
        "1/0",
        "%matplotlib inline",
        "!ls",
        "await nothing",
        "while True: pass",
        "def broken(:",
        "post = 5",
        "prediction['held'] = 99",
    ):
        made["cells"].insert(0, {"cell_type": "code", "source": source, "metadata": {}, "outputs": []})


def only_answers(made: Notebook) -> None:
    made["cells"] = [one for one in made["cells"] if "solution" in str(one["metadata"])]


def lists_of_lines(made: Notebook) -> None:
    for cell in made["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)


def outputs(made: Notebook) -> None:
    for cell in made["cells"]:
        if "outputs" in cell:
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 5_000_000}]


def an_old_try(made: Notebook) -> None:
    made["cells"].insert(
        0, {"cell_type": "code", "metadata": {}, "outputs": [], "source": FIRST + "\nraise SystemExit\n"}
    )


def a_helper_cell(made: Notebook) -> None:
    helper = "import aio_pika\nfrom pamqp.commands import Basic\n\ndef word(answer):\n    return 'stored' if isinstance(answer, Basic.Ack) else 'nobody'\nPERSISTENT = 2\n"
    made["cells"].insert(0, {"cell_type": "code", "metadata": {}, "outputs": [], "source": helper})


HELPED = CONFIRM.replace("    from pamqp.commands import Basic\n", "").replace(
    'return "stored" if isinstance(answer, Basic.Ack) else "nobody"', "return word(answer)")  # fmt: skip

ODD = [
    case("as the solution has it", "05.ack", short=True),
    case("renamed, with letters of another script", "05.predict", file="Übung fünf – 李.ipynb"),
    case("in a folder of the student's", "05.predict", file="ada/submission/05-rabbitmq.ipynb"),
    case("ids and metadata lost", "05.predict", change=no_ids, short=True),
    case("ids and metadata lost, a function", "05.confirm", change=no_ids),
    case("ids and metadata lost, a service", "05.ack", change=no_ids),
    case("ids lost, grade ids left", "05.predict", change=grade_ids_only),
    case("an old format", "05.predict", change=old_format),
    case("format 3", "05.predict", change=format_three),
    case("cells in another order", "05.ack", change=backwards),
    case("another kernel", "05.predict", change=other_kernel),
    case("more cells, which fail or never end", "05.confirm", change=more_cells),
    case("nothing but the answers", "05.ack", change=only_answers),
    case("sources as lists of lines", "05.ack", change=lists_of_lines),
    case("100 MB of outputs", "05.predict", change=outputs),
    case("an earlier try left in", "05.ack", change=an_old_try),
    case("helpers in another cell", "05.confirm", HELPED, change=a_helper_cell, short=True),
    case("tried out at the end of the cell", "05.confirm", CONFIRM + "\nprint('trying')\nassert False, 'as it was'\n"),
    case("awaits at the top level", "05.confirm", "import asyncio\nawait asyncio.sleep(0)\n" + CONFIRM),
    case("magics in the cell", "05.confirm", "%load_ext autoreload\n" + CONFIRM + "\n!echo done\n"),
    case("a prediction that is reckoned", "05.predict", PREDICT.replace("12", "sum([7, 5])").replace("5,", "20 - 15,")),
    case("a prediction with more in it", "05.predict", PREDICT + "\nprediction['because'] = object()\n"),
    case("noisy on stderr", "05.ack", f"{FIRST}\nimport sys, warnings\nprint('warning ' * 500, file=sys.stderr)\nwarnings.warn('no')\n{REST}"),
    case("noisy on stdout", "05.ack", ACK.replace(BODY, "    for n in range(300): print('charging', n, data)\n" + BODY)),
    case("slow", "05.ack", ACK.replace(BODY, "    import asyncio\n    await asyncio.sleep(0.3)\n" + BODY)),
    case("slow to start", "05.ack", f"{FIRST}\nimport time\ntime.sleep(3)\n{REST}"),
    case("names that are not ASCII", "05.ack", ACK.replace("data", "größe_данные").replace("async def charge", "async def 課金")),
    case("empty lines before %%service", "05.ack", f"\n\n{ACK}"),
    case("options in another order", "05.ack", ACK.replace(FIRST, "%%service   payments --delivery at-least-once   --on rabbit --prefetch 3")),
    case("a class where a dict would do", "05.ack", ACK.replace("async def charge(data)", "async def charge(data: Order)").replace(
        'data["id"], amount=data["total"]', "data.id, amount=data.total").replace(
        "@event_pattern", "import msgspec\nclass Order(msgspec.Struct):\n    id: int\n    total: int\n\n@event_pattern")),
    case("threads and a lock of its own", "05.ack", ACK.replace(BODY, "    import threading\n    threading.Thread(target=print).start()\n" + BODY)),
    case("a class, kept between calls", "03.framing"),
    case("a class with helpers and constants", "03.framing", "SEPARATOR = '#'\n" + FRAMING.replace('"#"', "SEPARATOR")),
]  # fmt: skip
