"""
What the relay did, or failed to do, injected and named.
"""

from __future__ import annotations

from typing import Any

import attrs

from holepunch.explain import Cause, Explanation
from holepunch.nat.packet import Packet, Protocol
from holepunch.rendezvous.introduction import RelayPolicy
from holepunch.rendezvous.relay import RelayService
from holepunch.turn import RelayLimits
from tests.explain.middlebox import Middlebox, isOfService
from tests.explain.stage import AUTO, CONES, UDP, CauseTestCase
from tests.peer.network import Network

HOPELESS = "symmetric-random/symmetric-random"
RELAY = (3480, 443)
NATS = ("nat-alice", "nat-bob")


def isRelaying(packet: Packet) -> bool:
    """
    To or from the relay.
    """
    return any(each in RELAY for each in (packet.source.port, packet.destination.port))


def isLarge(packet: Packet) -> bool:
    """
    More than a tunnel of 1000 bytes lets through.
    """
    return packet.protocol is Protocol.UDP and len(packet.payload) > 1000


class RelayTestCase(CauseTestCase):
    """
    The service offers a relay.
    """

    def settle(
        self,
        transports: Any = AUTO,
        *,
        topology: str = HOPELESS,
        inject: Any = None,
        seconds: float = 60.0,
        **more: Any,
    ) -> Network:
        """
        Let alice ask for bob, with something in the way.
        """
        network = self.stage(topology, RELAY)
        self.listen()
        if inject is not None:
            inject(network)
        self.ping(transports, **more)
        network.internet.advance(seconds)
        return network


class CarriedTests(RelayTestCase):
    """
    The relay carries the connection.
    """

    def test_why(self) -> None:
        """
        It is said that the relay carries it, and which NATs are the reason; from one trace, too.
        """
        self.settle(stay=30.0)
        words = ("through a relay", "alice and bob", "another public port for each destination")
        self.assertFromAnySide(Cause.CONNECTED_BY_RELAY, words)
        found = self.assertCause(Cause.CONNECTED_BY_RELAY, "alice", words=words)
        self.assertIn("turn:5.1.0.1:3480", " ".join(each.text for each in found.evidence))
        self.assertCause(Cause.CONNECTED_BY_RELAY, "bob", words=("through a relay",))

    def test_short(self) -> None:
        """
        Where the session was over too soon to tell why, that is said.
        """

        def inject(network: Network) -> None:
            Middlebox.install(network.internet.fabric, NATS, lambda each: not isOfService(each))

        self.settle(topology=CONES, inject=inject)
        self.assertFromAnySide(Cause.CONNECTED_BY_RELAY, ("too little time",))

    def test_only(self) -> None:
        """
        A relay that was all that was wanted needs no reason.
        """
        self.settle(topology=CONES, relay=RelayPolicy.ONLY)
        self.assertFromAnySide(Cause.CONNECTED, ("Nothing but a relay",))

    def test_move(self) -> None:
        """
        A connection that moves off the relay is a direct one.
        """
        self.settle(topology=CONES, stay=10.0)
        self.assertFromAnySide(Cause.CONNECTED, ("through a relay", "moved off the relay"))
        self.assertCause(Cause.CONNECTED, "bob", words=("moved off the relay",))

    def test_blockedUDP(self) -> None:
        """
        Where UDP is blocked and only TCP reaches the relay, the way to it is shown.
        """

        def inject(network: Network) -> None:
            for name in NATS:
                network.internet.fabric.nat(name).block(Protocol.UDP)

        self.settle(UDP, topology=CONES, inject=inject, stay=30.0)
        found = self.assertCause(Cause.CONNECTED_BY_RELAY, "alice", "bob", words=("UDP does not",))
        self.assertIn("transport=tcp", " ".join(each.text for each in found.evidence))


