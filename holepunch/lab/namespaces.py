"""
The lab of kernel namespaces, as the program sees it that wants one.

Owns: the life of the engine process, and how commands and sockets get into its hosts.
Knows nothing of: namespaces, frames, NATs: all that is in the engine.
Driven by: tests, benchmarks, C{holepunch lab}::

    lab = NamespaceLab(reactor, Topology.parse("port-restricted/symmetric"))
    await lab.start()
    print(await lab.run("alice", ["ip", "address"]))
    await lab.stop()

A host of the lab is a network namespace. Programs in it are ordinary programs, with the kernel's
own TCP, that see the interface C{eth0}, C{eth1} where there is a second, and the loopback;
everything else they share with this machine. All of it works without privileges where the system
allows user namespaces.
"""

from __future__ import annotations

import array
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProcessProtocol,
    IProcessTransport,
    IReactorProcess,
    IReactorTime,
)
from twisted.internet.utils import getProcessOutputAndValue

from holepunch.errors import LabError
from holepunch.lab.enginelink import (
    ENGINE_COMMAND,
    TOKEN_LENGTH,
    EngineLink,
    EngineOptions,
    PacketNews,
    engineEnvironment,
)
from holepunch.lab.flows import Flow
from holepunch.lab.isolation import NetworkNamespace, killInhabitants
from holepunch.lab.jsonform import fromPlain, toPlain
from holepunch.lab.topology import HostSpec, LinkSpec, Topology
from holepunch.nat import MappingView, Protocol

_ENTER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "enter.py")
_ENDS_WITHIN = 5.0


class LabReactor(IReactorProcess, IReactorTime):
    """
    What a lab needs of a reactor.
    """


def available(isRootless: bool | None = None) -> str | None:
    """
    Find out whether this system can have such a lab, by building a small one.

    Takes about half a second, and waits for it.

    @param isRootless: As for L{NamespaceLab}.
    @return: C{None}: it can; otherwise a sentence that says why not.
    """
    if not sys.platform.startswith("linux"):
        return "Network namespaces exist only on Linux; the simulated lab runs everywhere."
    topology = Topology((HostSpec(name="probe", addresses="5.1.0.1"),))
    probe = subprocess.run(
        [sys.executable, *ENGINE_COMMAND],
        input=EngineOptions(topology=topology, isRootless=isRootless).line,
        env=engineEnvironment(),
        capture_output=True,
    )
    said = json.loads(probe.stdout.partition(b"\n")[0] or b"{}")
    if "ready" in said:
        return None
    *_, lastWord = probe.stderr.decode(errors="replace").strip().split("\n")
    return str(said.get("failed", f"The lab cannot be built: {lastWord}"))


def enterCommand(engine: int, fd: int, hasUser: bool, arguments: Sequence[str]) -> list[str]:
    """
    What to run on this machine in order to run a command in a namespace that an engine holds.

    @param fd: The engine's descriptor of it.
    @param hasUser: Has the lab a user namespace of its own?
    """
    where = [str(engine), str(fd), str(int(hasUser))]
    return [sys.executable, "-I", "-S", _ENTER, *where, "--", *arguments]


