"""
Hypothesis strategies for behaviours and packets, from a world so small that packets meet.
"""

from __future__ import annotations

import attrs
from hypothesis import strategies as st

from holepunch.address import TransportAddress
from holepunch.nat import (
    Filtering,
    ICMPError,
    Mapping,
    NATBehaviour,
    Packet,
    PortAllocation,
    Protocol,
    Refresh,
    Side,
    TCPFlag,
    Unsolicited,
)

HOSTS = ("203.0.113.1", "203.0.113.2")
PORTS = range(5000, 5005)


def endpoints(hosts: tuple[str, ...]) -> st.SearchStrategy[TransportAddress]:
    """
    Endpoints on some of the C{hosts}, with ports that clash soon.
    """
    return st.builds(TransportAddress, st.sampled_from(hosts), st.sampled_from(PORTS))


internals = endpoints(("192.168.1.10", "192.168.1.11", "192.168.1.12"))
remotes = endpoints(("198.51.100.7", "198.51.100.8"))
externals = endpoints(HOSTS)

behaviours = st.builds(
    NATBehaviour,
    mapping=st.sampled_from(Mapping),
    filtering=st.sampled_from(Filtering),
    ports=st.sampled_from(PortAllocation),
    portStep=st.sampled_from((1, 2, -1)),
    firstPort=st.just(PORTS[0]),
    lastPort=st.sampled_from((PORTS[2], PORTS[-1])),
    overloadsPorts=st.booleans(),
    hairpin=st.booleans(),
    unsolicited=st.sampled_from(Unsolicited),
    isOneToOne=st.sampled_from((False, False, True)),
    udpTimeout=st.just(30.0),
    tcpEstablishedTimeout=st.just(100.0),
    tcpTransitoryTimeout=st.just(20.0),
    refresh=st.sampled_from(Refresh),
    dropsMappingOnReset=st.booleans(),
    maxMappings=st.sampled_from((6, 100)),
    maxMappingsPerHost=st.sampled_from((4, 100)),
    maxSessions=st.sampled_from((8, 100)),
)

plainPackets = st.builds(
    Packet,
    st.sampled_from((Protocol.UDP, Protocol.TCP)),
    st.one_of(internals, remotes, externals),
    st.one_of(internals, remotes, externals),
    flags=st.builds(TCPFlag, st.integers(0, 255)),
    sequence=st.integers(0, 0xFFFFFFFF),
    acknowledgment=st.integers(0, 0xFFFFFFFF),
    ttl=st.sampled_from((64, 64, 64, 2, 1, 0)),
)

icmpErrors = st.builds(
    ICMPError, st.sampled_from((3, 11, 12)), st.integers(0, 15), original=plainPackets
)

packets = st.one_of(
    plainPackets,
    plainPackets,
    st.builds(
        Packet,
        st.just(Protocol.ICMP),
        st.one_of(internals, remotes),
        st.one_of(externals, remotes),
        icmp=st.one_of(st.none(), icmpErrors),
        ttl=st.sampled_from((64, 64, 1)),
    ),
)


@attrs.frozen
class Arrival:
    """
    A packet that reaches the device on one side, some seconds after the one before.
    """

    side: Side
    packet: Packet
    pause: float


pauses = st.sampled_from((0.0, 0.0, 1.0, 10.0, 19.0, 20.0, 30.0, 100.0))

arrivals = st.builds(Arrival, st.sampled_from(Side), packets, pauses)

datagramArrivals = st.one_of(
    st.builds(
        Arrival,
        st.just(Side.INSIDE),
        st.builds(Packet, st.just(Protocol.UDP), internals, st.one_of(remotes, remotes, externals)),
        pauses,
    ),
    st.builds(
        Arrival,
        st.just(Side.OUTSIDE),
        st.builds(Packet, st.just(Protocol.UDP), remotes, externals),
        pauses,
    ),
)
