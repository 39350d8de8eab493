"""The supervisor and its keeper: what a kernel starts never outlives it."""

import asyncio
import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from classroom_help import Kernel, eventually, marked, running

from classroom import keeper_link, logs, owners
from classroom.keeper_link import Link
from classroom.supervisor import Child, ChildEnded, Supervisor, SupervisorError, supervisor

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
# a child with a grandchild in its group and another that left the group
FAMILY = """
import os, subprocess, sys, time
nap = [sys.executable, "-c", "import time; time.sleep(600)"]
subprocess.Popen(nap); subprocess.Popen(nap, start_new_session=True)
print("family", flush=True)
time.sleep(600)
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def own():
    """A supervisor apart from the process-wide one, whose keeper ends with the test."""
    mine = Supervisor()
    yield mine
    if mine._link:
        keeper = mine._link._process
        keeper.stdin.close()
        keeper.wait(20)


async def test_a_child_runs_prints_and_ends(log: Path):
    """Output of both streams goes to the log; the exit code arrives."""
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)"
    child = supervisor().spawn([sys.executable, "-c", code], log=log)
    assert await child.wait(timeout=20) == 3
    assert child.tail() == ["out", "err"]
    assert not child.alive
    assert child.returncode == 3
    assert child.signal(signal.SIGTERM) is False


async def test_the_environment_and_folder_are_exact(log: Path, tmp_path: Path):
    """env= is the whole environment; without it the child has ours; stdin is empty."""
    code = "import os, sys; print(sorted(os.environ), os.getcwd(), repr(sys.stdin.read()))"
    env = {"ONLY": "this", "LC_CTYPE": "C.UTF-8"}
    child = supervisor().spawn([sys.executable, "-c", code], env=env, cwd=tmp_path, log=log)
    assert await child.wait(timeout=20) == 0
    assert child.tail() == [f"['LC_CTYPE', 'ONLY'] {tmp_path} ''"]
    inherited = supervisor().spawn(["sh", "-c", "echo $PATH; pwd"], log=tmp_path / "other")
    await inherited.wait(timeout=20)
    assert inherited.tail() == [os.environ["PATH"], str(Path.cwd())]


def test_what_cannot_start_says_so(log: Path, tmp_path: Path):
    """The error of exec or of the log file arrives as the OSError it is, with the file's name."""
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        supervisor().spawn(["no-such-program"], log=log)
    with pytest.raises(FileNotFoundError, match="missing"):
        supervisor().spawn(SLEEPER, log=tmp_path / "missing" / "log")
    with pytest.raises(PermissionError):
        supervisor().spawn([str(tmp_path)], log=log)
    with pytest.raises(OSError, match="embedded null"):
        supervisor().spawn(["a\0b"], log=log)


async def test_the_ready_line(log: Path):
    """The line comes through a descriptor named in argv; without a line the wait ends when the child does."""
    code = "import os, sys; os.write(int(sys.argv[1]), b'{\"url\": 1}\\nmore'); sys.stdin.read()"
    child = supervisor().spawn([sys.executable, "-c", code, "{ready_fd}"], log=log, pass_ready=True)
    assert await child.ready_line(timeout=20) == '{"url": 1}'
    silent = supervisor().spawn(["sh", "-c", "exit 1"], log=log, pass_ready=True)
    with pytest.raises(ChildEnded, match="before it was ready"):
        await silent.ready_line(timeout=20)
    slow = supervisor().spawn(SLEEPER, log=log, pass_ready=True)
    with pytest.raises(TimeoutError):
        await slow.ready_line(timeout=0.05)
    slow.kill()


async def test_a_cancelled_waiter_harms_no_other(log: Path):
    child = supervisor().spawn(SLEEPER, log=log)
    first, second = asyncio.create_task(child.wait()), asyncio.create_task(child.wait())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    child.kill()
    assert await asyncio.wait_for(second, 20) == -signal.SIGKILL


def test_kill_is_immediate_and_takes_the_group(log: Path):
    """When kill() returns the process is gone; so is what it forked."""
    child = supervisor().spawn([sys.executable, "-c", FAMILY], log=log)
    eventually(lambda: child.tail() == ["family"])
    group = [int(pid) for pid in Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()]
    assert len(group) == 2
    child.kill()
    assert child.returncode == -signal.SIGKILL
    eventually(lambda: not running(group[0]), what="the end of the grandchild")
    os.kill(group[1], signal.SIGKILL)  # it left the group: it would go with the kernel (below)


def test_pause_and_go_on(log: Path):
    code = "import time\nwhile True: print(1, flush=True); time.sleep(0.01)"
    child = supervisor().spawn([sys.executable, "-c", code], log=log)
    eventually(lambda: log.stat().st_size)
    child.signal(signal.SIGSTOP)
    eventually(lambda: Path(f"/proc/{child.pid}/stat").read_text().split()[2] == "T")
    assert child.alive
    child.kill()
    assert not child.alive