class NamespaceLab:
    """
    A network of hosts and NATs, as real as one machine can make it.

    @param seed: All randomness of links and NATs comes from it.
    @param isRootless: Do without privileges, in a user namespace; C{None}: if it does not
        go without.
    @param useOffload: Let TCP segments cross the lab in long runs, uncut. Without it the lab is
        much slower, but a capture shows the segments as they would be on a real wire.
    @param answersUnroutable: Answer packets to addresses that do not exist with an ICMP error.
    """

    def __init__(
        self,
        reactor: LabReactor,
        topology: Topology,
        *,
        seed: int = 0,
        isRootless: bool | None = None,
        useOffload: bool = True,
        answersUnroutable: bool = False,
    ) -> None:
        self.topology = topology
        self._reactor = reactor
        self._options = EngineOptions(
            topology=topology,
            seed=seed,
            isRootless=isRootless,
            useOffload=useOffload,
            answersUnroutable=answersUnroutable,
        )
        self._link: EngineLink | None = None
        self._sockets: socket.socket | None = None
        self._tokens = itertools.count()
        self._descriptors: dict[str, int] = {}
        self._hasUser = False
        # Held, so that nobody else's namespace gets the same inode before we have cleared up.
        self._held: list[NetworkNamespace] = []

    @property
    def pid(self) -> int:
        """
        The engine process; its own network namespace has the near ends of all wires.
        """
        return self._engine.pid

    @property
    def _engine(self) -> EngineLink:
        if self._link is None:
            raise LabError("The lab is not running.")
        return self._link

    # --- life -----------------------------------------------------------------------------------

    def start(self) -> Deferred[None]:
        """
        Build the lab.

        @raise NamespacesUnavailable: The system does not let us.
        @raise LabError: Something else is missing, such as C{nft} for a kernel NAT.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        if self._link is not None:
            raise LabError("The lab is running already.")
        self._sockets, theirs = socket.socketpair()
        link = self._link = EngineLink()
        with theirs:
            link.start(self._reactor, self._options, theirs.fileno())
        try:
            ready = await link.whenReady
            self._descriptors = ready["descriptors"]
            self._hasUser = ready["hasUser"]
            for fd in self._descriptors.values():
                self._held.append(NetworkNamespace.heldBy(link.pid, fd))
        except BaseException:
            await self._stop()
            raise

    def stop(self) -> Deferred[None]:
        """
        Tear the lab down: kill the programs in it, and let the namespaces vanish.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        link, self._link = self._link, None
        if link is None:
            return
        patience = self._reactor.callLater(_ENDS_WITHIN, link.kill)
        link.close()
        await link.whenEnded
        if patience.active():
            patience.cancel()
        # The engine did that, unless it was killed itself.
        killInhabitants(self._held)
        for namespace in self._held:
            namespace.close()
        self._held.clear()
        if self._sockets is not None:
            self._sockets.close()

    # --- programs and sockets inside ------------------------------------------------------------

    def command(self, host: str, arguments: Sequence[str]) -> list[str]:
        """
        What to run on this machine in order to run a command inside a host.

        @param host: The name of a host, or of a kernel NAT.
        @raise BadTopology: There is none of that name.
        """
        engine = self._engine
        if host not in self._descriptors:
            self.topology.host(host)
        return enterCommand(engine.pid, self._descriptors[host], self._hasUser, arguments)

    def popen(self, host: str, arguments: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """
        Start a command inside a host; C{options} are those of C{subprocess.Popen}.
        """
        return subprocess.Popen(self.command(host, arguments), **options)

    def spawn(
        self,
        protocol: IProcessProtocol,
        host: str,
        arguments: Sequence[str],
        env: Mapping[str, str] | None = None,
    ) -> IProcessTransport:
        """
        Start a command inside a host, under the reactor.

        @param env: Its environment; C{None}: ours.
        """
        command = self.command(host, arguments)
        return self._reactor.spawnProcess(protocol, command[0], command, env=env)

    def run(self, host: str, arguments: Sequence[str]) -> Deferred[bytes]:
        """
        Run a command inside a host to its end.

        @return: What it wrote to its standard output.
        @raise LabError: It failed; the message is what it wrote to its standard error.
        """
        return Deferred.fromCoroutine(self._run(host, arguments))

    async def _run(self, host: str, arguments: Sequence[str]) -> bytes:
        command = self.command(host, arguments)
        output: bytes
        output, errors, status = await getProcessOutputAndValue(
            command[0], command[1:], env=None, reactor=self._reactor
        )
        if status != 0:
            text = errors.decode(errors="replace").strip()
            raise LabError(f"{arguments[0]} in {host} ended with {status}: {text}")
        return output

    def makeSocket(
        self,
        host: str,
        kind: socket.SocketKind = socket.SOCK_STREAM,
        family: socket.AddressFamily = socket.AF_INET,
    ) -> Deferred[socket.socket]:
        """
        Make a socket that belongs to a host, for use in this process.
        """
        return Deferred.fromCoroutine(self._makeSocket(host, kind, family))

    async def _makeSocket(
        self, host: str, kind: socket.SocketKind, family: socket.AddressFamily
    ) -> socket.socket:
        token = next(self._tokens)
        await self._engine.request("makeSocket", host, int(family), int(kind), token)
        assert self._sockets is not None
        while True:
            tag, rights, _, _ = self._sockets.recvmsg(TOKEN_LENGTH, socket.CMSG_SPACE(4))
            made = socket.socket(fileno=array.array("i", rights[0][2])[0])
            if int.from_bytes(tag, "big") == token:
                return made
            # Nobody waits for this one any more.
            made.close()

    # --- the network while it runs --------------------------------------------------------------

    def flushNAT(self, name: str) -> Deferred[None]:
        """
        Let a NAT forget all its mappings, as a restart does.
        """
        return self._engine.request("flushNAT", name)

    def rebindNAT(self, name: str, hosts: Sequence[str]) -> Deferred[None]:
        """
        Give a NAT other external addresses, with none of them the next free ones; its mappings are
        lost.
        """
        return self._engine.request("rebindNAT", name, hosts)

    def moveHost(self, name: str, hosts: Sequence[str], behind: str | None) -> Deferred[None]:
        """
        Take a host to another network; its interface gets other addresses.
        """
        return self._engine.request("moveHost", name, hosts, behind)

    def setLink(self, name: str, link: LinkSpec) -> Deferred[None]:
        """
        Change the link of a host or NAT.
        """
        return self._engine.request("setLink", name, toPlain(link))

    def block(
        self, host: str, protocol: Protocol | None = None, remote: str | None = None
    ) -> Deferred[None]:
        """
        Stop packets to and from a host, as a firewall does, or a cable that is pulled out; of a
        host with several interfaces, those of the one with that name.

        @param protocol: Those of one protocol.
        @param remote: Those of one other IP address.
        """
        return self._engine.request("block", host, protocol, remote)

    def unblock(self, host: str) -> Deferred[None]:
        """
        Stop nothing any more.
        """
        return self._engine.request("unblock", host)

    def blockNAT(self, name: str, protocol: Protocol) -> Deferred[None]:
        """
        Let a model NAT drop a whole protocol.
        """
        return self._engine.request("blockNAT", name, protocol)

    def unblockNAT(self, name: str, protocol: Protocol) -> Deferred[None]:
        """
        Let it pass again.
        """
        return self._engine.request("unblockNAT", name, protocol)

    def capture(self, name: str, path: str | os.PathLike[str]) -> Deferred[None]:
        """
        Write what crosses the link of a host or NAT, at that end of it, to a pcap file. Every
        packet is there as soon as it crossed.
        """
        return self._engine.request("capture", name, os.path.abspath(path))

    def stopCapture(self, name: str) -> Deferred[None]:
        """
        Finish that.
        """
        return self._engine.request("stopCapture", name)

    def countFlows(self) -> Deferred[None]:
        """
        Count from now on who speaks with whom.
        """
        return self._engine.request("countFlows")

    def flows(self, name: str) -> Deferred[tuple[Flow, ...]]:
        """
        With whom a host spoke since L{countFlows}.
        """
        return self._engine.request("flows", name).addCallback(
            lambda plain: tuple(fromPlain(Flow, each) for each in plain)
        )

    def watch(self, observer: Callable[[PacketNews], object]) -> Deferred[None]:
        """
        Tell C{observer} from now on what becomes of every packet, at every place on its way.
        """
        self._engine.observers.append(observer)
        return self._engine.request("watch")

    def mappings(self, name: str) -> Deferred[tuple[MappingView, ...]]:
        """
        What a NAT has mapped, with moments of C{time.monotonic}; the kernel tells every connection
        apart.
        """
        return self._engine.request("mappings", name).addCallback(
            lambda plain: tuple(fromPlain(MappingView, each) for each in plain)
        )

    def counters(self, name: str) -> Deferred[dict[str, Any]]:
        """
        What the C{link} of a host or NAT carried, and what happened on its C{wire}.
        """
        return self._engine.request("counters", name)