class FailedTests(RelayTestCase):
    """
    It does not.
    """

    patience = 20.0

    def assertRelay(self, cause: Cause, words: str) -> None:
        """
        The cause is the relay, and the sentences tell of the NATs, too.
        """
        self.assertFromAnySide(cause, (words, "another public port for each destination"))
        self.assertCause(cause, "alice", words=(words,))

    def test_unreachable(self) -> None:
        """
        A relay that does not answer, by UDP, TCP, or TLS, is named.
        """

        def inject(network: Network) -> None:
            Middlebox.install(network.internet.fabric, NATS, isRelaying)

        self.settle(inject=inject)
        self.assertRelay(Cause.RELAY_UNREACHABLE, "did not answer")

    def test_unreachableThere(self) -> None:
        """
        A relay that only the other side cannot reach is named, too.
        """

        def inject(network: Network) -> None:
            Middlebox.install(network.internet.fabric, NATS[1:], isRelaying)

        self.settle(inject=inject)
        self.assertFromAnySide(Cause.RELAY_UNREACHABLE, ("bob asked for the relay",))
        self.assertCause(Cause.RELAY_UNREACHABLE, "alice", words=("bob got no address",))

    def test_refused(self) -> None:
        """
        A relay with another secret than the service refuses its credentials.
        """
        grantFor: Any = RelayService.grantFor

        def forged(*arguments: Any) -> Any:
            return attrs.evolve(grantFor(*arguments), password="of another secret")

        self.patch(RelayService, "grantFor", forged)
        self.settle()
        self.assertFromAnySide(Cause.RELAY_REFUSED, ("refused the credential",))

    def test_full(self) -> None:
        """
        A quota that is reached is named.
        """
        made = RelayService.__init__

        def small(*arguments: Any, **options: Any) -> None:
            made(*arguments, limits=RelayLimits(allocations=1), **options)

        self.patch(RelayService, "__init__", small)
        self.settle()
        self.assertFromAnySide(Cause.RELAY_FULL, ("no room",))


class AbsentTests(CauseTestCase):
    """
    There is no relay, or nobody wants it.
    """

    def explained(self, relay: RelayPolicy, *, isOffered: bool) -> Explanation:
        self.stage(HOPELESS, RELAY if isOffered else None)
        self.session(UDP, relay=relay)
        return self.assertCause(Cause.BOTH_MAP_BY_DESTINATION, "alice", "bob")

    def test_notOffered(self) -> None:
        """
        Where the service offers no relay, it is said that one would help, and whose it is to offer.
        """
        found = self.explained(RelayPolicy.AUTO, isOffered=False)
        self.assertIn("offers no relay", " ".join(found.sentences))
        self.assertTrue(found.remedy.startswith("Let the service offer a relay"))

    def test_never(self) -> None:
        """
        Where the relay was not wanted, that is what to change.
        """
        found = self.explained(RelayPolicy.NEVER, isOffered=True)
        self.assertIn("--relay never", " ".join(found.sentences))
        self.assertTrue(found.remedy.startswith("Allow the relay"))

    def test_neverAndBlocked(self) -> None:
        """
        With UDP blocked as well, that is the cause, and the relay still what to allow.
        """
        network = self.stage(HOPELESS, RELAY)
        network.internet.fabric.nat("nat-bob").block(Protocol.UDP)
        self.session(UDP, relay=RelayPolicy.NEVER)
        found = self.assertCause(Cause.UDP_BLOCKED, "alice", "bob", words=("at bob",))
        self.assertIn("Allow the relay", found.remedy)

    def test_only(self) -> None:
        """
        Where nothing but a relay is wanted and there is none, that is the cause.
        """
        self.stage(CONES)
        self.session(AUTO, relay=RelayPolicy.ONLY)
        self.assertCause(Cause.NO_RELAY, "alice", words=("alice wanted nothing but a relay",))


class HandshakeTests(CauseTestCase):
    """
    Paths that carry small packets only.
    """

    patience = 10.0

    def test_largePackets(self) -> None:
        """
        A path whose MTU is too small for the handshake is named, from either side.
        """
        network = self.stage(CONES)
        self.listen()
        Middlebox.install(
            network.internet.fabric, NATS, lambda each: isLarge(each) and not isOfService(each)
        )
        self.connect(UDP)
        network.internet.advance(60.0)
        self.assertFromAnySide(Cause.LARGE_PACKETS_LOST, ("1200 bytes",))
        self.assertCause(Cause.LARGE_PACKETS_LOST, "alice")
        self.assertCause(Cause.LARGE_PACKETS_LOST, "bob")