def test_any_thread_may_spawn(log: Path, tmp_path: Path):
    """Children outlive the thread that asked for them."""
    children: list[Child] = []
    threads = [
        threading.Thread(target=lambda n=n: children.append(supervisor().spawn(SLEEPER, log=tmp_path / str(n))))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({child.pid for child in children}) == 8
    assert all(child.alive and running(child.pid) for child in children)
    for child in children:
        child.kill()


async def test_a_log_is_bounded(log: Path):
    """20 MB printed leave at most two files of about 1 MiB, and the last lines are right."""
    code = "for n in range(200_000): print(f'{n:099}')"
    child = supervisor().spawn([sys.executable, "-c", code], log=log)
    assert await child.wait(timeout=60) == 0
    sizes = [path.stat().st_size for path in log.parent.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= logs.LIMIT + 64 * 1024
    assert [int(line) for line in child.tail(3)] == [199_997, 199_998, 199_999]


def test_folders(own: Supervisor):
    """Private, below one root, and forgotten on demand; nothing else can be."""
    folder = own.folder("redis-")
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "data").write_text("x")
    own.forget(folder)
    own.forget(folder)
    assert not folder.exists()
    with pytest.raises(ValueError, match="not a folder that this supervisor gave"):
        own.forget(Path.cwd())


def test_a_killed_keeper_takes_the_children_and_is_replaced(own: Supervisor, log: Path):
    """No child is orphaned, waiters are told, folders stay, the next spawn works."""
    folder = own.folder()
    child = own.spawn(SLEEPER, log=log)
    own._link._process.kill()
    eventually(lambda: not child.alive)
    assert child.returncode == -signal.SIGKILL
    eventually(lambda: not running(child.pid))
    again = own.spawn(SLEEPER, log=log)
    assert again.alive
    assert folder.is_dir()


def test_a_keeper_that_cannot_work_is_an_error(own: Supervisor, monkeypatch: pytest.MonkeyPatch):
    root, own._root = own._root, Path("/proc/nowhere")
    with pytest.raises(SupervisorError, match="Set TMPDIR to a folder with room"):
        own.folder()
    own._root = root
    monkeypatch.setattr(keeper_link, "KEEPER", "raise SystemExit('no keeper today')")
    with pytest.raises(SupervisorError, match="no keeper today"):
        own.folder()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(SupervisorError, match="does not start"):
        own.folder()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"null",
        b"[1]",
        b"7",
        b'{"child": []}',
        b'{"id": {}}',
        b'{"child": 99, "exit": 0}',
        b"{}",
    ],
)
def test_garbage_from_the_keeper_is_passed_over(own: Supervisor, line: bytes, log: Path):
    child = own.spawn(SLEEPER, log=log)
    own._link._take(line)
    assert child.alive
    child.kill()
    assert child.returncode == -signal.SIGKILL


def test_garbage_to_the_keeper_is_passed_over(own: Supervisor, log: Path):
    own.folder()
    for line in (b"\xff\n", b"{}\n", b"[]\n", b'{"id": 1}\n', b'{"id": 1, "op": "explode"}\n', b'{"id":1,"op":[]}\n'):
        os.write(own._link._stdin.fileno(), line)
    assert own.spawn(SLEEPER, log=log).alive


def test_an_interrupted_spawn_leaves_nothing(own: Supervisor, log: Path, monkeypatch: pytest.MonkeyPatch):
    """A cell interrupted while it waits for the answer: the process that started all the same is killed."""
    mark = f"interrupted-{os.getpid()}"
    ask = Link.request

    def interrupted(self: Link, *arguments, **fields):
        ask(self, *arguments, **fields)
        raise KeyboardInterrupt

    own.folder()
    monkeypatch.setattr(Link, "request", interrupted)
    with pytest.raises(KeyboardInterrupt):
        own.spawn(SLEEPER, env={"CLASSROOM_TEST_MARK": mark}, log=log)
    eventually(lambda: not marked(mark), what="the end of the interrupted spawn")


STARTS = """
from classroom.supervisor import supervisor
print("begin", flush=True)
for n in range(1000):
    folder = supervisor().folder("data-")
    (folder / "file").write_text("x")
    if n < 5:
        supervisor().spawn([sys.executable, "-c", FAMILY], log=folder / "log")
""".replace("FAMILY", repr(FAMILY))


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(n, marks=pytest.mark.long) for n in range(6, 50))])
def test_a_killed_kernel_leaves_nothing(seed: int, tmp_path: Path):
    """SIGKILL at a random moment of the starting."""
    kernel = Kernel(STARTS, tmp_path / "kernel")
    assert kernel.line() == "begin"
    time.sleep(random.Random(seed).uniform(0, 0.4))  # the moment is the point, not a wait
    kernel.kill()
    kernel.nothing_is_left()


def test_a_kernel_that_ends_by_itself_leaves_nothing(tmp_path: Path):
    kernel = Kernel(STARTS.replace("1000", "7"), tmp_path / "kernel")
    kernel.process.wait(30)
    kernel.nothing_is_left()


