"""The first process of a sandbox: sets the limits, gives up all rights, starts the program, and passes bytes on.

    python -I -S entry.py USER,MEMORY,PROCESSES,CPU,FILE,FILES PORT,PORT PROGRAM ...

Each PORT of the loopback interface is led to the gate, the unix socket by which the grader decides about every
connection. Over the control connection the grader asks for more ports (`listen 21234`) or fewer (`close 21234`), and
for a connection to a server in here (`dial 7 21235`). Nothing depends on the honesty of this process: it runs with the
rights of the program, which may kill it or talk to the gate itself, and would only cut its own wires.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # not `typing`: it takes longer to import than the rest
    import asyncio

    Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]

open_ends: list[Ends] = []  # connections of the program's from which bytes may still come
GATE = os.environ.get("CLASSROOM_GATE", "/gate/socket")
CHUNK = 65536
LAST_BYTES = 1.0  # seconds; a program that left children behind may keep its connections open


def confine(user: int, memory: int, processes: int, cpu: int, file: int, files: int) -> None:
    """Limits first, then the rights: they do not come back."""
    for name, value in (
        ("AS", memory), ("CPU", cpu), ("FSIZE", file), ("NOFILE", files), ("CORE", 0), ("NPROC", processes)
    ):  # fmt: skip
        kind = getattr(resource, f"RLIMIT_{name}")
        most = resource.getrlimit(kind)[1]
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(kind, (value, value))
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def listener(port: int) -> socket.socket:
    """A server's socket on a port of the loopback interface; its connections wait until somebody takes them."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    made.listen(128)
    return made


def start(program: list[str]) -> int:
    """The program as a child, with what else was inherited: the descriptor that tells that it is ready."""
    pid = os.fork()
    if pid == 0:
        try:
            os.execvp(program[0], program)
        except OSError as error:
            print(f"{program[0]}: {error}", file=sys.stderr)
        os._exit(127)
    return pid


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes one way, to their end."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()


async def join(mine: Ends, other: Ends) -> None:
    """A connection of the program's and one of the gate's, both ways."""

    async def leave() -> None:
        open_ends.append(mine)
        try:
            await pipe(mine[0], other[1])
        finally:
            open_ends.remove(mine)

    try:
        await asyncio.gather(leave(), pipe(other[0], mine[1]))
    finally:
        for _, writer in (mine, other):
            writer.close()


async def gate(words: str) -> Ends:
    """A connection to the gate, and what it is for."""
    reader, writer = await asyncio.open_unix_connection(GATE)
    writer.write(f"{words}\n".encode())
    return reader, writer


async def lead(port: int, made: socket.socket) -> asyncio.Server:
    """Connections to a port are led to the gate."""

    async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            other = await gate(f"out {port}")
        except OSError:
            writer.transport.abort()
            return
        await join((reader, writer), other)

    return await asyncio.start_server(taken, sock=made)


async def dial(number: str, port: int) -> None:
    """The grader wants a connection to a server in here."""
    try:
        mine = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        _, writer = await gate(f"in {number} refused")
        writer.close()
        return
    await join(mine, await gate(f"in {number} open"))


async def serve(ports: dict[int, socket.socket]) -> None:
    """Lead the ports, and do what the grader asks for."""
    servers = {port: await lead(port, made) for port, made in ports.items()}
    reader, writer = await gate("control")
    tasks: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        verb, *words = line.decode().split()
        if verb == "listen" and int(words[0]) not in servers:
            servers[int(words[0])] = await lead(int(words[0]), listener(int(words[0])))
        elif verb == "close" and (server := servers.pop(int(words[0]), None)) is not None:
            server.close()
        if verb in ("listen", "close"):
            writer.write(line)
        elif verb == "dial":
            task = asyncio.create_task(dial(words[0], int(words[1])))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


def ended(pid: int) -> None:
    """Wait for the program, pass on what it had written, and end as it did."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    end = time.monotonic() + LAST_BYTES
    while open_ends and time.monotonic() < end:
        time.sleep(0.002)
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    confine(*map(int, sys.argv[1].split(",")))
    sockets = {int(port): listener(int(port)) for port in sys.argv[2].split(",") if port}
    child = start(sys.argv[3:])
    import asyncio  # while the program starts
    import threading

    threading.Thread(target=ended, args=(child,), daemon=True).start()
    try:
        asyncio.run(serve(sockets))
    except OSError as error:
        print(f"the gate is closed: {error}", file=sys.stderr)
    threading.Event().wait()  # until the program has ended
