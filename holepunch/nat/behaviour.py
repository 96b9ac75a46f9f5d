"""
The vocabulary of address translation: what a NAT does, as values.

Owns: the behaviours of RFC 4787 (UDP) and RFC 5382 (TCP), the classic names, and named examples.
Knows nothing of: packets, and how a behaviour is found out or carried out.
Driven by: L{holepunch.nat.device}, discovery, the lab and the command line.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping as ReadOnlyDict
from types import MappingProxyType
from typing import Any

import attrs

from holepunch.errors import UsageError
from holepunch.nat.packet import Protocol


class Mapping(enum.Enum):
    """
    For which destinations one internal endpoint keeps one mapped address (RFC 4787 section 4.1).
    """

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


class Filtering(enum.Enum):
    """
    Which remote endpoints may send to a mapped address (RFC 4787 section 5).
    """

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


class PortAllocation(enum.Enum):
    """
    How the external port of a new mapping is chosen (RFC 4787 section 4.2).
    """

    PRESERVED = "preserved"
    SEQUENTIAL = "sequential"
    RANDOM = "random"


class Unsolicited(enum.Enum):
    """
    What is answered to a packet from outside that nobody inside asked for (RFC 5382 section 4.3).

    C{RST} concerns TCP alone: such a device drops unsolicited UDP in silence.
    """

    DROP = "drop"
    RST = "rst"
    ICMP = "icmp"


class Refresh(enum.Enum):
    """
    In which direction a packet must travel to restart an idle timer (RFC 4787 section 4.3).
    """

    OUTBOUND = "outbound"
    INBOUND = "inbound"
    BOTH = "both"


class Fragments(enum.Enum):
    """
    What becomes of packets in several IP fragments (RFC 4787 section 11).

    C{FORWARD}: they are put together, in whatever order they come, translated, and sent on in
    fragments again.
    """

    FORWARD = "forward"
    DROP = "drop"


def _positive(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise UsageError(f"{attribute.name} must be above zero, not {value}")


def _notZero(instance: object, attribute: attrs.Attribute[Any], value: int) -> None:
    if value == 0:
        raise UsageError(f"{attribute.name} must not be zero")


@attrs.frozen
class Service:
    """
    What one port stands for: C{Service(Protocol.TCP, 443)}.

    @raise UsageError: There is no such port.
    """

    protocol: Protocol
    port: int = attrs.field()

    @port.validator
    def _checkPort(self, attribute: attrs.Attribute[Any], value: int) -> None:
        if not 0 < value < 65536:
            raise UsageError(f"a port is a number from 1 to 65535, not {value}")


@attrs.frozen(kw_only=True)
class NATBehaviour:
    """
    Everything that tells one NAT from another, as far as a packet can notice.

    @ivar portStep: With L{PortAllocation.SEQUENTIAL}: from one new port to the next; it may be
        negative.
    @ivar firstPort: The lowest external port that the device gives away.
    @ivar lastPort: The highest one.
    @ivar overloadsPorts: With L{PortAllocation.PRESERVED} and a mapping that depends on the
        destination: keep the internal port for each destination as long as no two flows clash,
        in the way of Linux's masquerade (I{port overloading}, RFC 4787 section 4.2.1). Seen from
        outside such a device maps like an endpoint-independent one until two internal hosts use
        one port. When false, each mapping has a port of its own.
    @ivar hairpin: Packets from inside to one of the mapped addresses come back inside, with the
        sender's mapped address as source (RFC 4787 section 6, REQ-9).
    @ivar isOneToOne: Each internal host has an external address to itself, and keeps its ports:
        C{mapping} and C{ports} have no meaning then. With endpoint-independent filtering the device
        keeps nobody out.
    @ivar udpTimeout: Idle seconds until a UDP session is forgotten.
    @ivar tcpEstablishedTimeout: The same for TCP connections in progress (RFC 5382 REQ-5).
    @ivar tcpTransitoryTimeout: The same for TCP connections half open, closed or reset.
    @ivar icmpTimeout: The same for echo requests and their replies (RFC 5508 REQ-2).
    @ivar mappingLifetime: Seconds after which a mapping ends, however busy it is, as some carriers
        have it; C{None}: it lives as long as it is used.
    @ivar outbound: The only services that the inside may begin to talk to, as behind a firewall;
        with none, it may talk to all.
    @ivar blocked: The protocols of which nothing passes, in either direction.
    @ivar fragments: Do packets in several IP fragments pass?
    @ivar dropsMappingOnReset: A TCP mapping is forgotten when the connection that made it is reset
        or has been closed by both sides, whatever else uses the mapping.
    @ivar checksSequence: A SYN-ACK from inside is dropped unless it has the sequence number of the
        last SYN from inside, as Linux's connection tracking does: who closes the socket that sent a
        SYN cannot answer the peer's SYN from another one.
    @ivar maxMappings: Above this number of mappings, no more are made.
    @ivar maxMappingsPerHost: The same for one internal host.
    @ivar maxSessions: The same for pairs of an internal and a remote endpoint.
    @raise UsageError: A number makes no sense.
    """

    mapping: Mapping
    filtering: Filtering
    ports: PortAllocation = PortAllocation.PRESERVED
    portStep: int = attrs.field(default=1, validator=_notZero)
    firstPort: int = attrs.field(default=1024, validator=_positive)
    lastPort: int = attrs.field(default=65535)
    overloadsPorts: bool = True
    hairpin: bool = True
    unsolicited: Unsolicited = Unsolicited.DROP
    isOneToOne: bool = False
    udpTimeout: float = attrs.field(default=300.0, validator=_positive)
    tcpEstablishedTimeout: float = attrs.field(default=7440.0, validator=_positive)
    tcpTransitoryTimeout: float = attrs.field(default=240.0, validator=_positive)
    icmpTimeout: float = attrs.field(default=60.0, validator=_positive)
    mappingLifetime: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(_positive)
    )
    outbound: tuple[Service, ...] = ()
    blocked: tuple[Protocol, ...] = ()
    refresh: Refresh = Refresh.OUTBOUND
    fragments: Fragments = Fragments.FORWARD
    dropsMappingOnReset: bool = False
    checksSequence: bool = False
    maxMappings: int = attrs.field(default=65536, validator=_positive)
    maxMappingsPerHost: int = attrs.field(default=16384, validator=_positive)
    maxSessions: int = attrs.field(default=262144, validator=_positive)

    @lastPort.validator
    def _checkLastPort(self, attribute: attrs.Attribute[Any], value: int) -> None:
        if not self.firstPort <= value <= 65535:
            raise UsageError(f"lastPort must be from {self.firstPort} to 65535, not {value}")

    @property
    def classicName(self) -> str:
        """
        The name that people knew before RFC 4787.
        """
        return classicName(self.mapping, self.filtering)


_CLASSIC_CONES = {
    Filtering.ENDPOINT_INDEPENDENT: "full cone",
    Filtering.ADDRESS_DEPENDENT: "restricted cone",
    Filtering.ADDRESS_AND_PORT_DEPENDENT: "port-restricted cone",
}


def classicName(mapping: Mapping, filtering: Filtering) -> str:
    """
    Name a behaviour in the words of RFC 3489 section 5.

    They are labels only: every mapping that depends on the destination is called symmetric.
    """
    if mapping is Mapping.ENDPOINT_INDEPENDENT:
        return _CLASSIC_CONES[filtering]
    return "symmetric"


_FULL_CONE = NATBehaviour(
    mapping=Mapping.ENDPOINT_INDEPENDENT, filtering=Filtering.ENDPOINT_INDEPENDENT
)
_PORT_RESTRICTED = attrs.evolve(_FULL_CONE, filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT)
_SYMMETRIC = NATBehaviour(
    mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT,
    filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT,
    ports=PortAllocation.SEQUENTIAL,
    hairpin=False,
)
_ONE_TO_ONE = attrs.evolve(_FULL_CONE, isOneToOne=True)

NAMED_BEHAVIOURS: ReadOnlyDict[str, NATBehaviour] = MappingProxyType(
    {
        # Any remote endpoint may send to a mapped address.
        "full-cone": _FULL_CONE,
        # Only hosts that were sent to may answer, from any port.
        "address-restricted": attrs.evolve(_FULL_CONE, filtering=Filtering.ADDRESS_DEPENDENT),
        # Only endpoints that were sent to may answer: the common home router.
        "port-restricted": _PORT_RESTRICTED,
        # Resets unsolicited connections at once, which makes punching hard (RFC 5382 REQ-4).
        "port-restricted-rst": attrs.evolve(_PORT_RESTRICTED, unsolicited=Unsolicited.RST),
        # Answers the unsolicited with ICMP errors.
        "port-restricted-icmp": attrs.evolve(_PORT_RESTRICTED, unsolicited=Unsolicited.ICMP),
        # Forgets the TCP mapping with the connection that made it.
        "port-restricted-forgetful": attrs.evolve(_PORT_RESTRICTED, dropsMappingOnReset=True),
        # Forgets a UDP session after 20 s, as the most impatient devices in the field do.
        "port-restricted-impatient": attrs.evolve(_PORT_RESTRICTED, udpTimeout=20.0),
        # A new port for every destination, one after the other: can be predicted.
        "symmetric": _SYMMETRIC,
        # A new port for every destination, at random: cannot be predicted.
        "symmetric-random": attrs.evolve(_SYMMETRIC, ports=PortAllocation.RANDOM),
        # A new port for every destination host.
        "symmetric-by-address": attrs.evolve(
            _SYMMETRIC, mapping=Mapping.ADDRESS_DEPENDENT, filtering=Filtering.ADDRESS_DEPENDENT
        ),
        # iptables MASQUERADE: symmetric, but looks like a cone until two hosts use one port.
        # Times are the defaults of nf_conntrack.
        "linux-masquerade": attrs.evolve(
            _SYMMETRIC,
            ports=PortAllocation.PRESERVED,
            refresh=Refresh.BOTH,
            udpTimeout=30.0,
            tcpEstablishedTimeout=432000.0,
            tcpTransitoryTimeout=120.0,
            checksSequence=True,
        ),
        # A carrier's NAT (RFC 6888): random ports out of a small block, short times.
        "carrier-grade": attrs.evolve(
            _PORT_RESTRICTED,
            ports=PortAllocation.RANDOM,
            firstPort=32768,
            lastPort=34815,
            udpTimeout=120.0,
            maxMappingsPerHost=2048,
        ),
        # One external address for each internal host; everybody may send to it.
        "one-to-one": _ONE_TO_ONE,
        # A stateful firewall: ports stay, and only endpoints that were sent to may answer.
        "firewall": attrs.evolve(_ONE_TO_ONE, filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT),
        # Nothing in the way; give the device no external hosts, and addresses stay as they are.
        "no-nat": _ONE_TO_ONE,
    }
)
