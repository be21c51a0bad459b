"""The wall around a kernel that runs a student's code.

bubblewrap builds a room: a process table, a network and a file system of its own, of which only Python and the course's package are in
sight, read-only, and a small ``/tmp``. It starts programs, and a warm kernel is a fork; so what it starts is a ``cat`` that holds the room
open, and the kernel's keeper walks in (``setns``) and forks the kernel there, which takes limits on, gives every right away and becomes a user
who owns nothing. When the room's holder is killed the kernel system ends all that ran in it, so that nothing can stay behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import dlcourse_utils

_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_CAPABILITY_VERSION_3 = 0x20080522
#: The first of the user ids that kernels get where root grades; nobody's on Debian, Fedora and their like.
_FIRST_UID, _UIDS = 64_000, 1_000

CURE = "Install bubblewrap 0.8 or newer and allow user namespaces, or grade with '--sandbox off' (DLCOURSE_SANDBOX=off) where you trust every submission."


class NoWallError(Exception):
    """No sandbox can be had here; the message says why and what to do."""


@dataclass(frozen=True)
class Limits:
    """What one kernel may use.

    Attributes:
        memory: bytes that each of its processes may ask for, and all together may have, beyond what a warm interpreter has.
        disk: bytes in its ``/tmp``, and in any one file.
        output: characters that one cell may print.
        processes: how many processes and threads.
        files: how many open files.
        seconds: of CPU time.
    """

    memory: int = 4 * 2**30
    disk: int = 256 * 2**20
    output: int = 500_000
    processes: int = 128
    files: int = 512
    seconds: int = 1_200


class Room:
    """A room that bubblewrap holds open. Close it to end everything in it.

    Raises:
        NoWallError: bubblewrap is missing, or may not do its work here.
    """

    def __init__(self, limits: Limits) -> None:
        found = shutil.which("bwrap")
        if found is None:
            raise NoWallError(f"There is no sandbox: bubblewrap (bwrap) is not installed. {CURE}")
        told, tell = os.pipe()
        try:
            command = [found, *_arguments(limits), "--info-fd", str(tell), "--", "/usr/bin/cat"]
            self._holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[tell])
        finally:
            os.close(tell)
        with open(told, "rb") as info:
            said = info.read()
        ready = self._echo()
        if not ready:
            self._holder.kill()
            reason = self._holder.communicate()[1].decode(errors="replace").strip()
            raise NoWallError(f"There is no sandbox: bubblewrap failed ({reason or 'it said nothing'}). {CURE}")
        self.pid = int(json.loads(said)["child-pid"])
        #: Who those become that walk in, where root grades.
        self.user = _FIRST_UID + os.getpid() % _UIDS

    def _echo(self) -> bool:
        """Whether the holder runs: it answers only when the room stands."""
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        try:
            self._holder.stdin.write(b"\n")
            self._holder.stdin.flush()
        except BrokenPipeError:
            return False
        return self._holder.stdout.readline() == b"\n"

    @property
    def root(self) -> str:
        """Where the room's file system is seen from outside."""
        return f"/proc/{self.pid}/root"

    def close(self) -> None:
        """End everything in the room. When this returns, nothing in it runs."""
        if self._holder.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # the first process of the room's table: the system ends the others before it is gone
        self._holder.communicate()


@functools.cache
def missing() -> str:
    """Why there is no sandbox on this machine, and the cure; empty where there is one."""
    if sys.platform != "linux":
        return f"There is no sandbox on this system ({sys.platform}). {CURE}"
    try:
        Room(Limits()).close()
    except NoWallError as error:
        return str(error)
    return ""


