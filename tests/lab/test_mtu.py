"""
Tests for links that carry only short packets, and for fragments, in the simulated internet.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

import attrs
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import MessageLengthError
from twisted.trial.unittest import SynchronousTestCase

from holepunch.lab import Fate, LinkSpec, SimulatedInternet, Topology
from holepunch.lab.simulatedpathmtu import (
    IP_MTU,
    IP_MTU_DISCOVER,
    IP_PMTUDISC_DO,
    IP_PMTUDISC_DONT,
    IP_PMTUDISC_PROBE,
)
from holepunch.nat import NAMED_BEHAVIOURS, DropReason, Fragments, Protocol
from tests.lab.programs import Accepting, Datagrams, Recorder, Trace

_SERVER = ("5.1.0.1", 3478)
_SHORT = LinkSpec(mtu=1280)
#: So much is in a datagram that just fits 1280 bytes.
_FITS = 1280 - 28


class MTUTestCase(SynchronousTestCase):
    """
    Alice behind a NAT, and a program on the rendezvous host.
    """

    def build(self, nat: LinkSpec = _SHORT, fragments: Fragments = Fragments.FORWARD) -> None:
        """
        Begin anew.

        @param nat: The link of alice's NAT.
        """
        behaviour = attrs.evolve(NAMED_BEHAVIOURS["port-restricted"], fragments=fragments)
        topology = Topology.twoNATs(behaviour, None)
        nats = tuple(attrs.evolve(each, link=nat) for each in topology.nats)
        self.internet = SimulatedInternet(attrs.evolve(topology, nats=nats))
        self.trace = Trace(self.internet.fabric)
        self.server = Datagrams()
        self.internet.host("rendezvous").reactor.listenUDP(_SERVER[1], self.server)
        self.client: Any = Datagrams()
        port: Any = self.internet.host("alice").reactor.listenUDP(0, self.client)
        self.socket = port.socket

    def discover(self, mode: int) -> None:
        """
        Set the mode of alice's socket.
        """
        self.socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, mode)

    def arrives(self, size: int, back: bool = False) -> bool:
        """
        Does a datagram of that size arrive, whole?
        """
        data = bytes(range(256)) * (size // 256) + bytes(size % 256)
        if back:
            sender, receiver = self.server, self.client
            self.server.transport.write(data, self.server.received[-1][1])  # type: ignore[union-attr]
        else:
            sender, receiver = self.client, self.server
            self.client.transport.write(data, _SERVER)
        del sender
        before = len(receiver.received)
        self.internet.advance(1.0)
        return any(received == data for received, _ in receiver.received[before:])

    def fragmentsSeen(self) -> int:
        """
        How many fragments reached the rendezvous host.
        """
        return sum(
            packet.protocol is Protocol.FRAGMENT
            for place, packet, fate in self.trace.fates
            if (place, fate) == ("rendezvous", Fate.DELIVERED)
        )


class DiscoveryTests(MTUTestCase):
    """
    Path MTU discovery by ICMP.
    """

    def test_told(self) -> None:
        """
        By default the first long datagram is lost, and its sender told; the next leaves in
        fragments.
        """
        self.build()
        self.assertTrue(self.arrives(_FITS))
        self.assertFalse(self.arrives(_FITS + 1))
        self.assertEqual(self.internet.fabric.counters("nat-alice").tooBig, 1)
        self.assertTrue(self.arrives(_FITS + 1))
        self.assertEqual(self.fragmentsSeen(), 2)

    def test_refused(self) -> None:
        """
        With C{IP_PMTUDISC_DO} the next one is refused by the socket, and a shorter one is not.
        """
        self.build()
        self.discover(IP_PMTUDISC_DO)
        self.assertFalse(self.arrives(1400))
        with self.assertRaises(MessageLengthError):
            self.arrives(1400)
        self.assertTrue(self.arrives(_FITS))

    def test_probe(self) -> None:
        """
        With C{IP_PMTUDISC_PROBE} only the interface's MTU is a limit, whatever routers say.
        """
        self.build()
        self.discover(IP_PMTUDISC_PROBE)
        for _ in range(2):
            self.assertFalse(self.arrives(1500 - 28))
            with self.assertRaises(MessageLengthError):
                self.arrives(1500 - 27)
        self.assertEqual(self.fragmentsSeen(), 0)

    def test_dontDiscover(self) -> None:
        """
        With C{IP_PMTUDISC_DONT} the router cuts what is too long.
        """
        self.build()
        self.discover(IP_PMTUDISC_DONT)
        self.assertTrue(self.arrives(1400))
        self.assertEqual(self.fragmentsSeen(), 2)

    def test_connected(self) -> None:
        """
        A connected socket is told with C{EMSGSIZE}, and knows the path's MTU from then on.
        """
        self.build()
        self.discover(IP_PMTUDISC_PROBE)
        self.socket.connect(_SERVER)
        self.assertEqual(self.socket.getsockopt(socket.IPPROTO_IP, IP_MTU), 1500)
        self.socket.send(bytes(1400))
        # The reactor would read the error, and close the port.
        self.internet.host("alice").reactor.removeReader(
            self.internet.host("alice").reactor.getReaders()[-1]
        )
        self.internet.advance(1.0)
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self.assertEqual(error, errno.EMSGSIZE)
        self.assertEqual(self.socket.getsockopt(socket.IPPROTO_IP, IP_MTU), 1280)

    def test_forgotten(self) -> None:
        """
        After ten minutes the longer packets are tried again (RFC 1191 section 6.3).
        """
        self.build()
        self.arrives(1400)
        self.internet.advance(600.0)
        self.assertFalse(self.arrives(1400))
        self.assertTrue(self.arrives(1400))

    def test_blackHole(self) -> None:
        """
        On a black hole what is too long vanishes, again and again.
        """
        self.build(LinkSpec(mtu=1280, isBlackHole=True))
        for _ in range(3):
            self.assertFalse(self.arrives(1400))
        self.assertTrue(self.arrives(_FITS))
        self.assertEqual(self.internet.fabric.counters("nat-alice").tooBig, 3)

    def test_downward(self) -> None:
        """
        The router before a short link tells a sender far away as well.
        """
        self.build()
        self.arrives(5)
        self.assertFalse(self.arrives(1400, back=True))
        self.assertTrue(self.arrives(1400, back=True))

    def test_ownInterface(self) -> None:
        """
        A host knows the MTU of its own link, unless that is a black hole.
        """
        self.build(LinkSpec())
        self.internet.fabric.setLink("alice", _SHORT)
        self.discover(IP_PMTUDISC_DO)
        with self.assertRaises(MessageLengthError):
            self.arrives(1400)
        self.internet.fabric.setLink("alice", LinkSpec(mtu=1280, isBlackHole=True))
        self.assertFalse(self.arrives(1400))
        self.assertFalse(self.arrives(1400))


class StreamTests(MTUTestCase):
    """
    TCP over short links.
    """

    def transfer(self, link: LinkSpec) -> int:
        """
        Send over a link of alice's NAT.

        @return: How much arrived in a minute.
        """
        self.build(link)
        reactor: Any = self.internet.host("rendezvous").reactor
        server = Accepting()
        self.internet.waitFor(TCP4ServerEndpoint(reactor, 80).listen(server))
        alice: Any = self.internet.host("alice").reactor
        endpoint = TCP4ClientEndpoint(alice, _SERVER[0], 80)
        client: Any = self.internet.waitFor(endpoint.connect(Accepting(Recorder)))
        client.transport.write(bytes(100_000))
        self.internet.advance(60.0)
        return len(server.built[0].received)

    def test_shrinks(self) -> None:
        """
        A stream goes on in shorter segments once a router has complained.
        """
        self.assertEqual(self.transfer(_SHORT), 100_000)
        self.assertEqual(self.fragmentsSeen(), 0)

    def test_stalls(self) -> None:
        """
        On a black hole it stalls.
        """
        self.assertEqual(self.transfer(LinkSpec(mtu=1280, isBlackHole=True)), 0)


class FragmentTests(MTUTestCase):
    """
    Datagrams longer than any link.
    """

    def test_forwarded(self) -> None:
        """
        A NAT translates datagrams in fragments, in either direction.
        """
        self.build()
        for size in (2000, 9000, 65507):
            self.client.transport.maxPacketSize = 65535
            self.server.transport.maxPacketSize = 65535  # type: ignore[union-attr]
            self.assertTrue(self.arrives(size), size)
            self.assertTrue(self.arrives(size, back=True), size)

    def test_reordered(self) -> None:
        """
        It does so in whatever order they come.
        """
        self.build(LinkSpec(reorder=0.5))
        self.assertTrue(all(self.arrives(8000 - 256 * number) for number in range(10)))

    def test_lost(self) -> None:
        """
        With one fragment the whole is lost.
        """
        self.build()
        self.internet.fabric.setLink("alice", LinkSpec(loss=0.5))
        self.assertFalse(self.arrives(60_000))

    def test_dropped(self) -> None:
        """
        A NAT that lets no fragments pass says so.
        """
        self.build(LinkSpec(), Fragments.DROP)
        self.assertTrue(self.arrives(1400))
        self.assertFalse(self.arrives(2000))
        reasons = {line.split(" ", 1)[1] for line in self.trace.lines if "nat-alice" in line}
        self.assertTrue(any(DropReason.FRAGMENT.value in reason for reason in reasons))

    def test_lostOnLink(self) -> None:
        """
        So is a link that loses fragments, be they made before it or for it.
        """
        self.build(LinkSpec(mtu=1280, losesFragments=True))
        self.discover(IP_PMTUDISC_DONT)
        self.assertTrue(self.arrives(1200))
        self.assertFalse(self.arrives(1400))
        self.assertFalse(self.arrives(2000))

    def test_blocked(self) -> None:
        """
        Who blocks UDP blocks fragments of it.
        """
        self.build()
        self.internet.fabric.nat("nat-alice").block(Protocol.UDP)
        self.assertFalse(self.arrives(2000))
