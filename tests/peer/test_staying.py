"""
Streams that go on, whatever happens to their paths: simulated.
"""

from __future__ import annotations

import random
from typing import Any

from holepunch.address import Transport
from holepunch.lab import LinkSpec, Topology
from holepunch.nat import Protocol
from holepunch.peer import PeerConfig, SessionOptions
from holepunch.peer.events import Moved
from tests.peer.network import Network, Recorder
from tests.peer.test_links import AUTO, UDP
from tests.peer.test_relayedlinks import RelayTestCase

CONES = "port-restricted/port-restricted"
BEAT = 0.1


class Heart:
    """
    Sends eight bytes ten times a second, and measures how long nothing comes back.
    """

    def __init__(self, network: Network, protocol: Recorder) -> None:
        self._network = network
        self._protocol = protocol
        self._sent = b""
        self._count = 0

    def beat(self, seconds: float) -> float:
        """
        Go on for a while.

        @return: The longest time between two echoes.
        """
        transport: Any = self._protocol.transport
        longest = gap = 0.0
        for _ in range(round(seconds / BEAT)):
            data = self._count.to_bytes(8, "big")
            self._count += 1
            self._sent += data
            transport.write(data)
            before = len(self._protocol.received)
            self._network.internet.advance(BEAT)
            gap = 0.0 if len(self._protocol.received) > before else gap + BEAT
            longest = max(longest, gap)
        return longest

    def check(self, case: Any) -> int:
        """
        All that was sent came back, once and in order.

        @return: How many bytes.
        """
        self._network.waitFor(self._protocol.whenReceived(len(self._sent)))
        case.assertEqual(self._protocol.received, self._sent)
        return len(self._sent)


class StayingTestCase(RelayTestCase):
    """
    Alice's stream is up and settled.
    """

    def settle(
        self,
        topology: Topology | str = CONES,
        options: SessionOptions = AUTO,
        seconds: float = 3.0,
        seed: int = 0,
        **values: Any,
    ) -> Heart:
        self.build(topology, seed, **values)
        self.protocol = self.connect(options)
        heart = Heart(self.network, self.protocol)
        heart.beat(seconds)
        return heart

    def nat(self, name: str) -> Any:
        return self.network.internet.fabric.nat(name)


class RebootTests(StayingTestCase):
    """
    NATs that forget, and addresses that change.
    """

    def test_forgetful(self) -> None:
        """
        A NAT that forgets all its mappings interrupts a stream for a few seconds, with a relay and
        without, whichever side it is on.
        """
        for topology in (CONES, "symmetric-random/full-cone", "full-cone/symmetric-random"):
            for name in ("nat-alice", "nat-bob"):
                for relay in (None, (3480,)):
                    with self.subTest(f"{topology}: {name}, relay {relay}"):
                        heart = self.settle(topology, relay=relay, options=UDP)
                        self.nat(name).flush()
                        self.assertLess(heart.beat(20), 8.0)
                        self.assertLess(heart.beat(5), 0.5)
                        heart.check(self)
                        self.doCleanups()

    def test_newAddress(self) -> None:
        """
        A new public address does so, too.
        """
        for name in ("nat-alice", "nat-bob"):
            for relay in (None, (3480,)):
                with self.subTest(f"{name}, relay {relay}"):
                    heart = self.settle(relay=relay, options=UDP)
                    fabric = self.network.internet.fabric
                    fabric.rebindNAT(name, fabric.freeHosts(name)[:1])
                    gap = heart.beat(30)
                    self.assertLess(gap, 12.0)
                    heart.check(self)
                    self.doCleanups()

    def test_hopeless(self) -> None:
        """
        Where only the relay helps, it is found again after a NAT has forgotten everything.
        """
        heart = self.settle("symmetric-random/symmetric-random")
        self.nat("nat-bob").flush()
        heart.beat(20)
        heart.check(self)
        self.assertEqual(self.moves()[-1], "relay")


class RelayDeathTests(StayingTestCase):
    """
    The service, and the relay in it, go away.
    """

    def test_direct(self) -> None:
        """
        A stream on a direct path does not notice that the service has gone.
        """
        heart = self.settle()
        self.assertEqual(self.moves()[-1], "direct")
        self.network.waitFor(self.network.service.stopService())
        self.assertLess(heart.beat(60), 0.5)
        heart.check(self)
        self.network.startService()

    def test_relayed(self) -> None:
        """
        A stream on the relay waits until the service is there again.
        """
        heart = self.settle("symmetric-random/symmetric-random")
        self.network.waitFor(self.network.service.stopService())
        heart.beat(5)
        self.network.startService()
        heart.beat(20)
        heart.check(self)

    def test_crash(self) -> None:
        """
        The same, where the service says no goodbye.
        """
        heart = self.settle("symmetric-random/symmetric-random")
        self.network.internet.host("rendezvous").boot()
        heart.beat(2)
        self.network.startService()
        heart.beat(40)
        heart.check(self)


