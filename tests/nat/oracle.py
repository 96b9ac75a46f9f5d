"""
A second model of a NAT for UDP, as naive as can be: lists, searched from end to end.

It says what must become of a datagram. Where a device may choose, as it does with random ports, it
is told the choice and says whether that was allowed.
"""

from __future__ import annotations

import attrs

from holepunch.address import TransportAddress
from holepunch.nat import (
    DropReason,
    Filtering,
    Mapping,
    NATBehaviour,
    PortAllocation,
    Refresh,
    Side,
)


@attrs.define(eq=False)
class Flow:
    """
    One internal endpoint's traffic with one remote endpoint.
    """

    remote: TransportAddress
    expiresAt: float
    isContacted: bool = False


@attrs.define(eq=False)
class Mapped:
    """
    One mapping with its flows.
    """

    internal: TransportAddress
    external: TransportAddress
    domain: str
    flows: list[Flow] = attrs.Factory(list)


@attrs.frozen
class Arrived:
    """
    A datagram that came out of the device.
    """

    side: Side
    source: TransportAddress
    destination: TransportAddress


class Oracle:
    """
    What a device with this behaviour and these external hosts must do.
    """

    def __init__(self, behaviour: NATBehaviour, hosts: tuple[str, ...]) -> None:
        self.behaviour = behaviour
        self.hosts = hosts
        self.mapped: list[Mapped] = []
        self.turn = 0
        self.lastPorts: dict[str, int] = {}
        self.pairs: dict[str, str] = {}

    def advance(self, now: float) -> None:
        """
        Forget what is over.
        """
        self.now = now
        for mapping in self.mapped:
            mapping.flows = [flow for flow in mapping.flows if flow.expiresAt > now]
        self.mapped = [mapping for mapping in self.mapped if mapping.flows]

    def sendOut(
        self, internal: TransportAddress, remote: TransportAddress, seen: TransportAddress
    ) -> Arrived | DropReason:
        """
        What must become of a datagram from inside.

        @param seen: The source that the device gave the datagram.
        """
        if remote.host in self.hosts and not self.behaviour.hairpin:
            return DropReason.HAIRPIN_DISABLED
        found = self.find(internal, remote)
        if found is None:
            if self.flowCount() >= self.behaviour.maxSessions:
                return DropReason.TABLE_FULL
            mapping = self.mappingFor(internal, self.domain(remote), seen)
            if isinstance(mapping, DropReason):
                return mapping
            flow = Flow(remote, self.now + self.behaviour.udpTimeout)
            mapping.flows.append(flow)
        else:
            mapping, flow = found
        flow.isContacted = True
        if self.behaviour.refresh is not Refresh.INBOUND:
            flow.expiresAt = self.now + self.behaviour.udpTimeout
        if remote.host in self.hosts:
            return self.sendIn(mapping.external, remote)
        return Arrived(Side.OUTSIDE, mapping.external, remote)

    def sendIn(self, remote: TransportAddress, external: TransportAddress) -> Arrived | DropReason:
        """
        What must become of a datagram from outside.
        """
        users = [mapping for mapping in self.mapped if mapping.external == external]
        for mapping in users:
            for flow in mapping.flows:
                if flow.remote == remote:
                    return self.deliver(mapping, flow)
        if external.host not in self.hosts:
            return DropReason.NOT_OURS
        isOpen = self.behaviour.isOneToOne and (
            self.behaviour.filtering is Filtering.ENDPOINT_INDEPENDENT
        )
        internals = [inside for inside, outside in self.pairs.items() if outside == external.host]
        permitting = [mapping for mapping in users if self.permits(mapping, remote)]
        if users and not permitting:
            return DropReason.FILTERED
        if not users and not (isOpen and internals):
            return DropReason.NO_MAPPING
        # Whoever may send reaches one internal endpoint, whichever mapping lets it in.
        assert len({mapping.internal for mapping in permitting}) <= 1
        if permitting:
            exact = [user for user in permitting if user.domain == self.domain(remote)]
            chosen = (exact or permitting)[0]
            known = self.find(chosen.internal, remote)
            if known is not None:
                return self.deliver(*known)
        if self.flowCount() >= self.behaviour.maxSessions:
            return DropReason.TABLE_FULL
        if permitting:
            flow = Flow(remote, max(flow.expiresAt for flow in chosen.flows))
        else:
            internal = TransportAddress(internals[0], external.port)
            made = self.mappingFor(internal, "", external)
            if isinstance(made, DropReason):
                return made
            chosen = made
            flow = Flow(remote, self.now + self.behaviour.udpTimeout)
        chosen.flows.append(flow)
        return self.deliver(chosen, flow)

    def deliver(self, mapping: Mapped, flow: Flow) -> Arrived:
        """
        A datagram from outside gets in.
        """
        if self.behaviour.refresh is not Refresh.OUTBOUND:
            flow.expiresAt = self.now + self.behaviour.udpTimeout
        return Arrived(Side.INSIDE, flow.remote, mapping.internal)

    def find(
        self, internal: TransportAddress, remote: TransportAddress
    ) -> tuple[Mapped, Flow] | None:
        """
        The flow between two endpoints.
        """
        for mapping in self.mapped:
            for flow in mapping.flows:
                if (mapping.internal, flow.remote) == (internal, remote):
                    return mapping, flow
        return None

    def flowCount(self) -> int:
        """
        How many flows there are.
        """
        return sum(len(mapping.flows) for mapping in self.mapped)

    def domain(self, remote: TransportAddress) -> str:
        """
        What the mapping sees of a remote endpoint.
        """
        if self.behaviour.isOneToOne or self.behaviour.mapping is Mapping.ENDPOINT_INDEPENDENT:
            return ""
        if self.behaviour.mapping is Mapping.ADDRESS_DEPENDENT:
            return remote.host
        return str(remote)

    def permits(self, mapping: Mapped, remote: TransportAddress) -> bool:
        """
        May a new remote endpoint use the mapping? (RFC 4787 section 5)
        """
        if self.behaviour.filtering is Filtering.ENDPOINT_INDEPENDENT:
            return True
        return self.behaviour.filtering is Filtering.ADDRESS_DEPENDENT and any(
            flow.isContacted and flow.remote.host == remote.host for flow in mapping.flows
        )

    def mappingFor(
        self, internal: TransportAddress, domain: str, seen: TransportAddress
    ) -> Mapped | DropReason:
        """
        The mapping of an internal endpoint; a new one as the device made it, if it was allowed to.
        """
        for known in self.mapped:
            if (known.internal, known.domain) == (internal, domain):
                return known
        behaviour = self.behaviour
        own = [mapping for mapping in self.mapped if mapping.internal.host == internal.host]
        if len(self.mapped) >= behaviour.maxMappings:
            return DropReason.TABLE_FULL
        if len(own) >= behaviour.maxMappingsPerHost:
            return DropReason.HOST_LIMIT
        if behaviour.isOneToOne:
            left = [host for host in self.hosts if host not in self.pairs.values()]
            if internal.host not in self.pairs and not left:
                return DropReason.NO_EXTERNAL_HOST
            host = self.pairs.setdefault(internal.host, left[0] if left else "")
            external = TransportAddress(host, internal.port)
        else:
            if own:
                host = own[0].external.host
            else:
                host = self.hosts[self.turn % len(self.hosts)]
                self.turn += 1
            ports = self.allowedPorts(internal, domain, host)
            if not ports:
                return DropReason.PORTS_EXHAUSTED
            assert seen.port in ports, (seen, ports)
            self.lastPorts[host] = seen.port
            external = TransportAddress(host, seen.port)
        mapping = Mapped(internal, external, domain)
        self.mapped.append(mapping)
        return mapping

    def allowedPorts(self, internal: TransportAddress, domain: str, host: str) -> list[int]:
        """
        The external ports that may be chosen, by the way of the behaviour.
        """
        first, last = self.behaviour.firstPort, self.behaviour.lastPort
        free = [
            port for port in range(first, last + 1) if self.isFree(internal, domain, host, port)
        ]
        if self.behaviour.ports is PortAllocation.RANDOM:
            return free
        if self.behaviour.ports is PortAllocation.PRESERVED:
            wish = internal.port
        elif host in self.lastPorts:
            wish = self.lastPorts[host] + self.behaviour.portStep
        else:
            return free
        # The wish, or else the next one after it, all ports standing in a circle.
        return sorted(free, key=lambda port: (port - wish) % (last - first + 1))[:1]

    def isFree(self, internal: TransportAddress, domain: str, host: str, port: int) -> bool:
        """
        Can the port be given away? Two mappings share one only if nobody can be taken for another.
        """
        users = [
            mapping for mapping in self.mapped if mapping.external == TransportAddress(host, port)
        ]
        if not users:
            return True
        behaviour = self.behaviour
        if not (behaviour.overloadsPorts and behaviour.ports is PortAllocation.PRESERVED):
            return False
        if domain in [mapping.domain for mapping in users]:
            return False
        grains = ["endpoint-independent", "address-dependent", "address-and-port-dependent"]
        tellsApart = grains.index(behaviour.filtering.value) >= grains.index(
            behaviour.mapping.value
        )
        return tellsApart or {mapping.internal for mapping in users} == {internal}
