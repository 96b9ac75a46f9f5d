"""
Tests for L{holepunch.lab.namespaces}: the life of a lab, and programs in it.
"""

from __future__ import annotations

import contextlib
import glob
import os
import signal
import socket
import subprocess
import sys

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from holepunch.errors import BadTopology, LabError
from holepunch.lab.enginelink import engineEnvironment
from holepunch.lab.namespaces import NamespaceLab, available
from holepunch.lab.topology import Topology

from .kernel import (
    SERVER,
    LabTestCase,
    isRunning,
    reactor,
    readable,
    received,
    until,
)


def holders(inode: int) -> list[str]:
    """
    Whatever keeps a network namespace alive: processes inside, and open descriptors.
    """
    found = []
    for path in glob.iglob("/proc/[0-9]*/ns/net"):
        with contextlib.suppress(OSError):
            if os.stat(path).st_ino == inode:
                found.append(path)
    for path in glob.iglob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(path) == f"net:[{inode}]":
                found.append(path)
    return found


#: Take all privileges from root but the one to map its own user, which others have anyway.
WITHOUT_PRIVILEGES = (
    ["setpriv", "--bounding-set", "-all,+setfcap", "--inh-caps", "-all", "--"]
    if os.geteuid() == 0
    else []
)

#: A program that builds a lab with a program in it, says who they are, and waits.
OWNER = """
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from holepunch.lab.namespaces import NamespaceLab
from holepunch.lab.topology import Topology

async def start():
    lab = NamespaceLab(reactor, Topology.parse("kernel/none"))
    await lab.start()
    sleeper = lab.popen("alice", ["sleep", "600"])
    inside = await lab.run("alice", ["stat", "-Lc", "%i", "/proc/self/ns/net"])
    print(lab.pid, sleeper.pid, int(inside), flush=True)

Deferred.fromCoroutine(start())
reactor.run()
"""

#: A program that builds a lab, and shows that a packet gets through it.
USER = """
import socket
from twisted.internet import task
from twisted.internet.defer import Deferred
from holepunch.lab.namespaces import NamespaceLab
from holepunch.lab.topology import Topology

async def run(reactor):
    lab = NamespaceLab(reactor, Topology.parse("port-restricted/kernel"))
    await lab.start()
    server = await lab.makeSocket("rendezvous", socket.SOCK_DGRAM)
    server.bind(("5.1.0.1", 80))
    server.settimeout(5)
    for host in ("alice", "bob"):
        await lab.run(host, ["true"])
        sock = await lab.makeSocket(host, socket.SOCK_DGRAM)
        sock.sendto(host.encode(), ("5.1.0.1", 80))
        data, source = server.recvfrom(100)
        print(data.decode(), source[0], flush=True)
    await lab.stop()

task.react(lambda reactor: Deferred.fromCoroutine(run(reactor)))
"""


class AvailabilityTests(LabTestCase):
    """
    Can there be a lab at all?
    """

    def test_available(self) -> None:
        """
        Where these tests run, a lab can be had.
        """
        self.assertIsNone(available())

    def test_unavailable(self) -> None:
        """
        Without the right to map a user, the reason is a sentence, not a traceback.
        """
        script = "from holepunch.lab.namespaces import available; print(available(True))"
        command = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--"]
        command += [sys.executable, "-c", script]
        said = subprocess.check_output(command, env=engineEnvironment(), text=True)
        self.assertIn("does not allow network namespaces without privileges", said)

    async def test_withoutPrivileges(self) -> None:
        """
        A process without privileges builds a lab with both kinds of NAT, and packets cross it.
        """
        said = Deferred[bytes]()
        collector = _Collector(said)
        command = [*WITHOUT_PRIVILEGES, sys.executable, "-c", USER]
        reactor.spawnProcess(collector, command[0], command, env=engineEnvironment())
        output = await said
        self.assertEqual(output.decode().splitlines(), ["alice 31.1.0.1", "bob 31.2.0.1"])


class _Collector(ProcessProtocol):
    """
    What a process wrote, when it has ended.
    """

    def __init__(self, whenEnded: Deferred[bytes]) -> None:
        self._written = b""
        self._whenEnded = whenEnded

    def outReceived(self, data: bytes) -> None:
        self._written += data

    def errReceived(self, data: bytes) -> None:
        self._written += data

    def processEnded(self, reason: Failure) -> None:
        self._whenEnded.callback(self._written)


