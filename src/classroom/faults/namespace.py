"""A small disk that only the processes inside see: a tmpfs in a mount namespace of its own (Linux).

    python namespace.py hold FOLDER BYTES READY_FD     makes the disk at FOLDER, and keeps it until killed
    python namespace.py enter PID PROGRAM ARGUMENT...  becomes a program that sees the disk of the holder PID

Nothing has to be unmounted: the disk is gone with the last process that sees it. Root can do this, and other users
where the system lets them have namespaces. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000  # from <linux/sched.h>
MS_NOSUID, MS_NODEV, MS_REC, MS_PRIVATE = 2, 4, 16384, 1 << 18  # from <linux/mount.h>
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4  # from <linux/prctl.h>

_libc = ctypes.CDLL(None, use_errno=True)


def hold(folder: str, size: int, ready_fd: int) -> None:
    """Make the disk, write a line when it is there, stay."""
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        _call("unshare", CLONE_NEWNS)
    else:
        _call("unshare", CLONE_NEWUSER | CLONE_NEWNS)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
    _call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
    _call("mount", b"tmpfs", os.fsencode(folder), b"tmpfs", MS_NOSUID | MS_NODEV, f"size={size}".encode())
    _call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)  # else not even this user may look at it from outside
    os.write(ready_fd, b"ready\n")
    while True:
        signal.pause()


def enter(pid: int, argv: list[str]) -> None:
    """Become a program that sees the disk."""
    folder = os.getcwd()
    for kind, flag in (("user", CLONE_NEWUSER), ("mnt", CLONE_NEWNS)):
        theirs, ours = f"/proc/{pid}/ns/{kind}", f"/proc/self/ns/{kind}"
        if os.readlink(theirs) != os.readlink(ours):
            descriptor = os.open(theirs, os.O_RDONLY | os.O_CLOEXEC)
            _call("setns", descriptor, flag)
    os.chdir(folder)
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # the change of namespaces has cleared it
    os.execvp(argv[0], argv)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


if __name__ == "__main__":
    try:
        if sys.argv[1] == "hold":
            hold(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        else:
            enter(int(sys.argv[2]), sys.argv[3:])
    except OSError as error:
        sys.exit(str(error))
