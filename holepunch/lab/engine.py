"""
The process in which a lab of kernel namespaces lives: C{python -m holepunch.lab.engine}.

Owns: the namespaces of all hosts, their wires, the fabric between them, and the answers to
L{NamespaceLab}, one JSON object a line, on its standard input and output.
Knows nothing of: the commands that run inside the hosts.
Driven by: L{NamespaceLab}. When its standard input ends, or its parent dies, it kills what still
runs in the namespaces and ends; with it the namespaces vanish, since nothing else holds them. Or by
L{StandingLab<holepunch.lab.standing.StandingLab>}, over a UNIX socket; then it stays until told.

It moves itself to a network namespace before it makes anything: no interface, route or rule ever
appears on the machine outside.
"""

from __future__ import annotations

import array
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from twisted.internet.interfaces import IReactorCore, IReactorFDSet, IReactorUNIX
from twisted.internet.stdio import StandardIO
from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from holepunch.address import Family, TransportAddress
from holepunch.errors import HolepunchError, LabError
from holepunch.lab.enginelink import SOCKETS_FD, TOKEN_LENGTH, EngineOptions, PacketNews
from holepunch.lab.enginerequests import Requests, stand
from holepunch.lab.fabric import Fabric, Fate
from holepunch.lab.flows import FlowCounter
from holepunch.lab.isolation import (
    NetworkNamespace,
    dieWithParent,
    killInhabitants,
    leaveNetwork,
)
from holepunch.lab.jsonform import fromPlain, toPlain
from holepunch.lab.kernelnat import KernelNAT
from holepunch.lab.links import Interface, furnish
from holepunch.lab.pcap import Capture
from holepunch.lab.station import Block, Station
from holepunch.lab.timerclock import TimerClock
from holepunch.lab.topology import HostSpec, LinkSpec, NATSpec
from holepunch.nat import Packet, Protocol
from holepunch.nat.device import NATDevice

_DECOY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "decoy.py")
_log = Logger()


class EngineReactor(IReactorCore, IReactorFDSet):
    """
    What the engine needs of a reactor.
    """


