"""
The model NAT: packets go in on either side, translated packets come out.

Owns: what becomes of every packet, and how connections are followed (RFC 4787 for UDP, RFC 5382 for
TCP, RFC 5508 for ICMP). Who gets a session is decided in L{holepunch.nat.admission}.
Knows nothing of: sockets, frames, links, other devices, and the payload.
Driven by: the lab and the simulator, which pass C{now} in seconds, carry out what
L{NATDevice.takeEffects} returns, and give the device its randomness.

C{receiveInside} and C{receiveOutside} do by themselves only what a packet with a session needs:
they are the cost of a router in pure Python. All else is left to methods that may be slow.
"""

from __future__ import annotations

from collections.abc import Sequence

from holepunch.address import TransportAddress
from holepunch.nat.admission import Admission
from holepunch.nat.answers import errorInward, errorOutward, refusalFor, timeExceededFor
from holepunch.nat.behaviour import Fragments, NATBehaviour, Refresh
from holepunch.nat.effects import Drop, DropReason, Forward, Side
from holepunch.nat.fragment import Reassembly
from holepunch.nat.packet import ICMPError, Packet, Protocol
from holepunch.nat.portallocation import RandomSource
from holepunch.nat.session import MappingView, Session
from holepunch.nat.sessiontable import SessionTable
from holepunch.nat.tcpstate import SEGMENTS, TRANSITIONS, Segment, TCPState


