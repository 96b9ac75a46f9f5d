"""
Connections that always come about: by the relay, and off it where there is a direct way.
"""

from __future__ import annotations

import random
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from holepunch.address import Transport
from holepunch.errors import NoPathFound, PathLost, SessionRefused
from holepunch.lab import LinkSpec, Topology
from holepunch.lab.matrixexpectation import expect
from holepunch.lab.matrixkind import NATKind
from holepunch.nat import NAMED_BEHAVIOURS
from holepunch.peer import PeerConfig, SessionOptions
from holepunch.peer.events import Connected, Mapped, Punched
from holepunch.peer.openpath import OpenPath
from holepunch.punch import EventKind
from holepunch.rendezvous.introduction import RelayPolicy
from tests.peer.network import Network
from tests.peer.test_links import AUTO, LinkTestCase

ONLY = SessionOptions(transports=frozenset(Transport), relay=RelayPolicy.ONLY)
NEVER = SessionOptions(transports=frozenset(Transport), relay=RelayPolicy.NEVER)
RELAY = (3480, 443)
CLASSIC = ("none", "full-cone", "address-restricted", "port-restricted", "symmetric-random")


class RelayTestCase(LinkTestCase):
    """
    The service has a relay.
    """

    def build(self, topology: Topology | str, seed: int = 0, **options: Any) -> Network:
        options.setdefault("relay", RELAY)
        return super().build(topology, seed, **options)


