"""The keeper: a small process that is the parent of every process a kernel starts, and outlives none of them.

The kernel (`classroom.keeper_link`) starts it and talks to it in JSON lines over its stdin and stdout. When
its stdin ends, because the kernel ended in whatever way, the keeper kills every process group, removes the
containers that bear its owner's label and the owner's folder, and exits.

    requests  {"id": 1, "op": "spawn", "argv": [...], "env": {...}, "cwd": "...", "log": "...", "ready": true}
              {"id": 2, "op": "signal", "child": 1, "signal": 9}
              {"id": 3, "op": "folder", "prefix": "redis-"}
              {"id": 4, "op": "watch", "docker": "unix:///var/run/docker.sock"}
    answers   {"id": 1, "value": 4711}   or   {"id": 1, "error": [2, "No such file or directory"]}
    events    {"child": 1, "ready": "{...}"}   {"child": 1, "exit": 0, "at": 1.7e9}   (child: its spawn request's id)

It has one thread and needs the standard library only, so that forking is safe and its start is quick.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from classroom import containers, logs, owners

READY_LIMIT = 64 * 1024  # bytes; a longer ready line is cut
CHUNK = 64 * 1024  # bytes a pipe holds on Linux
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # from <linux/prctl.h>

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Child:
    """What the keeper knows of one process: its output pipe, its ready pipe (or None), its log."""

    def __init__(self, ident: int, pid: int, log: logs.Log, output: int, ready: int | None) -> None:
        self.ident, self.pid, self.log, self.output, self.ready = ident, pid, log, output, ready
        self.ready_text = b""


class Keeper:
    """One loop over: requests from the kernel, output of children, and SIGCHLD."""

    def __init__(self, root: Path, owner: str) -> None:
        self.root, self.owner = root, owner
        self.parent = os.getppid()
        self.children: dict[int, Child] = {}  # by pid
        self.docker: str | None = None
        self.ended = False
        self.buffer = b""
        self.selector = selectors.DefaultSelector()
        self.wakeup, wakeup_write = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(wakeup_write, False)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        # handlers, not SIG_IGN: an ignored signal would stay ignored in the children
        for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(ignored, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)
        self._on(0, self._read_requests)
        self._on(self.wakeup, lambda: None)  # its bytes are read in reap()

    def run(self) -> None:
        """Serve until the kernel is gone, then leave nothing."""
        while not self.ended:
            # 1 s: a kernel whose fork still holds our stdin is noticed by the change of parent
            for key, _ in self.selector.select(1.0):
                key.data()
            self._reap()
            self.ended = self.ended or os.getppid() != self.parent
        self._leave_nothing()

    def _end(self, *_: object) -> None:
        self.ended = True

    def _on(self, fd: int, callback: Callable[[], object]) -> None:
        os.set_blocking(fd, False)
        self.selector.register(fd, selectors.EVENT_READ, callback)

    # requests

    def _read_requests(self) -> None:
        data = _read(0)
        if data is None:
            return
        if not data:
            self.ended = True
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            self._answer(line)

    def _answer(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            ident, operation = int(request["id"]), self.operations[request["op"]]
        except (ValueError, KeyError, TypeError) as error:
            self._say({"garbage": f"{type(error).__name__}: {error}"})
            return
        try:
            self._say({"id": ident, "value": operation(self, request)})
        except OSError as error:
            self._say({"id": ident, "error": [error.errno or errno.EIO, error.strerror or str(error), error.filename]})
        except (KeyError, TypeError, ValueError, subprocess.SubprocessError) as error:
            self._say({"id": ident, "error": [errno.EINVAL, f"{type(error).__name__}: {error}"]})

    def _say(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        try:
            while data:
                data = data[os.write(1, data) :]
        except OSError:  # nobody listens: the kernel is gone
            self.ended = True

    def _spawn(self, request: dict[str, Any]) -> int:
        log = logs.Log(request["log"])
        output, output_write = os.pipe()
        ready, ready_write = os.pipe() if request["ready"] else (None, None)
        argv = [str(part).replace("{ready_fd}", str(ready_write)) for part in request["argv"]]
        keeper = os.getpid()
        try:
            process = subprocess.Popen(
                argv,
                env=request["env"],
                cwd=request["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=output_write,
                stderr=output_write,
                start_new_session=True,
                pass_fds=() if ready_write is None else (ready_write,),
                preexec_fn=lambda: _die_with(keeper),  # safe: the keeper has one thread
            )
        except BaseException:
            for fd in (output, ready):
                if fd is not None:
                    os.close(fd)
            log.close()
            raise
        finally:
            os.close(output_write)
            if ready_write is not None:
                os.close(ready_write)
        process.returncode = 0  # reaped by waitpid(-1) in _reap: Popen must not wait for this pid
        child = Child(request["id"], process.pid, log, output, ready)
        self.children[process.pid] = child
        self._on(output, lambda: self._pump(child))
        if ready is not None:
            self._on(ready, lambda: self._read_ready(child))
        return process.pid

    def _signal(self, request: dict[str, Any]) -> bool:
        for child in self.children.values():
            if child.ident == request["child"]:
                return _kill_group(child.pid, request["signal"])
        return False

    def _folder(self, request: dict[str, Any]) -> str:
        self.root.mkdir(mode=0o700, exist_ok=True)
        return tempfile.mkdtemp(prefix=request["prefix"], dir=self.root)

    def _watch(self, request: dict[str, Any]) -> None:
        self.docker = request["docker"]
        if os.fork() == 0:  # the sweep may take long: not in this loop
            with contextlib.suppress(BaseException):
                containers.sweep(self.docker, owners.is_dead)
            os._exit(0)

    operations: ClassVar = {"spawn": _spawn, "signal": _signal, "folder": _folder, "watch": _watch}

    # children

    def _pump(self, child: Child) -> bool:
        """Move what the child printed to its log; False when there is nothing now."""
        data = _read(child.output)
        if data:
            child.log.write(data)
        elif data == b"":
            self._close(child.output)
            child.output = -1
        return bool(data)

    def _read_ready(self, child: Child) -> None:
        if child.ready is None or (data := _read(child.ready)) is None:
            return
        child.ready_text += data
        if b"\n" in child.ready_text or not data or len(child.ready_text) > READY_LIMIT:
            line = child.ready_text[:READY_LIMIT].partition(b"\n")[0]
            self._close(child.ready)
            child.ready = None
            self._say({"child": child.ident, "ready": line.decode(errors="replace") or None})

    def _close(self, fd: int) -> None:
        if fd >= 0:
            self.selector.unregister(fd)
            os.close(fd)

    def _reap(self) -> None:
        while _read(self.wakeup):
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if child := self.children.pop(pid, None):
                self._bury(child, os.waitstatus_to_exitcode(status), time.time())

    def _bury(self, child: Child, code: int, at: float) -> None:
        _kill_group(child.pid, signal.SIGKILL)  # what it forked ends with it
        for _ in range(logs.LIMIT // CHUNK):  # its last words; bounded, a stranger may hold the pipe
            if child.output < 0 or not self._pump(child):
                break
        self._read_ready(child)
        self._close(child.output)
        if child.ready is not None:
            self._close(child.ready)
            self._say({"child": child.ident, "ready": None})
        child.log.close()
        self._say({"child": child.ident, "exit": code, "at": at})

    # the end

    def _leave_nothing(self) -> None:
        self._kill_all(time.monotonic() + 5)
        if self.docker:
            containers.remove(self.docker, self.owner)
        owners.remove_folder(self.root)
        if self.docker:  # a create may still be under way in the daemon
            containers.remove_late(self.docker, self.owner)

    def _kill_all(self, deadline: float) -> None:
        """Kill groups, and as the subreaper also whoever left its group, until no child is left."""
        while time.monotonic() < deadline:
            for pid in [*self.children, *_child_pids()]:
                _kill_group(pid, signal.SIGKILL)
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while (pid := os.waitpid(-1, os.WNOHANG)[0]) > 0:
                    self.children.pop(pid, None)
                time.sleep(0.005)
                continue
            return


def _read(fd: int) -> bytes | None:
    """Bytes, b"" at the end, None when there is nothing now."""
    try:
        return os.read(fd, CHUNK)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _kill_group(pid: int, number: int) -> bool:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):  # macOS: PermissionError for a group of zombies
        return False
    return True


def _child_pids() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(pid) for pid in Path("/proc/self/task", str(os.getpid()), "children").read_text().split()]
    return []


def _die_with(keeper: int) -> None:
    """In a new child, before exec: be killed when the keeper ends (Linux)."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)


def main(root: str, owner: str) -> None:
    """Be the keeper of one kernel: `root` is the folder of its folders, `owner` its label."""
    os.chdir("/")
    if _libc is not None:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        Path(root).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        sys.exit(f"{root} cannot be made: {error.strerror}. Set TMPDIR to a folder with room, and restart the kernel.")
    owners.sweep_folders(Path(root).parent)
    Keeper(Path(root), owner).run()
