"""The page for readers who come from NestJS: its Python is run as it stands, on the transports that it names."""

from __future__ import annotations

import ast
import contextlib
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from classroom.brokers import NoBroker, start_broker
from postoffice import Service
from postoffice.run import _parser, load

from .campaign import casework

PAGE = Path(__file__).parents[2] / "docs" / "from-nestjs.md"
TEXT = PAGE.read_text()
SECTIONS = {one.partition("\n")[0]: one for one in TEXT.split("\n## ")[1:] if "```python" in one}
BROKERS = {"redis": "redis", "nats": "nats", "amqp": "rabbitmq"}


@contextlib.asynccontextmanager
async def started(command: str, folder: Path) -> AsyncIterator[tuple[str, str]]:
    """The service of a `postoffice run ...` line, on a free port or a broker; yields both URLs."""
    options = _parser().parse_args(shlex.split(command)[1:])
    module = load(str(folder / options.module))
    assert not options.http or callable(module.app)
    scheme = options.url.partition(":")[0]
    async with contextlib.AsyncExitStack() as stack:
        url = f"{scheme}://127.0.0.1:0"
        if scheme in BROKERS:
            try:
                broker = await start_broker(BROKERS[scheme], name=f"page-{scheme}")
            except NoBroker as error:
                pytest.skip(str(error).splitlines()[0])
            url = (await stack.enter_async_context(broker)).url
        name = Path(options.module).stem
        service = await stack.enter_async_context(
            Service(module, url=url, name=name, delivery=options.delivery, proto=options.proto)
        )
        yield options.url, service.url


@pytest.mark.parametrize("title", SECTIONS)
async def test_the_python_of_a_section_does_what_it_says(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The services run, the clients ask them, and what is printed is what the comments say."""
    monkeypatch.chdir(tmp_path)
    section = SECTIONS[title]
    blocks = re.findall(r"```python\n(.*?)```", section, re.S)
    (command,) = re.findall(r"```sh\n(postoffice run .*)\n", section)
    for proto in re.findall(r"```proto\n(.*?)```", section, re.S):
        (tmp_path / "heroes.proto").write_text(proto)
    clients = [one for one in blocks if not one.startswith("# ")]
    for block in blocks:
        if block.startswith("# "):
            (tmp_path / block[2:].partition("\n")[0]).write_text(block)
    printed: list[str] = []
    async with started(command, tmp_path) as (shown, real):
        for client in clients:
            assert shown in client
            await run(client.replace(shown, real), printed)
    promised = " ".join(re.findall(r"print\(.*\)  # (.*)", "".join(clients)))
    assert " ".join(printed) == promised
    assert bool(clients) is bool(promised)


async def run(code: str, printed: list[str]) -> None:
    """Run code that awaits at its top level, and note what it prints."""
    names = {"print": lambda *values: printed.append(" ".join(map(str, values)))}
    compiled = compile(code, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    found: Any = eval(compiled, names)
    if found is not None:
        await found


def test_what_the_page_names_exists() -> None:
    """Tests and cases that a finding points at."""
    findings = (PAGE.parents[1] / "tests" / "interop" / "test_findings.py").read_text()
    named = re.findall(r"`(test_[a-z_]+)`", TEXT)
    assert len(named) > 5
    assert [one for one in named if f"async def {one}(" not in findings] == []
    prefixes = re.findall(r'"([a-z]+): \.\.\."', TEXT)
    assert prefixes
    assert [one for one in prefixes if not any(case.startswith(f"{one}: ") for case in casework.CASES)] == []