def _arguments(limits: Limits) -> Iterator[str]:
    """Bubblewrap's arguments: what is in sight, and that the rest is not."""
    yield from ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
    if os.geteuid():  # root needs no user namespace, and files of the user that its kernels become could not lie in one
        yield "--unshare-user"
    yield from ("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "grading")
    yield from ("--dev", "/dev")
    for place in ("/tmp", "/dev/shm"):
        yield from ("--size", str(limits.disk), "--perms", "1777", "--tmpfs", place)
    package = Path(dlcourse_utils.__file__).resolve().parent
    installed = [name for name in sys.path if name.endswith(("site-packages", "dist-packages")) and os.path.isdir(name)]
    for path in dict.fromkeys(map(Path, ("/usr", sys.base_prefix, sys.prefix, *installed, str(package)))):
        for above in reversed(path.parents[:-1]):  # bubblewrap itself would make them for their owner's eyes only
            yield from ("--perms", "0755", "--dir", str(above))
        yield from ("--ro-bind", str(path), str(path))
    if (package / "instructor").is_dir():
        yield from ("--tmpfs", str(package / "instructor"))
    for name in ("/lib", "/lib64", "/bin", "/sbin"):
        if os.path.islink(name):
            yield from ("--symlink", os.readlink(name), name)
        elif os.path.isdir(name):
            yield from ("--ro-bind", name, name)
    for name in ("/etc/ld.so.cache", "/etc/fonts", "/etc/localtime", "/etc/alternatives"):
        yield from ("--ro-bind-try", name, name)
    yield from ("--proc", "/proc", "--remount-ro", "/dev", "--remount-ro", "/")


def run_inside(room: Room | None, limits: Limits, work: Callable[[], None]) -> int:
    """Walk into the room, and fork a process that does ``work`` there, under the limits and without rights; returns its process id.

    The caller stays in the room: it sees the room's files from then on, and whatever else it forks is in there, too. A fork of a large process
    is dear, so it is not done for the walk alone. Without a room there are only the limits.
    """
    if room is not None:
        flags = _CLONE_NEWPID | _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS | _CLONE_NEWNS | (_CLONE_NEWUSER if os.geteuid() else 0)
        _call("setns", os.pidfd_open(room.pid), flags)
    child = os.fork()  # only a child of ours is in the room's process table
    return child or _end_with(lambda: _work_inside(room, limits, work))


def _work_inside(room: Room | None, limits: Limits, work: Callable[[], None]) -> None:
    os.setsid()  # so that who ends this group ends all of it
    if room is None:
        _end_with_parent()
    _give_up_rights(limits, None if room is None else room.user)
    work()


def _end_with_parent() -> None:
    """Where the system can: when the parent is killed, this process is, too."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _end_with(work: Callable[[], object]) -> NoReturn:
    """Do ``work`` in a forked process and end it there, without the parent's clean-up."""
    status = 1
    try:
        work()
        status = 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(2, f"the grading kernel cannot start: {error!r}\n".encode())
    finally:
        os._exit(status)


def _give_up_rights(limits: Limits, user: int | None) -> None:
    """Take the limits on; behind a wall, where there is a ``user`` to become, give every right away, too."""
    _take_on(limits, processes=user is not None)  # outside, the user's other processes would count
    if user is None:
        return
    _lose_capabilities()
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    _forget_capabilities()


def restrain(limits: Limits) -> None:
    """Limits, and no rights beyond its user's, for a process of our own that listens to a kernel; where root grades it has no network either."""
    with contextlib.suppress(OSError):
        _call("unshare", _CLONE_NEWNET)
    _take_on(limits, processes=False)
    if sys.platform == "linux":
        _lose_capabilities()
        _forget_capabilities()


def _take_on(limits: Limits, *, processes: bool) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if sys.platform == "linux" else 0
    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: limits.disk,
        resource.RLIMIT_NOFILE: limits.files,
        resource.RLIMIT_CPU: limits.seconds,
    }
    if size:  # elsewhere the size of an interpreter is no measure of what it uses
        bounds[resource.RLIMIT_AS] = size + limits.memory
    if processes:
        bounds[resource.RLIMIT_NPROC] = limits.processes
    for kind, bound in bounds.items():
        resource.setrlimit(kind, (bound, bound))


def _lose_capabilities() -> None:
    for capability in range(64):
        _libc().prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # those that this system does not know are none to lose


def _forget_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _call("capset", header, (ctypes.c_uint32 * 6)())
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    """A function of the C library that returns 0 on success.

    Raises:
        OSError: it did not.
    """
    if getattr(_libc(), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