class ForcedMoveTests(StayingTestCase):
    """
    To and fro between the relay and a direct path.
    """

    def test_blocked(self) -> None:
        """
        A network that begins to block UDP leaves TCP, directly or through the relay; when it lets
        UDP through again, the stream moves back.
        """
        self.config = PeerConfig(upgradeInterval=5.0)
        heart = self.settle()
        for _ in range(2):
            self.nat("nat-alice").block(Protocol.UDP)
            self.assertLess(heart.beat(20), 8.0)
            self.nat("nat-alice").unblock(Protocol.UDP)
            heart.beat(40)
            self.assertEqual(self.moves()[-1], "direct")
        heart.check(self)

    def test_underLoss(self) -> None:
        """
        Forced to and fro while the network loses and doubles packets, a stream of bytes stays the
        same, byte for byte.
        """
        link = LinkSpec(latency=0.02, jitter=0.01, loss=0.02, duplicate=0.02)
        for seed in range(3):
            with self.subTest(f"seed {seed}"):
                self.config = PeerConfig(upgradeInterval=4.0)
                heart = self.settle(Topology.parse(CONES, link), seed=seed)
                transport: Any = self.protocol.transport
                chance = random.Random(seed)
                before = heart.check(self)
                data = chance.randbytes(1_000_000)
                transport.write(data)
                for _ in range(4):
                    name = chance.choice(("nat-alice", "nat-bob"))
                    self.network.internet.advance(chance.uniform(0.2, 2.0))
                    self.nat(name).block(Protocol.UDP)
                    self.network.internet.advance(chance.uniform(0.5, 8.0))
                    self.nat(name).unblock(Protocol.UDP)
                self.network.waitFor(self.protocol.whenReceived(before + len(data)), limit=300)
                self.assertEqual(self.protocol.received[before:], data)
                self.doCleanups()


class VanishingTests(StayingTestCase):
    """
    The other peer is gone for good.
    """

    def test_crashed(self) -> None:
        """
        A peer that vanishes without a word is given up in the end, and everything with it.
        """
        heart = self.settle()
        self.network.internet.host("bob").crash()
        heart.beat(5)
        self.assertLessEqual(len(self.told(Moved)), 10)
        self.network.waitFor(self.protocol.lost, limit=200)

    def test_stopped(self) -> None:
        """
        One that stops says so, and the stream ends at once.
        """
        heart = self.settle()
        self.network.waitFor(self.bob.stopService())
        heart.beat(0.5)
        self.network.waitFor(self.protocol.lost, limit=1)


class OtherTransportTests(StayingTestCase):
    """
    Networks without UDP.
    """

    def test_udpBlocked(self) -> None:
        """
        Where UDP is blocked, the stream goes over TCP: through the relay, then directly, in frames.
        """
        self.build(CONES)
        for name in ("nat-alice", "nat-bob"):
            self.nat(name).block(Protocol.UDP)
        protocol = self.connect(AUTO)
        self.assertEchoes(protocol)
        self.network.internet.advance(10)
        self.assertEchoes(protocol, 200_000)
        self.assertEqual(self.moves()[-1], "direct")
        self.assertEqual(protocol.transport.getPeer().type, "TCP")  # type: ignore[union-attr]

    def test_onlyTCP(self) -> None:
        """
        With UDP blocked on one side and no direct way, one side reaches the relay by TCP.
        """
        self.build("symmetric-random/symmetric-random")
        self.nat("nat-alice").block(Protocol.UDP)
        protocol = self.connect(AUTO)
        self.assertEchoes(protocol, 200_000)
        self.assertEqual(self.moves()[-1], "relay")

    def test_transports(self) -> None:
        """
        A stream may be limited to TCP where it is movable, too.
        """
        self.build(CONES)
        options = SessionOptions(transports=frozenset({Transport.TCP}))
        protocol = self.connect(options)
        self.network.internet.advance(10)
        self.assertEchoes(protocol)
        self.assertEqual(protocol.transport.getPeer().type, "TCP")  # type: ignore[union-attr]


class ChangingTests(StayingTestCase):
    """
    The machine itself changes.
    """

    def test_otherNetwork(self) -> None:
        """
        A machine that moves to another network takes its streams along.
        """
        for relay in (None, (3480,)):
            with self.subTest(f"relay {relay}"):
                heart = self.settle(relay=relay, options=UDP)
                host = self.network.internet.host("alice")
                host.move("192.168.1.77", behind="nat-alice")
                self.assertLess(heart.beat(30), 12.0)
                self.assertLess(heart.beat(5), 0.5)
                heart.check(self)
                self.doCleanups()

    def test_slept(self) -> None:
        """
        A machine that wakes up again, with NATs that have forgotten it, goes on.
        """
        heart = self.settle(options=UDP)
        host = self.network.internet.host("alice")
        calls = [call for call in host.reactor.getDelayedCalls() if call.active()]
        for call in calls:
            call.delay(20.0)
        self.nat("nat-alice").flush()
        self.network.internet.advance(20.0)
        heart.beat(20)
        heart.check(self)

    def test_absoluteLifetime(self) -> None:
        """
        Where mappings are known to end after a fixed time, paths are replaced before that, and no
        gap is seen.
        """
        self.config = PeerConfig(mappingLifetime=20.0, relayStandby=5.0)
        heart = self.settle(relay=None, options=UDP)
        self.assertLess(heart.beat(60), 0.5)
        self.assertGreaterEqual(len(self.moves()), 3)
        self.assertEqual(set(self.moves()), {"direct"})
        heart.check(self)

    def test_longGrant(self) -> None:
        """
        Leave to use the relay is renewed as long as a peer is registered.
        """
        self.build("symmetric-random/symmetric-random")
        self.network.internet.advance(2 * 3600)
        self.assertEchoes(self.connect(AUTO))
        self.assertEqual(self.moves(), ["relay"])