class NATDevice:
    """
    One NAT.

    Bad packets are dropped with a reason; none makes the device raise. The same inputs and the same
    random numbers give the same effects.

    @param externalHosts: The addresses outside. Each internal host stays on one of them as long as
        it has mappings (paired pooling, RFC 4787 REQ-2). A one-to-one device with none of them
        leaves addresses as they are: it is a firewall.
    @param ownHosts: The addresses by which a firewall speaks, which has no external ones.
    @param now: Seconds. A C{now} that is earlier than the one before counts as the same moment.
    @raise BadAddress: One of the C{externalHosts} is not an IP literal.
    """

    def __init__(
        self,
        behaviour: NATBehaviour,
        externalHosts: Sequence[str],
        random: RandomSource,
        now: float = 0.0,
        ownHosts: Sequence[str] = (),
    ) -> None:
        self.behaviour = behaviour
        self._now = now
        self._table = SessionTable()
        self._admission = Admission(behaviour, externalHosts, random, self._table)
        self._ownHosts = {TransportAddress(host, 0).family: host for host in ownHosts}
        self._effects: list[Forward | Drop] = []
        self._blocked = set(behaviour.blocked)
        self._reassembly = Reassembly()
        self._isRefreshedOutbound = behaviour.refresh is not Refresh.INBOUND
        self._isRefreshedInbound = behaviour.refresh is not Refresh.OUTBOUND

    # --- inputs -----------------------------------------------------------------------------------

    def receiveInside(self, packet: Packet, now: float) -> None:
        """
        Take a packet that an internal host sends to the outside.
        """
        if now > self._now:
            self._now = now
        if self._table.nextExpiryAt <= self._now:
            self._table.expire(self._now)
        protocol = packet.protocol
        source = packet.source
        destination = packet.destination
        if self._blocked and protocol in self._blocked:
            self._drop(packet, DropReason.BLOCKED)
            return
        if packet.ttl <= 1:
            self._tellTimeExceeded(Side.INSIDE, packet)
            return
        session = self._table.outbound.get(
            (protocol, source.host, source.port, destination.host, destination.port)
        )
        if session is None:
            session = self._openFromInside(packet)
            if session is None:
                return
        if self._isRefreshedOutbound:
            session.expiresAt = self._now + session.timeout
        if not session.isContacted:
            session.contact()
        if session.state is not None:
            segment = SEGMENTS[packet.flags]
            if segment is not Segment.PLAIN or session.state is not TCPState.ESTABLISHED:
                if segment is Segment.SYN:
                    session.synSequence = packet.sequence
                elif segment is Segment.SYN_ACK and self._isBadSequence(session, packet):
                    self._drop(packet, DropReason.BAD_SEQUENCE)
                    return
                self._follow(session, Side.INSIDE, segment)
        isHairpin = session.isHairpin
        translated = Packet(
            protocol,
            session.external,
            destination,
            flags=packet.flags,
            sequence=packet.sequence,
            acknowledgment=packet.acknowledgment,
            payload=packet.payload,
            ttl=packet.ttl if isHairpin else packet.ttl - 1,
        )
        if isHairpin:
            self.receiveOutside(translated, now)
        else:
            self._effects.append(Forward(Side.OUTSIDE, translated))

    def receiveOutside(self, packet: Packet, now: float) -> None:
        """
        Take a packet that arrives from the outside.
        """
        if now > self._now:
            self._now = now
        if self._table.nextExpiryAt <= self._now:
            self._table.expire(self._now)
        protocol = packet.protocol
        source = packet.source
        destination = packet.destination
        if self._blocked and protocol in self._blocked:
            self._drop(packet, DropReason.BLOCKED)
            return
        session = self._table.inbound.get(
            (protocol, destination.host, destination.port, source.host, source.port)
        )
        if session is None:
            session = self._openFromOutside(packet)
            if session is None:
                return
        elif packet.ttl <= 1:
            self._tellTimeExceeded(Side.OUTSIDE, packet)
            return
        if self._isRefreshedInbound:
            session.expiresAt = self._now + session.timeout
        if session.state is not None:
            segment = SEGMENTS[packet.flags]
            if segment is not Segment.PLAIN or session.state is not TCPState.ESTABLISHED:
                self._follow(session, Side.OUTSIDE, segment)
        self._effects.append(
            Forward(
                Side.INSIDE,
                Packet(
                    protocol,
                    source,
                    session.internal,
                    flags=packet.flags,
                    sequence=packet.sequence,
                    acknowledgment=packet.acknowledgment,
                    payload=packet.payload,
                    ttl=packet.ttl - 1,
                ),
            )
        )

    # --- outputs ----------------------------------------------------------------------------------

    def takeEffects(self) -> list[Forward | Drop]:
        """
        What came of the packets since the last call, in order.
        """
        effects, self._effects = self._effects, []
        return effects

    def mappings(self, now: float) -> tuple[MappingView, ...]:
        """
        The mappings that are alive, oldest first.
        """
        self._now = max(self._now, now)
        self._table.expire(self._now)
        return self._table.views()

    # --- what an operator may do to it ------------------------------------------------------------

    def flush(self) -> None:
        """
        Forget all mappings, as a restart does. Static pairs of addresses stay.
        """
        self._table.clear()

    def rebind(self, externalHosts: Sequence[str]) -> None:
        """
        Change the external addresses, as a new lease does; all mappings are lost.

        @raise BadAddress: One of the C{externalHosts} is not an IP literal.
        """
        self._admission.rebind(externalHosts)
        self._table.clear()

    def assign(self, internalHost: str, externalHost: str) -> None:
        """
        Give an external host to an internal one for good, before it sends anything.

        @raise UsageError: The device is not one-to-one, or one of the hosts is paired already.
        """
        self._admission.pool.assign(internalHost, externalHost)

    def block(self, protocol: Protocol) -> None:
        """
        Let no more packets of C{protocol} through, in either direction.
        """
        self._blocked.add(protocol)

    def unblock(self, protocol: Protocol) -> None:
        """
        Let packets of C{protocol} through again.
        """
        self._blocked.discard(protocol)

    # --- packets that are not plainly forwarded ---------------------------------------------------

    def _openFromInside(self, packet: Packet) -> Session | None:
        if packet.protocol is Protocol.FRAGMENT:
            whole = self._reassembled(packet)
            if whole is not None:
                self.receiveInside(whole, self._now)
            return None
        if packet.icmp is not None:
            self._translateErrorOutward(packet, packet.icmp)
            return None
        opened = self._admission.fromInside(packet, self._now)
        if isinstance(opened, DropReason):
            self._drop(packet, opened)
            return None
        return opened

    def _openFromOutside(self, packet: Packet) -> Session | None:
        if packet.protocol is Protocol.FRAGMENT:
            whole = self._reassembled(packet)
            if whole is not None:
                self.receiveOutside(whole, self._now)
            return None
        if packet.icmp is not None:
            self._translateErrorInward(packet, packet.icmp)
            return None
        opened = self._admission.fromOutside(packet, self._now)
        if opened is DropReason.TTL_EXPIRED:
            self._tellTimeExceeded(Side.OUTSIDE, packet)
        elif isinstance(opened, DropReason):
            self._drop(packet, opened)
            self._sendOutside(refusalFor(packet, opened, self.behaviour.unsolicited))
        else:
            return opened
        return None

    def _reassembled(self, packet: Packet) -> Packet | None:
        """
        Take a fragment.

        @return: The whole packet, with its last fragment.
        """
        if self.behaviour.fragments is Fragments.DROP:
            self._drop(packet, DropReason.FRAGMENT)
            return None
        return self._reassembly.add(packet, self._now)

    def _isBadSequence(self, session: Session, packet: Packet) -> bool:
        return (
            self.behaviour.checksSequence
            and session.synSequence is not None
            and session.synSequence != packet.sequence
        )

    def _follow(self, session: Session, side: Side, segment: Segment) -> None:
        """
        Let the TCP state machine see a segment.
        """
        state = session.state
        assert state is not None
        following = TRANSITIONS.get((state, side, segment), state)
        if following is not state:
            session.state = following
            session.timeout = self._admission.timeout(following)
            self._table.restart(session, self._now)
        isOver = segment is Segment.RST or following is TCPState.CLOSED
        if isOver and session.madeMapping and self.behaviour.dropsMappingOnReset:
            self._table.removeMapping(session.mapping)

    def _translateErrorOutward(self, packet: Packet, error: ICMPError) -> None:
        local, remote = error.original.destination, error.original.source
        session = self._table.outbound.get(
            (error.original.protocol, local.host, local.port, remote.host, remote.port)
        )
        if session is None:
            self._drop(packet, DropReason.NO_MAPPING)
        else:
            self._sendOutside(errorOutward(packet, session))

    def _translateErrorInward(self, packet: Packet, error: ICMPError) -> None:
        local, remote = error.original.source, error.original.destination
        session = self._table.inbound.get(
            (error.original.protocol, local.host, local.port, remote.host, remote.port)
        )
        if session is None:
            self._drop(packet, DropReason.NO_MAPPING)
        elif packet.ttl <= 1:
            self._drop(packet, DropReason.TTL_EXPIRED)
        else:
            self._effects.append(Forward(Side.INSIDE, errorInward(packet, session)))

    def _tellTimeExceeded(self, side: Side, packet: Packet) -> None:
        """
        Drop a packet that was forwarded too often, and tell its sender (RFC 1812 section 5.3.1).
        """
        self._drop(packet, DropReason.TTL_EXPIRED)
        family = packet.source.family
        host = self._admission.pool.firstHost(family) or self._ownHosts.get(family)
        answer = None if host is None else timeExceededFor(packet, host)
        if side is Side.OUTSIDE:
            self._sendOutside(answer)
        elif answer is not None:
            self._effects.append(Forward(side, answer))

    def _sendOutside(self, packet: Packet | None) -> None:
        """
        Send a packet out, or back in when it is for one of our own external hosts (hairpin).
        """
        if packet is not None and packet.destination.host in self._admission.pool.hosts:
            self.receiveOutside(packet, self._now)
        elif packet is not None:
            self._effects.append(Forward(Side.OUTSIDE, packet))

    def _drop(self, packet: Packet, reason: DropReason) -> None:
        self._effects.append(Drop(packet, reason))
