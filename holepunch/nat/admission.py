"""
Who gets a session: the decisions of RFC 4787 sections 4 and 5, and RFC 5382 sections 4 and 5.

Owns: when a packet without a session makes one, when it makes a mapping for that, and with which
external endpoint; when it is refused, and why.
Knows nothing of: packets that have a session; what is answered to those refused.
Driven by: L{holepunch.nat.device}.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from holepunch.address import TransportAddress
from holepunch.nat.addresspool import AddressPool
from holepunch.nat.behaviour import Filtering, Mapping, NATBehaviour, PortAllocation, Service
from holepunch.nat.effects import DropReason, Side
from holepunch.nat.packet import ECHO_PORT, Packet, Protocol
from holepunch.nat.portallocation import PortAllocator, RandomSource
from holepunch.nat.session import Domain, MappingRecord, Session
from holepunch.nat.sessiontable import HostRecord, SessionTable
from holepunch.nat.tcpstate import ESTABLISHED_STATES, SEGMENTS, Segment, TCPState, firstState

# How much of a remote endpoint a behaviour looks at: nothing, the host, the host and the port.
_GRAIN: dict[Mapping | Filtering, int] = {
    Mapping.ENDPOINT_INDEPENDENT: 0,
    Mapping.ADDRESS_DEPENDENT: 1,
    Mapping.ADDRESS_AND_PORT_DEPENDENT: 2,
    Filtering.ENDPOINT_INDEPENDENT: 0,
    Filtering.ADDRESS_DEPENDENT: 1,
    Filtering.ADDRESS_AND_PORT_DEPENDENT: 2,
}


class Admission:
    """
    The rules of one device, and the table that they fill.

    @ivar pool: The external hosts.
    """

    def __init__(
        self,
        behaviour: NATBehaviour,
        externalHosts: Sequence[str],
        random: RandomSource,
        table: SessionTable,
    ) -> None:
        self._behaviour = behaviour
        self._ports = PortAllocator(behaviour, random)
        self._table = table
        self._mappingGrain = 0 if behaviour.isOneToOne else _GRAIN[behaviour.mapping]
        self._filteringGrain = _GRAIN[behaviour.filtering]
        self._overloads = (
            behaviour.overloadsPorts
            and behaviour.ports is PortAllocation.PRESERVED
            and self._mappingGrain > 0
        )
        self._keepsNobodyOut = behaviour.isOneToOne and self._filteringGrain == 0
        self.rebind(externalHosts)

    def rebind(self, externalHosts: Sequence[str]) -> None:
        """
        Use other external hosts from now on.

        @raise BadAddress: One of them is not an IP literal.
        """
        self.pool = AddressPool(externalHosts, self._behaviour.isOneToOne)

    def timeout(self, state: TCPState | None) -> float:
        """
        How long a session in C{state} (C{None}: of UDP) lives without packets.
        """
        if state is None:
            return self._behaviour.udpTimeout
        if state in ESTABLISHED_STATES:
            return self._behaviour.tcpEstablishedTimeout
        return self._behaviour.tcpTransitoryTimeout

    def fromInside(self, packet: Packet, now: float) -> Session | DropReason:
        """
        Make the session of a packet that leaves, or say why there is none.
        """
        internal, remote = packet.source, packet.destination
        if not _isTranslatable(packet):
            return DropReason.UNSUPPORTED
        if not self._behaviour.hairpin and remote.host in self.pool.hosts:
            return DropReason.HAIRPIN_DISABLED
        outbound = self._behaviour.outbound
        if outbound and Service(packet.protocol, remote.port) not in outbound:
            return DropReason.NOT_PERMITTED
        if not self._mayBegin(packet):
            return DropReason.NO_CONNECTION
        if self._table.sessionCount >= self._behaviour.maxSessions:
            return DropReason.TABLE_FULL
        domain = self._domain(remote)
        mapping = self._table.mappings.get((packet.protocol, internal, domain))
        if mapping is None:
            made = self._newMapping(packet.protocol, internal, domain, now)
            if isinstance(made, DropReason):
                return made
            mapping = made
        return self._newSession(mapping, packet, Side.INSIDE, remote, now)

    def fromOutside(self, packet: Packet, now: float) -> Session | DropReason:
        """
        Make the session of a packet that arrives and has none, or say why it is refused.
        """
        external, remote = packet.destination, packet.source
        if not _isTranslatable(packet):
            return DropReason.UNSUPPORTED
        if not self.pool.isOurs(external.host):
            return DropReason.NOT_OURS
        found = self._permittingMapping(packet.protocol, external, remote)
        if isinstance(found, DropReason):
            return found
        if not self._mayBegin(packet):
            return DropReason.NO_CONNECTION
        if packet.ttl <= 1:
            return DropReason.TTL_EXPIRED
        if isinstance(found, MappingRecord):
            # The inside may know the sender by another mapping: it keeps to that one.
            internal = found.internal
            known = self._table.outbound.get(
                (packet.protocol, internal.host, internal.port, remote.host, remote.port)
            )
            if known is not None:
                return known
        if self._table.sessionCount >= self._behaviour.maxSessions:
            return DropReason.TABLE_FULL
        if isinstance(found, TransportAddress):
            made = self._newMapping(packet.protocol, found, (), now)
            if isinstance(made, DropReason):
                return made
            found = made
        return self._newSession(found, packet, Side.OUTSIDE, remote, now)

    def _mayBegin(self, packet: Packet) -> bool:
        """
        May a session begin with this packet? Over TCP, a connection begins with SYN, and an
        exchange of echoes begins with the request.
        """
        if packet.protocol is Protocol.UDP or self._keepsNobodyOut:
            return True
        if packet.protocol is Protocol.ICMP:
            return packet.destination.port == ECHO_PORT
        return SEGMENTS[packet.flags] is Segment.SYN

    def _domain(self, remote: TransportAddress) -> Domain:
        if self._mappingGrain == 0:
            return ()
        return (remote.host,) if self._mappingGrain == 1 else (remote.host, remote.port)

    def _permittingMapping(
        self, protocol: Protocol, external: TransportAddress, remote: TransportAddress
    ) -> MappingRecord | TransportAddress | DropReason:
        """
        Find a mapping by which C{remote} may send to C{external}, for the first time.

        @return: An internal endpoint, where it still has no mapping but may be reached.
        """
        users = self._table.usersOf(protocol, external.host, external.port)
        if not users:
            internalHost = self.pool.internalFor(external.host)
            if not self._keepsNobodyOut or internalHost is None:
                return DropReason.NO_MAPPING
            return TransportAddress(internalHost, external.port)
        exact = users.get(self._domain(remote))
        if exact is not None and self._permits(exact, remote):
            return exact
        # A filter that looks at less than the mapping does lets others use a mapping, too.
        if self._filteringGrain < self._mappingGrain:
            for mapping in users.values():
                if self._permits(mapping, remote):
                    return mapping
        return DropReason.FILTERED

    def _permits(self, mapping: MappingRecord, remote: TransportAddress) -> bool:
        if self._filteringGrain == 1:
            return remote.host in mapping.contactedHosts
        # With the finest filter, whoever may send has a session already, and does not come here.
        return self._filteringGrain == 0

    def _newMapping(
        self, protocol: Protocol, internal: TransportAddress, domain: Domain, now: float
    ) -> MappingRecord | DropReason:
        table = self._table
        if len(table.mappings) >= self._behaviour.maxMappings:
            return DropReason.TABLE_FULL
        host = table.hosts.get(internal.host)
        if host is None:
            externalHost = self.pool.externalFor(internal)
            if externalHost is None:
                return DropReason.NO_EXTERNAL_HOST
            host = HostRecord(externalHost)
        elif host.mappingCount >= self._behaviour.maxMappingsPerHost:
            return DropReason.HOST_LIMIT
        port = self._externalPort(protocol, internal, host.externalHost, domain)
        if port is None:
            return DropReason.PORTS_EXHAUSTED
        lifetime = self._behaviour.mappingLifetime
        mapping = MappingRecord(
            protocol=protocol,
            internal=internal,
            external=TransportAddress(host.externalHost, port),
            domain=domain,
            endsAt=math.inf if lifetime is None else now + lifetime,
        )
        table.addMapping(mapping)
        return mapping

    def _externalPort(
        self, protocol: Protocol, internal: TransportAddress, externalHost: str, domain: Domain
    ) -> int | None:
        if self._behaviour.isOneToOne:
            return internal.port
        if (
            not self._overloads
            and self._table.usedPorts(protocol, externalHost) >= self._ports.portCount
        ):
            return None
        isFree = partial(self._isFree, protocol, internal, externalHost, domain)
        return self._ports.choose(protocol, externalHost, internal.port, isFree)

    def _isFree(
        self,
        protocol: Protocol,
        internal: TransportAddress,
        externalHost: str,
        domain: Domain,
        port: int,
    ) -> bool:
        users = self._table.usersOf(protocol, externalHost, port)
        if not users:
            return True
        if not self._overloads or domain in users:
            return False
        # Two internal endpoints can share a port only if the remote endpoint tells whose packet it
        # is, that is, if the filter is as fine as the mapping.
        return self._filteringGrain >= self._mappingGrain or all(
            mapping.internal == internal for mapping in users.values()
        )

    def _newSession(
        self,
        mapping: MappingRecord,
        packet: Packet,
        side: Side,
        remote: TransportAddress,
        now: float,
    ) -> Session:
        state = None
        if packet.protocol is Protocol.TCP:
            state = firstState(side, SEGMENTS[packet.flags])
        if packet.protocol is Protocol.ICMP:
            timeout = self._behaviour.icmpTimeout
        else:
            timeout = self.timeout(state)
        madeMapping = not mapping.sessions
        # A packet from outside does not by itself make the mapping live longer.
        isGuest = side is Side.OUTSIDE and not madeMapping
        session = Session(
            mapping=mapping,
            internal=mapping.internal,
            external=mapping.external,
            remote=remote,
            timeout=timeout,
            expiresAt=mapping.expiresAt if isGuest else now + timeout,
            isHairpin=remote.host in self.pool.hosts,
            madeMapping=madeMapping,
            state=state,
        )
        self._table.addSession(session)
        return session


def _isTranslatable(packet: Packet) -> bool:
    """
    Has the packet ports, or an identifier in their place?
    """
    if packet.protocol is Protocol.ICMP:
        return ECHO_PORT in (packet.source.port, packet.destination.port)
    return packet.protocol in (Protocol.UDP, Protocol.TCP)
