"""The kernel's end of the keeper: start processes that never outlive the kernel.

    from classroom.supervisor import supervisor

    child = supervisor().spawn([sys.executable, "users.py"], log=folder / "users.log")
    child.kill()
    await child.wait(timeout=5)

Every process is a child of the *keeper* (see keeper.py), not of the kernel: the keeper notices the kernel's
end, even by SIGKILL, and removes what was started. All of this module may be used from any thread.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from classroom import owners
from classroom.keeper_link import Child, ChildEnded, Link, SupervisorError
from classroom.logs import tail

__all__ = ["Child", "ChildEnded", "Supervisor", "SupervisorError", "supervisor", "tail"]


class Supervisor:
    """Starts processes, hands out folders, names what belongs to this kernel. Get it by `supervisor()`."""

    def __init__(self) -> None:
        if os.name != "posix":
            raise SupervisorError("services and brokers need Linux or macOS. On Windows, run the course inside WSL 2.")
        self.label = owners.label(os.getpid())
        self._root = Path(tempfile.gettempdir(), f"{owners.FOLDER_PREFIX}{self.label}-{secrets.token_hex(4)}")
        self._docker: str | None = None
        self._lock = threading.Lock()
        self._link: Link | None = None

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log: Path,
        pass_ready: bool = False,
        kind: type[Child] = Child,
    ) -> Child:
        """Start a process in a group of its own; its output goes to the file `log`, of bounded size.

        `env` is its whole environment (None: this process's). With `pass_ready`, the text `{ready_fd}` in
        `argv` becomes the number of a descriptor; what the child writes to it, up to a newline, is
        `Child.ready_line()`. The child is of the class `kind`. Blocks for a few milliseconds. Raises OSError
        when the program cannot be started, SupervisorError when there is no keeper to start it.
        """
        link = self._connected()
        child = kind(link, link.next_id(), argv, log)
        link.children[child._ident] = child
        try:
            child.pid = link.request(
                "spawn",
                child._ident,
                argv=list(argv),
                env=dict(os.environ if env is None else env),
                cwd=str(cwd or Path.cwd()),
                log=str(log.absolute()),
                ready=pass_ready,
            )
        except OSError:
            link.children.pop(child._ident, None)
            raise
        except BaseException:  # an interrupted cell: what may have started must not stay
            link.post("signal", child=child._ident, signal=int(signal.SIGKILL))
            raise
        return child

    def folder(self, prefix: str = "") -> Path:
        """A new empty folder, for this user only, that is deleted when the kernel ends."""
        return Path(self._connected().request("folder", prefix=prefix))

    def forget(self, path: Path) -> None:
        """Delete a folder that `folder()` gave, now. Missing is fine."""
        if self._root not in Path(path).parents:
            raise ValueError(f"{path} is not a folder that this supervisor gave out (these are in {self._root})")
        shutil.rmtree(path, ignore_errors=True)

    def watch_containers(self, docker: str | None = None) -> None:
        """From now on, when the kernel ends, remove the containers that bear `label`.

        The container label's name is `dead-letter-office.owner`. `docker` is the engine's address; None:
        DOCKER_HOST, else the default socket. Containers left by kernels that are dead by now (their keeper
        was killed with them) are removed in the background.
        """
        self._docker = docker or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        self._connected().request("watch", docker=self._docker)

    def _connected(self) -> Link:
        with self._lock:
            if self._link is None or self._link.ended:
                self._link = Link(self._root, self.label)
                if self._docker:
                    self._link.post("watch", docker=self._docker)
            return self._link


_the_one: Supervisor | None = None
_lock = threading.Lock()


def supervisor() -> Supervisor:
    """The supervisor of this process, made on first use. A forked process gets one of its own."""
    global _the_one
    with _lock:
        if _the_one is None:
            _the_one = Supervisor()
        return _the_one


def _after_fork() -> None:
    global _the_one, _lock
    if _the_one is not None and _the_one._link is not None:
        _the_one._link.close_after_fork()
    _the_one, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
