"""
Finding out what NAT this machine is behind, with the help of any STUN server (RFC 5780).

Owns: whom to ask, and when there is nothing to report.
Knows nothing of: which requests are sent (L{holepunch.peer.datagramdiscovery},
L{holepunch.peer.streamdiscovery}); what the answers mean (L{holepunch.nat.discovery}).
Driven by: C{holepunch check}.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from holepunch.address import Family, Transport, TransportAddress
from holepunch.errors import NoLocalPort, TransactionTimedOut
from holepunch.nat.discovery import NATReport, ProtocolReport
from holepunch.peer.datagramdiscovery import DatagramDiscovery
from holepunch.peer.streamdiscovery import StreamDiscovery
from holepunch.peer.together import together

_SERVER_LIMIT = 8


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
) -> NATReport:
    """
    Find out what can be found out.

    @param reactor: Provides IReactorUDP, IReactorTCP and IReactorTime.
    @param servers: STUN servers; those of another IP version than the first are left out.
    @param timeout: Seconds to wait for a server that does not answer.
    @raise TransactionTimedOut: No server answered over any transport.
    @raise NoLocalPort: There is no route to the first server.
    """
    asked = tuple(each for each in servers if each.family is servers[0].family)[:_SERVER_LIMIT]
    values: dict[str, Any] = {
        "reactor": reactor,
        "servers": asked,
        "host": sourceHost(servers[0]),
        "timeout": timeout,
        "randomBytes": randomBytes,
    }
    datagrams, streams = DatagramDiscovery(**values), StreamDiscovery(**values)
    udp, tcp = await together(
        Deferred.fromCoroutine(datagrams.report() if Transport.UDP in transports else _nothing()),
        Deferred.fromCoroutine(streams.report() if Transport.TCP in transports else _nothing()),
    )
    if udp.isBlocked is not False and tcp.isBlocked is not False:
        names = " or ".join(sorted(transport.name for transport in transports))
        raise TransactionTimedOut(
            f"no STUN server answered over {names} ({', '.join(map(str, asked))}): check the"
            " address, and whether a firewall blocks the way"
        )
    return NATReport(udp=udp, tcp=tcp)


async def _nothing() -> ProtocolReport:
    return ProtocolReport()