class CommandTests(LabTestCase):
    """
    Programs inside.
    """

    async def test_run(self) -> None:
        """
        A command sees the host's interface and nothing of this machine.
        """
        await self.start("port-restricted/none")
        listed = (await self.lab.run("alice", ["cat", "/proc/net/dev"])).decode()
        names = [line.split(":")[0].strip() for line in listed.splitlines()[2:]]
        self.assertEqual(sorted(names), ["eth0", "lo"])

    async def test_failure(self) -> None:
        """
        A command that fails, or that there is not, says so.
        """
        await self.start("none/none")
        with self.assertRaises(LabError) as caught:
            await self.lab.run("alice", ["sh", "-c", "echo why >&2; exit 3"])
        self.assertIn("ended with 3: why", str(caught.exception))
        with self.assertRaises(LabError) as caught:
            await self.lab.run("alice", ["no-such-command"])
        self.assertIn("no-such-command: No such file or directory", str(caught.exception))

    async def test_spawn(self) -> None:
        """
        A command runs under the reactor with the environment that it was given.
        """
        await self.start("none/none")
        said = Deferred[bytes]()
        self.lab.spawn(_Collector(said), "bob", ["sh", "-c", "echo $WORD"], env={"WORD": "hello"})
        self.assertEqual(await said, b"hello\n")

    async def test_loopbackAndLowPorts(self) -> None:
        """
        A host has a loopback interface, and every port is free to be used.
        """
        await self.start("none/none", isRootless=True)
        server = await self.bound("alice", local=7)
        client = await self.bound("alice")
        client.sendto(b"x", ("127.0.0.1", 7))
        await readable(server)

    async def test_kernelRouter(self) -> None:
        """
        A kernel NAT is a place to run commands in, too.
        """
        await self.start("kernel/none")
        rules = await self.lab.run("nat-alice", ["nft", "list", "ruleset"])
        self.assertIn(b"masquerade", rules)


class EndTests(LabTestCase):
    """
    Nothing is left behind.
    """

    async def test_stopKillsPrograms(self) -> None:
        """
        Whatever still runs in the hosts ends with the lab.
        """
        await self.start("none/none", isRootless=True)
        engine = self.lab.pid
        sleeper = self.lab.popen("alice", ["sleep", "600"])
        await self.lab.run("alice", ["true"])
        await self.lab.stop()
        self.assertEqual(sleeper.wait(), -signal.SIGKILL)
        self.assertFalse(isRunning(engine))

    async def test_afterwards(self) -> None:
        """
        A lab that does not run says so; to stop it again does nothing.
        """
        lab = NamespaceLab(reactor, Topology.parse("none/none"))
        self.assertRaises(LabError, lab.command, "alice", ["true"])
        await lab.stop()

    async def test_engineKilled(self) -> None:
        """
        When the engine is killed, requests fail, and stopping the lab still kills the programs.
        """
        await self.start("none/none")
        sleeper = self.lab.popen("alice", ["sleep", "600"])
        await self.lab.run("alice", ["true"])
        os.kill(self.lab.pid, signal.SIGSTOP)
        request = self.lab.unblock("alice")
        os.kill(self.lab.pid, signal.SIGKILL)
        for _ in range(2):
            with self.assertRaises(LabError):
                await request
            request = self.lab.unblock("alice")
        with self.assertRaises(LabError):
            await request
        await self.lab.stop()
        self.assertEqual(sleeper.wait(), -signal.SIGKILL)

    async def test_ownerKilled(self) -> None:
        """
        After C{kill -9} of the program that built the lab, processes and namespaces are gone.
        """
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER], env=engineEnvironment(), stdout=subprocess.PIPE
        )
        assert owner.stdout is not None
        self.addCleanup(owner.stdout.close)
        engine, sleeper, inode = map(int, owner.stdout.readline().split())
        self.assertEqual(os.stat(f"/proc/{sleeper}/ns/net").st_ino, inode)
        owner.kill()
        owner.wait()
        await until(lambda: not isRunning(engine) and not isRunning(sleeper))
        await until(lambda: not holders(inode))

    async def test_cancelledStart(self) -> None:
        """
        A start that is cancelled leaves no engine.
        """
        lab = NamespaceLab(reactor, Topology.parse("none/none"))
        starting = lab.start()
        engine = lab.pid
        starting.cancel()
        with self.assertRaises(CancelledError):
            await starting
        self.assertFalse(isRunning(engine))

    async def test_cannotBuild(self) -> None:
        """
        When the lab cannot be built, starting it says why, and the engine is gone.
        """
        topology = Topology.parse("kernel/none")
        lab = NamespaceLab(reactor, topology)
        self.patch(os, "environ", {**os.environ, "PATH": "/nowhere"})
        with self.assertRaises(LabError) as caught:
            await lab.start()
        self.assertIn("package nftables", str(caught.exception))
        await lab.stop()


class SocketTests(LabTestCase):
    """
    Sockets inside, used from outside.
    """

    async def test_socket(self) -> None:
        """
        A socket that the lab makes belongs to its host, whoever uses it.
        """
        await self.start("none/none")
        server = await self.bound("rendezvous", local=SERVER)
        client = await self.bound("alice")
        client.sendto(b"hello", (SERVER.host, SERVER.port))
        data, source = await received(server)
        self.assertEqual((data, source.host), (b"hello", "31.1.0.10"))

    async def test_unknownHost(self) -> None:
        """
        There are no sockets in hosts that do not exist.
        """
        await self.start("none/none")
        with self.assertRaises(LabError):
            await self.lab.makeSocket("carol", socket.SOCK_DGRAM)
        self.assertRaises(BadTopology, self.lab.command, "carol", ["true"])

    async def test_cancelled(self) -> None:
        """
        A socket that nobody waits for any more is not taken for the next one.
        """
        await self.start("none/none")
        request = self.lab.makeSocket("alice", socket.SOCK_DGRAM)
        request.addErrback(lambda failure: failure.trap(CancelledError))
        request.cancel()
        with await self.lab.makeSocket("bob") as sock:
            self.assertEqual(sock.type, socket.SOCK_STREAM)
            sock.bind(("31.2.0.10", 80))