def test_two_kernels_do_not_meet(tmp_path: Path):
    """The end of one leaves the other's processes and folders alone, also when they share the temporary folder."""
    one = Kernel(STARTS + "print('up', flush=True); time.sleep(600)", tmp_path / "one")
    two = Kernel(STARTS + "print('up', flush=True); time.sleep(600)", tmp_path / "two")
    for kernel in (one, two):
        assert (kernel.line(), kernel.line()) == ("begin", "up")
    one.kill()
    one.nothing_is_left()
    assert len(marked(two.mark)) == 2 + 5 * 3  # kernel, keeper, five families
    two.kill()
    two.nothing_is_left()


def test_an_interrupt_of_the_kernel_spares_the_keeper(tmp_path: Path):
    """Ctrl-C reaches the kernel's whole group; brokers and services must not go."""
    code = STARTS.replace("range(1000)", "range(2)") + (
        "try:\n    print('up', flush=True); time.sleep(600)\n"
        "except KeyboardInterrupt:\n    print('interrupted', flush=True); time.sleep(600)\n"
    )
    kernel = Kernel(code, tmp_path / "kernel")
    assert (kernel.line(), kernel.line()) == ("begin", "up")
    before = marked(kernel.mark)
    os.killpg(kernel.process.pid, signal.SIGINT)
    assert kernel.line() == "interrupted"
    assert marked(kernel.mark) == before
    kernel.kill()
    kernel.nothing_is_left()


def test_a_terminated_keeper_cleans_up(tmp_path: Path):
    kernel = Kernel(STARTS.replace("range(1000)", "range(2)") + "time.sleep(600)", tmp_path / "kernel")
    keeper = eventually(lambda: [p for p in marked(kernel.mark) if "classroom.keeper" in p])[0]
    eventually(lambda: len(marked(kernel.mark)) == 2 + 2 * 3)
    os.kill(int(keeper.split()[0]), signal.SIGTERM)
    eventually(lambda: len(marked(kernel.mark)) == 1)
    assert not list(kernel.folder.iterdir())
    kernel.kill()


FORKS = """
import multiprocessing
from classroom.supervisor import supervisor
folder = supervisor().folder()
supervisor().spawn([sys.executable, "-c", "import time; time.sleep(600)"], log=folder / "log")
def in_fork():
    mine = supervisor().folder()
    assert mine.parent != folder.parent
    print(os.getpid(), flush=True)
    time.sleep(600)
multiprocessing.get_context("fork").Process(target=in_fork, daemon=True).start()
time.sleep(600)
"""


def test_a_fork_of_the_kernel_holds_nothing_back(tmp_path: Path):
    """The kernel dies, its fork lives on: what the kernel started still goes."""
    kernel = Kernel(FORKS, tmp_path / "kernel")
    fork = int(kernel.line())
    assert len(marked(kernel.mark)) == 5  # kernel, fork, a keeper of each, sleeper
    os.kill(kernel.process.pid, signal.SIGKILL)
    kernel.process.wait()
    eventually(lambda: len(marked(kernel.mark)) == 2, what="the end of what the kernel started")
    assert running(fork)
    os.kill(fork, signal.SIGKILL)
    kernel.process.stdout.close()
    kernel.nothing_is_left()


def test_keeper_and_kernel_killed_together(tmp_path: Path):
    """The children die with the keeper; the folder goes at the next start of a keeper."""
    kernel = Kernel(STARTS.replace("range(1000)", "range(1)") + "time.sleep(600)", tmp_path / "kernel")
    keeper = eventually(lambda: [p for p in marked(kernel.mark) if "classroom.keeper" in p])[0]
    eventually(lambda: len(marked(kernel.mark)) == 2 + 3)
    for pid in (int(keeper.split()[0]), kernel.process.pid):
        os.kill(pid, signal.SIGKILL)
    kernel.process.wait()
    kernel.process.stdout.close()
    left = eventually(lambda: list(kernel.folder.iterdir()))
    assert owners.is_dead(left[0].name.removeprefix(owners.FOLDER_PREFIX))
    for process in eventually(lambda: marked(kernel.mark)):  # only who left its group can still be there
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process.split()[0]), signal.SIGKILL)
    owners.sweep_folders(kernel.folder)
    assert not list(kernel.folder.iterdir())


def test_the_sweep_spares_the_living_and_strangers(tmp_path: Path):
    mine = tmp_path / (owners.FOLDER_PREFIX + owners.label(os.getpid()) + "-x")
    elsewhere = tmp_path / (owners.FOLDER_PREFIX + "999999999-1-00000000-x")
    nonsense = tmp_path / (owners.FOLDER_PREFIX + "a-b-c")
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead = tmp_path / (owners.FOLDER_PREFIX + f"{ended.pid}-1-{owners.place()}-x")
    reused = tmp_path / (owners.FOLDER_PREFIX + f"{os.getpid()}-1-{owners.place()}-x")
    for folder in (mine, elsewhere, nonsense, dead, reused):
        folder.mkdir()
    owners.sweep_folders(tmp_path)
    assert set(tmp_path.iterdir()) == {mine, elsewhere, nonsense}


def test_multiprocessing_still_works(log: Path):
    """A fork with the default tools, after the supervisor was used."""
    supervisor().folder()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(os.getpid) != os.getpid()
    assert supervisor().spawn(["true"], log=log).pid
