"""
Finding out what NAT this machine is behind, with the help of any STUN server (RFC 5780).

Owns: carrying out the plans for both protocols, and when there is nothing to report.
Knows nothing of: which requests are sent and what the answers mean, which the plans know
(L{holepunch.nat.discoverydatagrams}, L{holepunch.nat.discoverystreams}).
Driven by: C{holepunch check}.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from holepunch.address import Family, Transport, TransportAddress
from holepunch.errors import HolepunchError, NoLocalPort, TransactionTimedOut
from holepunch.nat.discovery import NATReport, ProtocolReport
from holepunch.nat.discoverydatagrams import SERVER_LIMIT, planDatagrams
from holepunch.nat.discoveryfindings import Finding
from holepunch.nat.discoverylifetime import Lifetime, planLifetime
from holepunch.nat.discoverypath import PathReport, planPath
from holepunch.nat.discoveryprobe import Outcome, Plan, Probe
from holepunch.nat.discoverystreamlifetime import planStreamLifetime
from holepunch.nat.discoverystreams import planStreams
from holepunch.peer.discoverydatagrams import DatagramProber
from holepunch.peer.discoverypath import PathProber
from holepunch.peer.discoveryprober import Prober
from holepunch.peer.discoverystreams import StreamProber
from holepunch.peer.together import together

_Report = TypeVar("_Report")


def sourceHost(server: TransportAddress) -> str:
    """
    The local address from which the system would send to C{server}; nothing is sent.

    @raise NoLocalPort: There is no route.
    """
    family = socket.AF_INET6 if server.family is Family.IPV6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((server.host, server.port or 1))
        except OSError as error:
            raise NoLocalPort(
                f"there is no way to {server.host}: {error.strerror}; is there a network?"
            ) from None
        host: str = probe.getsockname()[0]
    return host


async def discover(
    reactor: Any,
    servers: Sequence[TransportAddress],
    *,
    transports: frozenset[Transport] = frozenset(Transport),
    timeout: float = 5.0,
    randomBytes: Callable[[int], bytes] = os.urandom,
    sourceHost: Callable[[TransportAddress], str] = sourceHost,
    lifetime: float | None = None,
    openSocket: Callable[[int], Any] | None = None,
) -> NATReport:
    """
    Find out what can be found out.

    All in all that is at most 20 requests a protocol, from at most 10 local ports, 50 new ones a
    second; 80 requests of at most 1,600 bytes for the way, from 9 ports; and at most 50 more a
    protocol for the lifetime. What does not answer gets each request five times at most.

    @param reactor: Provides IReactorUDP, IReactorTCP and IReactorTime.
    @param servers: STUN servers; those of another IP version than the first are left out.
    @param timeout: Seconds to wait for a server that does not answer.
    @param lifetime: Measure the lifetime of a mapping, too, up to so many seconds; this may take
        four times as long.
    @param openSocket: Makes a UDP socket of an address family that hears what routers say, such as
        L{systemSocket<holepunch.peer.discoverysocket.systemSocket>}; C{None}: do not ask about the
        way.
    @raise TransactionTimedOut: No server answered over any transport.
    @raise NoLocalPort: There is no route to the first server.
    """
    asked = tuple(each for each in servers if each.family is servers[0].family)
    values = (reactor, sourceHost(servers[0]), timeout, randomBytes)
    asking: list[Deferred[Any]] = [
        Deferred.fromCoroutine(
            _ask(reactor, asked, planDatagrams, planLifetime, DatagramProber(*values), lifetime)
            if Transport.UDP in transports
            else _nothing()
        ),
        Deferred.fromCoroutine(
            _ask(reactor, asked, planStreams, planStreamLifetime, StreamProber(*values), lifetime)
            if Transport.TCP in transports
            else _nothing()
        ),
    ]
    if Transport.UDP in transports and openSocket is not None:
        prober = PathProber(reactor, values[1], openSocket, randomBytes)
        asking.append(Deferred.fromCoroutine(_askWay(reactor, asked, prober)))
    udp, tcp, *paths = await together(*asking)
    if udp.isBlocked is not False and tcp.isBlocked is not False:
        names = " or ".join(sorted(transport.name for transport in transports))
        hosts = ", ".join(map(str, asked[:SERVER_LIMIT]))
        raise TransactionTimedOut(
            f"no STUN server answered over {names} ({hosts}): check the address,"
            " and whether a firewall blocks the way"
        )
    path = next(iter(paths), None)
    return NATReport(udp=udp.besides(path), tcp=tcp.besides(path), path=path)


@attrs.frozen(kw_only=True)
class FamilyReport:
    """
    What was found out with one version of IP.

    @ivar report: C{None}: nothing was.
    @ivar error: Why there is no report.
    """

    family: Family
    report: NATReport | None = None
    error: HolepunchError | None = None


async def discoverFamilies(
    reactor: Any,
    servers: Sequence[TransportAddress],
    *,
    lifetime: float | None = None,
    **options: Any,
) -> tuple[FamilyReport, ...]:
    """
    Find out what can be found out with each version of IP that the servers have, one after the
    other.

    @param lifetime: This is measured with the first one that works, as it takes long.
    @param options: See L{discover}.
    """
    found = []
    for family in dict.fromkeys(server.family for server in servers):
        own = [server for server in servers if server.family is family]
        try:
            report = await discover(reactor, own, lifetime=lifetime, **options)
        except (TransactionTimedOut, NoLocalPort) as error:
            found.append(FamilyReport(family=family, error=error))
        else:
            found.append(FamilyReport(family=family, report=report))
            lifetime = None
    return tuple(found)


@attrs.frozen(kw_only=True)
class InterfaceReport:
    """
    What was found out from one local address.

    @ivar problem: Why there is no report.
    """

    host: str
    report: NATReport | None = None
    problem: str | None = None


async def discoverEverywhere(
    reactor: Any,
    servers: Sequence[TransportAddress],
    hosts: Sequence[str],
    *,
    transports: frozenset[Transport] = frozenset(Transport),
    timeout: float = 5.0,
    openSocket: Callable[[int], Any] | None = None,
) -> tuple[InterfaceReport, ...]:
    """
    Find out what can be found out from each local address, one after the other.

    @param servers: Each local address asks those of its own IP version.
    @param hosts: Our addresses, such as those of all interfaces.
    @param openSocket: See L{discover}.
    """
    found = []
    for host in hosts:
        family = TransportAddress(host, 0).family
        own = [server for server in servers if server.family is family]
        if not own:
            problem = "no server has an address of this IP version"
            found.append(InterfaceReport(host=host, problem=problem))
            continue
        try:
            report = await discover(
                reactor,
                own,
                transports=transports,
                timeout=timeout,
                sourceHost=partial(_fixedHost, host),
                openSocket=openSocket,
            )
        except (TransactionTimedOut, NoLocalPort) as error:
            found.append(InterfaceReport(host=host, problem=str(error)))
        else:
            found.append(InterfaceReport(host=host, report=report))
    return tuple(found)


def _fixedHost(host: str, server: TransportAddress) -> str:
    return host


async def _follow(reactor: Any, plan: Plan[_Report], prober: Prober | PathProber) -> _Report:
    """
    Carry out a plan, round by round.
    """
    try:
        probes = next(plan)
        while True:
            outcomes = await together(*(_begin(reactor, prober, probe) for probe in probes))
            probes = plan.send(outcomes)
    except StopIteration as end:
        report: _Report = end.value
        return report
    finally:
        await prober.close()


def _begin(reactor: Any, prober: Prober | PathProber, probe: Probe) -> Deferred[Outcome]:
    return deferLater(reactor, probe.delay, cast(Any, prober.send), probe)


async def _ask(
    reactor: Any,
    servers: Sequence[TransportAddress],
    behaviourPlan: Callable[[Sequence[TransportAddress]], Plan[ProtocolReport]],
    lifetimePlan: Callable[[Sequence[TransportAddress], float], Plan[Finding[Lifetime]]],
    prober: Prober,
    lifetime: float | None,
) -> ProtocolReport:
    report = await _follow(reactor, behaviourPlan(servers), prober)
    if lifetime is None or report.mapped is None:
        return report
    return report.withLifetime(await _follow(reactor, lifetimePlan(servers, lifetime), prober))


async def _nothing() -> ProtocolReport:
    return ProtocolReport()


async def _askWay(
    reactor: Any, servers: Sequence[TransportAddress], prober: PathProber
) -> PathReport:
    try:
        return await _follow(reactor, planPath(servers), prober)
    except NoLocalPort as error:
        return PathReport(problem=str(error))