class Engine:
    """
    A lab in operation, in the network namespace that this process has moved to.

    The methods without an underscore are the requests that L{NamespaceLab} can make; their
    arguments and results are what JSON can hold.

    @ivar say: Takes what L{NamespaceLab} is to be told unasked.
    """

    say: Callable[[dict[str, Any]], None]

    def __init__(self, reactor: EngineReactor, options: EngineOptions) -> None:
        self._reactor = reactor
        self._options = options
        self._clock = TimerClock(reactor)
        self._fabric = Fabric(
            self._clock, options.topology, options.seed, options.answersUnroutable
        )
        self._stations: dict[str, Station] = {}
        self._kernelNATs: dict[str, KernelNAT] = {}
        self._wires = 0
        # Of the interfaces of hosts that have several, which one each is.
        self._numbers: dict[str, int] = {}
        self._isWatching = False
        self._flows: FlowCounter | None = None
        self._captures: dict[str, Capture] = {}
        for host in options.topology.hosts:
            self._addHost(host)
        for nat in options.topology.nats:
            if nat.isKernel:
                self._addKernelNAT(nat)
        self._startDecoys()

    def _interface(self, name: str, addresses: tuple[str, ...], behind: str | None) -> Interface:
        values: dict[str, Any] = {"mtu": self._fabric.interfaceMTU(name)}
        if name in self._numbers:
            number = values["number"] = self._numbers[name]
            values["name"] = f"eth{number}"
        if behind is None:
            prefixed = tuple(each + ("/128" if ":" in each else "/32") for each in addresses)
            return Interface(addresses=prefixed, **values)
        nat = self._options.topology.nat(behind)
        prefixed = tuple(f"{each}/{_prefixLength(nat, each)}" for each in addresses)
        return Interface(addresses=prefixed, gateways=nat.gateways, **values)

    def _addHost(self, host: HostSpec) -> None:
        namespace = NetworkNamespace.create()
        furnish(namespace)
        for number, part in enumerate(host.allInterfaces):
            if host.interfaces:
                self._numbers[part.name] = number
            station = Station(
                self._reactor,
                namespace,
                self._interface(part.name, part.addresses, part.behind),
                self._near(part.name),
                partial(self._fabric.send, part.name),
                self._clock.runDue,
                self._options.useOffload,
            )
            self._stations[part.name] = station
            self._fabric.attach(part.name, station.deliver)

    def _addKernelNAT(self, spec: NATSpec) -> None:
        namespace = NetworkNamespace.create()
        furnish(namespace)
        nat = KernelNAT(
            self._reactor,
            namespace,
            spec,
            (self._near(spec.name), self._near(spec.name)),
            self._beyond(spec),
            lambda: self._fabric.passOn(spec.name),
            self._clock.runDue,
            self._options.useOffload,
        )
        self._kernelNATs[spec.name] = nat
        self._fabric.install(spec.name, cast(NATDevice, nat))

    def _beyond(self, spec: NATSpec) -> tuple[str, ...]:
        """
        The subnets behind other NATs inside, of which the addresses are known here.
        """
        topology = self._options.topology
        return tuple(
            str(subnet)
            for nat in topology.nats
            if nat.behind is not None and spec in topology.natsAbove(nat)
            for subnet in nat.routed
        )

    def _startDecoys(self) -> None:
        """
        Start the programs of the decoys, and wait until they answer.

        @raise LabError: One of them cannot.
        """
        decoys = []
        for host in self._options.topology.hosts:
            if host.isDecoy:
                with self._station(host.name).namespace.entered():
                    command = [sys.executable, "-I", "-S", _DECOY]
                    decoys.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        for decoy in decoys:
            assert decoy.stdout is not None
            with decoy.stdout:
                said = decoy.stdout.readline().strip()
            if said != "ready":
                raise LabError(said or "A decoy ended.")

    def _near(self, name: str) -> str:
        """
        A name of its own for the near end of a wire: the kernel allows 15 characters.
        """
        self._wires += 1
        return f"{name[:11]}-{self._wires}"

    def _station(self, host: str) -> Station:
        if host not in self._stations:
            self._options.topology.host(host)
        return self._stations[host]

    def _namespaces(self) -> dict[str, NetworkNamespace]:
        parts: list[tuple[str, Station | KernelNAT]] = [
            *self._stations.items(),
            *self._kernelNATs.items(),
        ]
        return {name: part.namespace for name, part in parts}

    def end(self) -> None:
        """
        Kill what runs in the namespaces.
        """
        killInhabitants(self._namespaces().values())

    # --- requests -----------------------------------------------------------------------------

    def descriptors(self) -> dict[str, int]:
        """
        Where the namespaces are: a descriptor of this process for each.
        """
        return {name: namespace.fd for name, namespace in self._namespaces().items()}

    def flushNAT(self, name: str) -> None:
        """
        See L{Fabric.flushNAT}.
        """
        self._fabric.flushNAT(name)

    def rebindNAT(self, name: str, hosts: Sequence[str]) -> None:
        """
        See L{Fabric.rebindNAT}.

        @param hosts: The new addresses; those of the other IP version stay. With none, the next
            free ones.
        """
        self._fabric.nat(name)
        families = {TransportAddress(host, 0).family for host in hosts}
        present = {TransportAddress(host, 0).family for host in self._fabric.hosts(name)}
        if not families <= present:
            version = 6 if Family.IPV6 in families - present else 4
            raise LabError(f"The NAT {name!r} has no address of IPv{version} to be changed.")
        kept = [
            host
            for host in self._fabric.hosts(name)
            if TransportAddress(host, 0).family not in families
        ]
        self._fabric.rebindNAT(name, [*hosts, *kept] if hosts else self._fabric.freeHosts(name))

    def moveHost(self, name: str, hosts: Sequence[str], behind: str | None) -> None:
        """
        See L{Fabric.moveHost}; the interface gets the new addresses and routes.
        """
        self._fabric.moveHost(name, hosts, behind)
        self._station(name).readdress(self._interface(name, tuple(hosts), behind))

    def setLink(self, name: str, link: Any) -> None:
        """
        See L{Fabric.setLink}; the interface gets its MTU.
        """
        self._fabric.setLink(name, fromPlain(LinkSpec, link))
        part = self._stations.get(name) or self._kernelNATs.get(name)
        if part is not None:
            part.setMTU(self._fabric.interfaceMTU(name))

    def block(self, host: str, protocol: int | None, remote: str | None) -> None:
        """
        Stop packets between a host and its wire.
        """
        kind = None if protocol is None else Protocol(protocol)
        self._station(host).blocks += (Block(protocol=kind, remote=remote),)

    def unblock(self, host: str) -> None:
        """
        Stop nothing any more.
        """
        self._station(host).blocks = ()

    def blockNAT(self, name: str, protocol: int) -> None:
        """
        See L{NATDevice.block}.
        """
        self._fabric.nat(name).block(Protocol(protocol))

    def unblockNAT(self, name: str, protocol: int) -> None:
        """
        See L{NATDevice.unblock}.
        """
        self._fabric.nat(name).unblock(Protocol(protocol))

    def mappings(self, name: str) -> Any:
        """
        What a NAT has mapped.
        """
        return toPlain(self._fabric.nat(name).mappings(self._clock.seconds()))

    def counters(self, name: str) -> dict[str, Any]:
        """
        What the link of a host or NAT carried, and what its wire did.
        """
        wire: dict[str, Any] = {}
        if name in self._stations:
            wire = self._stations[name].counters()
        elif name in self._kernelNATs:
            wire = self._kernelNATs[name].counters()
        dropped = {} if self._flows is None else self._flows.drops(name)
        return {"link": toPlain(self._fabric.counters(name)), "wire": wire, "dropped": dropped}

    def hosts(self, name: str) -> Sequence[str]:
        """
        See L{Fabric.hosts}.
        """
        return self._fabric.hosts(name)

    def now(self) -> float:
        """
        The moment to which those of L{mappings} belong.
        """
        return self._clock.seconds()

    def countFlows(self) -> None:
        """
        Count from now on who speaks with whom.
        """
        if self._flows is None:
            self._flows = FlowCounter()
            self._fabric.addObserver(self._flows)

    def flows(self, name: str) -> Any:
        """
        See L{FlowCounter.flows}.
        """
        self._fabric.hosts(name)
        return toPlain(() if self._flows is None else self._flows.flows(name))

    def capture(self, name: str, path: str) -> None:
        """
        Write what crosses the link of a host or NAT to a file, in place of one before.
        """
        self._fabric.hosts(name)
        self.stopCapture(name)
        # The packets' clock has no date, and a capture needs one.
        capture = Capture(path, time.time() - time.monotonic())
        self._captures[name] = capture
        self._fabric.addTap(name, capture)

    def stopCapture(self, name: str) -> None:
        """
        Finish the capture of a link, if there is one.
        """
        capture = self._captures.pop(name, None)
        if capture is not None:
            self._fabric.removeTap(name, capture)
            capture.close()

    def watch(self) -> None:
        """
        Report from now on what becomes of every packet.
        """
        if not self._isWatching:
            self._isWatching = True
            self._fabric.addObserver(self._report)

    def _report(self, now: float, place: str, packet: Packet, fate: Fate, reason: str) -> None:
        news = PacketNews(
            time=now,
            place=place,
            protocol=packet.protocol,
            source=packet.source,
            destination=packet.destination,
            flags=packet.flags,
            fate=fate,
            reason=reason,
        )
        self.say({"news": toPlain(news)})

    def makeSocket(self, host: str, family: int, kind: int, token: int) -> None:
        """
        Make a socket inside a host, and hand it out.

        @param token: Goes with the socket.
        """
        with (
            self._station(host).namespace.entered(),
            socket.socket(family, kind) as made,
            socket.socket(fileno=os.dup(SOCKETS_FD)) as way,
        ):
            rights = array.array("i", [made.fileno()])
            way.sendmsg(
                [token.to_bytes(TOKEN_LENGTH, "big")],
                [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)],
            )


