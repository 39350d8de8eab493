"""What the tests of classroom share: waiting for a condition, and kernels that are processes of their own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from jupyter_client.manager import KernelManager

T = TypeVar("T")
COLOUR = re.compile("\x1b\\[[0-9;]*m")
MARK = "CLASSROOM_TEST_MARK"  # an environment variable that every process of one test inherits


def eventually(look: Callable[[], T], *, within: float = 20.0, what: str = "the condition") -> T:
    """Poll until `look()` is true and return it; fail after `within` seconds."""
    end = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < end, f"{what} was not seen within {within:g} s"
        time.sleep(0.01)
    return seen


def marked(mark: str) -> list[str]:
    """The processes that bear a mark, as "pid command line"."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if command:  # a zombie has none
                    found.append(f"{process.name} {command}")
        except OSError:
            continue
    return found


def running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Kernel:
    """A Python process that runs `code` with the supervisor at hand, in a group and a temporary folder of its own."""

    def __init__(self, code: str, folder: Path) -> None:
        folder.mkdir()
        work = folder.with_name(f"{folder.name}-work")  # where cells write; the other must be empty at the end
        work.mkdir()
        self.folder, self.mark = folder, f"{os.getpid()}-{id(self)}-{time.monotonic_ns()}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import os, sys, time\nfrom pathlib import Path\n" + code],
            env={**os.environ, "TMPDIR": str(folder), MARK: self.mark},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()

    def nothing_is_left(self) -> None:
        eventually(lambda: not marked(self.mark), what=f"the end of {marked(self.mark)}")
        left = list(self.folder.iterdir())
        assert not left, f"folders are left: {left}"


class Cell:
    """What running a cell gave: its error (name and text, or ""), and text of its outputs."""

    def __init__(self) -> None:
        self.error, self.text, self.displays = "", "", list[str]()


class Notebook:
    """A real Jupyter kernel that runs cells one by one, as a front end would; `views` are its displays by id."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.mark = folder, f"{os.getpid()}-{id(self)}-{time.monotonic_ns()}"
        self.views: dict[str, str] = {}
        self.html: dict[str, str] = {}
        work = folder.with_name(f"{folder.name}-work")  # where cells write; the other one must be empty at the end
        work.mkdir(exist_ok=True)
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(work), env={**os.environ, "TMPDIR": str(folder), MARK: self.mark})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.ok("import asyncio, classroom, os, signal, time\nfrom postoffice import Client")

    def start(self, code: str, cell_id: str = "") -> str:
        """Begin to run a cell; the id of its request."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}}
        content |= {"allow_stdin": False, "stop_on_error": False}
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell_id} if cell_id else {})
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def finish(self, request: str, timeout: float = 60) -> Cell:
        """Take what the kernel publishes until the cell has ended."""
        cell = Cell()
        while not self._take(self.client.get_iopub_msg(timeout=timeout), request, cell):
            pass
        return cell

    def run(self, code: str, cell_id: str = "") -> Cell:
        return self.finish(self.start(code, cell_id))

    def ok(self, code: str, cell_id: str = "") -> str:
        """Run a cell that must not fail; its text."""
        cell = self.run(code, cell_id)
        assert not cell.error, cell.error
        return cell.text

    def view(self) -> str:
        """The text of the newest live output."""
        return list(self.views.values())[-1]

    def until_view(self, text: str) -> str:
        """Run short cells until the newest live output contains a text."""

        def look() -> str:
            self.ok("await asyncio.sleep(0.05)")
            return self.view() if text in self.view() else ""

        return eventually(look, what=f"{text!r} in {self.view()!r}")

    def _take(self, message: dict[str, Any], request: str, cell: Cell) -> bool:
        content, kind = message["content"], message["msg_type"]
        if kind in ("display_data", "update_display_data"):
            ident = content["transient"].get("display_id", "")
            self.views[ident] = content["data"]["text/plain"]
            self.html[ident] = content["data"].get("text/html", "")
            cell.displays.append(content["data"]["text/plain"])
        if message["parent_header"].get("msg_id") != request:
            return False
        if kind == "stream":
            cell.text += content["text"]
        elif kind == "execute_result":
            cell.text += content["data"]["text/plain"]
        elif kind == "error":
            text = "\n".join(content["traceback"])
            cell.error = f"{content['ename']}: {content['evalue']}\n{COLOUR.sub('', text)}"
        return kind == "status" and content["execution_state"] == "idle"

    def close(self) -> None:
        """SIGKILL the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def nothing_is_left(self) -> None:
        eventually(lambda: not marked(self.mark), what=f"the end of {marked(self.mark)}")
        eventually(lambda: not list(self.folder.iterdir()), what="the removal of the folders")
