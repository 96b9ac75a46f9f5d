"""
Linux namespaces by system call: what C{os.unshare} and C{os.setns} are from Python 3.12 on.

Owns: making and entering user and network namespaces, who lives in one, and dying with a parent.
Knows nothing of: links, addresses, topologies.
Driven by: the lab's engine, which makes the namespaces, and L{NamespaceLab}, which looks whether
they can be had.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterable, Iterator

import attrs

from holepunch.errors import NamespacesUnavailable

_NEW_USER = 0x10000000
_NEW_NET = 0x40000000
_SET_PARENT_DEATH_SIGNAL = 1
_MOST_ROUNDS = 20
_CURRENT_NETWORK = "/proc/self/ns/net"


def _call(name: str, *arguments: int) -> None:
    """
    Call a function of the C library that says -1 and C{errno} when it fails.
    """
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def leaveNetwork(isRootless: bool | None) -> bool:
    """
    Move this process into a network namespace of its own.

    @param isRootless: Enter a user namespace first, in which the process is root: needs no
        privileges, but a process with a single thread. C{None}: if it does not go without.
    @return: Is there a user namespace?
    @raise NamespacesUnavailable: The system refuses, or knows no namespaces.
    """
    if not sys.platform.startswith("linux"):
        raise NamespacesUnavailable(
            "Network namespaces exist only on Linux; the simulated lab runs everywhere."
        )
    if not isRootless:
        try:
            _call("unshare", _NEW_NET)
            return False
        except OSError as error:
            if isRootless is False:
                raise NamespacesUnavailable(f"Network namespaces need privileges ({error}).")
    user, group = os.geteuid(), os.getegid()
    try:
        _call("unshare", _NEW_USER | _NEW_NET)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {user} 1")
        _write("/proc/self/gid_map", f"0 {group} 1")
    except OSError as error:
        raise NamespacesUnavailable(
            f"This system does not allow network namespaces without privileges ({error})."
        )
    return True


def dieWithParent(number: signal.Signals) -> None:
    """
    Have the kernel send this process a signal when its parent ends, however that happens.
    """
    _call("prctl", _SET_PARENT_DEATH_SIGNAL, number, 0, 0, 0)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


@attrs.frozen
class NetworkNamespace:
    """
    A network namespace, which lives as long as its descriptor or a process inside.

    @ivar fd: An open descriptor of it in this process.
    """

    fd: int

    @classmethod
    def current(cls) -> NetworkNamespace:
        """
        The one that this process is in.
        """
        return cls(os.open(_CURRENT_NETWORK, os.O_RDONLY | os.O_CLOEXEC))

    @classmethod
    def create(cls) -> NetworkNamespace:
        """
        Make a new one; this process stays where it is.
        """
        home = cls.current()
        try:
            _call("unshare", _NEW_NET)
            try:
                return cls.current()
            finally:
                _call("setns", home.fd, _NEW_NET)
        finally:
            home.close()

    @classmethod
    def heldBy(cls, process: int, fd: int) -> NetworkNamespace:
        """
        One of which another process has a descriptor.
        """
        return cls(os.open(f"/proc/{process}/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC))

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """
        Be inside for the length of a C{with} block: sockets made there belong to it forever.
        """
        home = NetworkNamespace.current()
        try:
            _call("setns", self.fd, _NEW_NET)
            try:
                yield
            finally:
                _call("setns", home.fd, _NEW_NET)
        finally:
            home.close()

    def close(self) -> None:
        """
        Let go of it.
        """
        os.close(self.fd)

    @property
    def inode(self) -> int:
        """
        What tells it from the other namespaces of this machine, as long as it lives.
        """
        return os.fstat(self.fd).st_ino

    def setting(self, name: str, value: int, isOptional: bool = False) -> None:
        """
        Set a C{sysctl} below C{net.} inside, such as C{ipv4.ip_forward}.

        @param isOptional: Bear it when the system refuses (C{/proc/sys} is read-only in most
            containers).
        """
        with self.entered():
            try:
                _write("/proc/sys/net/" + name.replace(".", "/"), str(value))
            except OSError:
                if not isOptional:
                    raise


def inhabitants(namespaces: Iterable[NetworkNamespace]) -> list[int]:
    """
    The ids of the processes that are in one of these network namespaces, this one excepted.
    """
    inodes = {namespace.inode for namespace in namespaces}
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            # A process that has ended meanwhile, or is none of ours.
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}/ns/net").st_ino in inodes:
                    found.append(int(name))
    return found


def killInhabitants(namespaces: Iterable[NetworkNamespace]) -> None:
    """
    Kill whatever still runs in these network namespaces, and what that starts meanwhile.
    """
    ours = tuple(namespaces)
    for _ in range(_MOST_ROUNDS):
        found = inhabitants(ours)
        if not found:
            return
        for process in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