def _prefixLength(nat: NATSpec, host: str) -> int:
    subnet = nat.subnetOf(host)
    return ipaddress.ip_address(host).max_prefixlen if subnet is None else subnet.prefixlen


def _logToStandardError() -> None:
    warnings = LogLevelFilterPredicate(LogLevel.warn)
    observer = FilteringLogObserver(textFileLogObserver(sys.stderr), [warnings])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def _serve(options: EngineOptions) -> None:
    hasUser = leaveNetwork(options.isRootless)
    # The keyboard's signals are for the parent, which will end this process in time.
    os.setsid()
    if options.folder is None:
        dieWithParent(signal.SIGTERM)
    from twisted.internet import reactor as installed

    reactor = cast(EngineReactor, installed)
    engine = Engine(reactor, options)
    reactor.addSystemEventTrigger("after", "shutdown", engine.end)
    ready = {"descriptors": engine.descriptors(), "hasUser": hasUser}
    if options.folder is not None:
        engine.countFlows()
        stand(cast(IReactorUNIX, installed), reactor, engine, options.folder, ready)
    print(json.dumps({"ready": ready}), flush=True)
    if options.folder is None:
        StandardIO(Requests(reactor, engine))
    else:
        # Nobody waits at the other end any more.
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1):
            os.dup2(nowhere, descriptor)
    reactor.run()


def main() -> None:
    """
    Build the lab that the first line asks for, say C{ready} or C{failed}, and serve it.
    """
    _logToStandardError()
    options = fromPlain(EngineOptions, json.loads(sys.stdin.buffer.readline()))
    try:
        _serve(options)
    except (HolepunchError, OSError) as error:
        print(json.dumps({"failed": str(error), "kind": type(error).__name__}))
        raise SystemExit(1)


if __name__ == "__main__":
    main()