class RelayTests(RelayTestCase):
    """
    Through the relay.
    """

    def test_hopeless(self) -> None:
        """
        Where no direct way exists, the relay carries the streams.
        """
        self.build("symmetric-random/symmetric-random")
        self.assertEchoes(self.connect(AUTO))
        self.network.internet.advance(60)
        for name in ("alice", "bob"):
            self.assertEqual(self.moves(name), ["relay"])

    def test_upgrade(self) -> None:
        """
        Where one exists, the streams are on the relay first, and then on the direct way.
        """
        self.build("port-restricted/port-restricted")
        protocol = self.connect(AUTO)
        self.assertEchoes(protocol)
        self.network.internet.advance(60)
        self.assertEchoes(protocol)
        for name in ("alice", "bob"):
            self.assertEqual(self.moves(name)[-1], "direct")
        self.assertEqual(protocol.transport.getPeer().host[:3], "31.")  # type: ignore[union-attr]

    def test_everyPair(self) -> None:
        """
        Every pair of the classic NATs connects, and moves to a direct way wherever there is one.
        """
        kinds = {name: NATKind(name=name, behaviour=NAMED_BEHAVIOURS.get(name)) for name in CLASSIC}
        for alice in CLASSIC:
            for bob in CLASSIC:
                with self.subTest(f"{alice}/{bob}"):
                    self.build(f"{alice}/{bob}")
                    protocol = self.connect(AUTO)
                    self.assertEchoes(protocol, 10_000)
                    self.network.internet.advance(20)
                    self.assertEchoes(protocol, 10_000)
                    isPossible = expect(kinds[alice], kinds[bob]).isPossible
                    if isPossible:
                        self.assertEqual(self.moves()[-1], "direct")
                    self.doCleanups()

    def test_onlyRelay(self) -> None:
        """
        With nothing but the relay allowed, neither side hears of an address of the other.
        """
        self.build("port-restricted/port-restricted")
        self.assertEchoes(self.connect(ONLY))
        self.network.internet.advance(30)
        for name in ("alice", "bob"):
            self.assertEqual(self.moves(name), ["relay"])
            self.assertEqual([each for each in self.told(Mapped, name) if each.session], [])
            candidates = [
                each.event.detail
                for each in self.told(Punched, name)
                if each.event.kind is EventKind.REMOTE_CANDIDATE
            ]
            self.assertEqual(candidates, [])

    def test_never(self) -> None:
        """
        Whoever wants no relay gets none, and the sentence that says why there is no way.
        """
        self.build("symmetric-random/symmetric-random")
        never = attrs.evolve(NEVER, timeout=10.0)
        self.assertRaises(NoPathFound, self.connect, never)

    def test_soon(self) -> None:
        """
        The relay carries data within two and a half round trips to the service.
        """
        link = LinkSpec(latency=0.025, jitter=0.0)
        self.build(Topology.parse("symmetric-random/symmetric-random", link))
        self.assertEchoes(self.connect(AUTO), 10)
        [connected] = self.told(Connected)
        # There are three links on the way to the service.
        roundTrip = 6 * 0.025
        self.assertLessEqual(connected.seconds, 2.5 * roundTrip)

    def test_datagrams(self) -> None:
        """
        Bare datagrams of the program go through the relay beside streams, and the two are not taken
        for each other.
        """
        self.build("symmetric-random/symmetric-random")
        stream = self.connect(AUTO)
        accepted: Deferred[OpenPath] = Deferred()
        self.network.waitFor(Deferred.fromCoroutine(self.bob.acceptDatagrams(accepted.callback)))
        near = self.network.waitFor(self.alice.openDatagrams("bob"))
        far = self.network.waitFor(accepted)
        received: list[bytes] = []
        far.setReceiver(far.send)
        near.setReceiver(received.append)
        for number in range(20):
            near.send(b"datagram %d" % number)
        self.assertEchoes(stream)
        self.assertEqual(received, [b"datagram %d" % number for number in range(20)])
        self.assertLess(self.network.waitFor(near.ping()), 0.5)
        lost = far.whenLost()
        near.close()
        self.network.internet.advance(5)
        self.failureResultOf(lost, PathLost)
        self.assertEchoes(stream)

    def test_many(self) -> None:
        """
        All sessions of a peer share one address at the relay.
        """
        self.build("symmetric-random/symmetric-random")
        for _ in range(3):
            self.network.waitFor(self.alice.openPingPath("bob", AUTO)).close()
        self.assertEchoes(self.connect(AUTO))
        addresses = {each.local for each in self.told(Connected)}
        self.assertEqual(len(addresses), 1)

    def test_flushed(self) -> None:
        """
        Once a stream that was closed tells its end, the other side has everything: the peer may be
        stopped.
        """
        for pair in ("symmetric-random/symmetric-random", "port-restricted/port-restricted"):
            self.build(pair)
            protocol = self.connect(AUTO)
            data = random.Random(pair).randbytes(300_000)
            transport: Any = protocol.transport
            transport.write(data)
            transport.loseConnection()
            self.network.waitFor(protocol.lost)
            self.network.waitFor(self.alice.stopService())
            self.network.internet.advance(1)
            self.assertEqual(self.echo.built[0].received, data)
            self.doCleanups()

    def test_ping(self) -> None:
        """
        Whoever measures round trips is told which way they go at the moment.
        """
        self.build("port-restricted/port-restricted")
        path = self.network.waitFor(self.alice.openPingPath("bob", AUTO))
        first = path.way
        self.network.waitFor(path.ping())
        self.network.internet.advance(20)
        self.network.waitFor(path.ping())
        self.assertEqual((first.path, path.way.path), ("relay", "direct"))
        path.whenLost().addErrback(lambda failure: None)
        path.close()

    def test_listeners(self) -> None:
        """
        Whoever is asked may want no relay either, or nothing else.
        """
        self.config = PeerConfig(relay=RelayPolicy.NEVER)
        self.build("port-restricted/port-restricted")
        self.alice = self.network.peer("alice", "carol")
        self.assertEchoes(self.connect(AUTO))
        self.assertEqual(self.moves("bob"), ["direct"])
        self.doCleanups()
        self.config = PeerConfig(relay=RelayPolicy.ONLY)
        self.build("port-restricted/port-restricted")
        error = self.assertRaises(SessionRefused, self.connect, NEVER)
        self.assertIn("--relay only", str(error))
        self.assertRaises(SessionRefused, self.connect, AUTO)
        self.assertEchoes(self.connect(ONLY))
        self.assertEqual(self.moves("bob"), ["relay"])
