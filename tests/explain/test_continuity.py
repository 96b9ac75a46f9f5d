"""
Connections that lose their path and go on, explained.
"""

from __future__ import annotations

from typing import Any

from holepunch.explain import Cause
from holepunch.nat.packet import Packet, Protocol
from tests.explain.middlebox import Middlebox, isOfService
from tests.explain.stage import AUTO, CONES, UDP, CauseTestCase
from tests.peer.network import Network

NATS = ("nat-alice", "nat-bob")


class ContinuityTests(CauseTestCase):
    """
    A stream over UDP is up, and something happens.
    """

    def settle(
        self,
        relay: Any = None,
        transports: Any = UDP,
        stay: float = 60.0,
        topology: str = CONES,
    ) -> Network:
        """
        Let the stream be up.
        """
        network = self.stage(topology, relay)
        self.listen()
        self.connect(transports, stay=stay)
        network.internet.advance(15.0)
        return network

    def nat(self, name: str) -> Any:
        return self.network.internet.fabric.nat(name)

    def test_undisturbed(self) -> None:
        """
        A stream to which nothing happens is a connection as any other.
        """
        self.settle(stay=5.0)
        self.assertFromAnySide(Cause.CONNECTED, ("directly by UDP",))
        self.assertCause(Cause.CONNECTED, "bob")

    def test_reboot(self) -> None:
        """
        A NAT that forgets everything is named, on the side where it is, with a relay and without.
        """
        for side, topology in (
            ("alice", "symmetric-random/full-cone"),
            ("bob", "full-cone/symmetric-random"),
        ):
            for relay in (None, (3480,)):
                network = self.settle(relay, AUTO if relay else UDP, topology=topology)
                self.nat(f"nat-{side}").flush()
                network.internet.advance(60.0)
                words = (f"{side}'s NAT forgot", "the connection went on directly")
                self.assertFromAnySide(Cause.NAT_RESTARTED, words)
                other = "bob" if side == "alice" else "alice"
                self.assertCause(Cause.NAT_RESTARTED, other, words=(f"{side}'s NAT",))

    def test_newAddress(self) -> None:
        """
        A new public address is told.
        """
        network = self.settle()
        fabric = network.internet.fabric
        fabric.rebindNAT("nat-alice", fabric.freeHosts("nat-alice")[:1])
        network.internet.advance(60.0)
        self.assertFromAnySide(Cause.NAT_RESTARTED, ("alice's NAT got another public address",))

    def test_blocked(self) -> None:
        """
        A path that is closed by a firewall goes on elsewhere, and no NAT is blamed.
        """
        network = self.settle((3480,), AUTO)

        def isDirect(packet: Packet) -> bool:
            return not isOfService(packet)

        Middlebox.install(network.internet.fabric, NATS, isDirect)
        network.internet.advance(60.0)
        self.assertFromAnySide(Cause.PATH_RESTORED, ("fell silent", "through the relay"))
        self.assertCause(Cause.PATH_RESTORED, "bob", words=("through the relay",))

    def test_forGood(self) -> None:
        """
        A connection that finds no path any more is lost, and not closed.
        """
        network = self.settle(stay=200.0)
        for name in NATS:
            self.nat(name).block(Protocol.UDP)
        network.internet.advance(180.0)
        self.assertFromAnySide(Cause.PATH_LOST, ("Later the connection was lost",))
        self.assertCause(Cause.PATH_LOST, "bob")

    def test_network(self) -> None:
        """
        A machine that moves to another network is told from a NAT that restarts.
        """
        network = self.settle()
        network.internet.host("alice").move("192.168.1.77", behind="nat-alice")
        network.internet.advance(60.0)
        self.assertFromAnySide(Cause.NETWORK_CHANGED, ("alice's machine", "192.168.1.77"))
