"""
Tests for L{holepunch.peer.candidatesource}, and for sessions with other strategies than ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from holepunch.address import Transport, TransportAddress
from holepunch.errors import BadAddress
from holepunch.interfaces import ICandidateSource
from holepunch.nat import Forward, Packet, Side
from holepunch.peer import ForwardedPort, HostCandidates, PeerConfig, SessionOptions
from holepunch.peer.events import Connected
from holepunch.peer.localports import LocalPorts
from holepunch.punch import Candidate, CandidateType
from holepunch.punch.nomination import Choice, Contender, FirstValid, Pending
from holepunch.rendezvous.introduction import RelayPolicy
from tests.peer.network import EchoFactory, Network, RecorderFactory
from tests.peer.test_scenarios import ScenarioTestCase

DOCUMENT = Path(__file__).parents[2] / "docs" / "extending.md"
PUBLIC = "31.2.0.1:40000"


class SourceTests(SynchronousTestCase):
    """
    The sources by themselves.
    """

    def test_interface(self) -> None:
        """
        Both are sources.
        """
        for source in (HostCandidates(), ForwardedPort(PUBLIC)):
            self.assertTrue(verifyObject(ICandidateSource, source))

    def test_port(self) -> None:
        """
        A forwarded port leads to the same port here, if nothing else is said.
        """
        self.assertEqual(HostCandidates().localPort, 0)
        self.assertEqual(ForwardedPort(PUBLIC).localPort, 40000)
        self.assertEqual(ForwardedPort(TransportAddress("31.2.0.1", 1), 7).localPort, 7)
        self.assertRaises(BadAddress, ForwardedPort, "home")


@implementer(ICandidateSource)
class Nowhere:
    """
    A source that has nothing to say.
    """

    localPort = 0

    def candidates(self, ports: LocalPorts, transports: Any) -> Sequence[Candidate]:
        return ()


def forwardPort(device: Any, public: TransportAddress, inside: TransportAddress) -> None:
    """
    Set up a port forwarding in bob's router.
    """
    passed: list[Forward] = []
    takeEffects = device.takeEffects

    def translated(
        receive: Any, end: str, of: TransportAddress, to: TransportAddress, side: Side
    ) -> Any:
        def received(packet: Packet, now: float) -> None:
            change: dict[str, Any] = {end: to}
            if getattr(packet, end) == of:
                passed.append(Forward(side, attrs.evolve(packet, **change)))
            else:
                receive(packet, now)

        return received

    def allEffects() -> list[Any]:
        effects = [*takeEffects(), *passed]
        passed.clear()
        return effects

    outside, into = device.receiveOutside, device.receiveInside
    device.receiveOutside = translated(outside, "destination", public, inside, Side.INSIDE)
    device.receiveInside = translated(into, "source", inside, public, Side.OUTSIDE)
    device.takeEffects = allEffects


class SessionTests(ScenarioTestCase):
    """
    Sessions of peers with other sources and strategies.
    """

    def reach(
        self,
        network: Network,
        asked: SessionOptions,
        alice: dict[str, Any] | None = None,
        bob: dict[str, Any] | None = None,
    ) -> Connected:
        listening = network.peer("bob", "bob", **(bob or {}))
        asking = network.peer("alice", "alice", **(alice or {}))
        network.listen(listening, EchoFactory())
        network.waitFor(asking.whenRegistered())
        network.internet.advance(0.5)
        protocol: Any = network.waitFor(
            asking.connectEndpoint("bob", asked).connect(RecorderFactory())
        )
        protocol.transport.write(b"hello")
        network.waitFor(protocol.whenReceived(5))
        return self.connected(network)

    def test_forwarded(self) -> None:
        """
        A peer whose router forwards a port is reached there by one that no hole can be punched to.
        """
        for transport in Transport:
            network = self.build("symmetric-random/port-restricted")
            forwardPort(
                network.internet.fabric.nat("nat-bob"),
                TransportAddress.parse(PUBLIC),
                TransportAddress("192.168.2.10", 40000),
            )
            asked = SessionOptions(transports=frozenset({transport}), relay=RelayPolicy.NEVER)
            sources = [HostCandidates(), ForwardedPort(PUBLIC)]
            connected = self.reach(network, asked, bob={"candidateSources": sources})
            self.assertEqual(str(connected.remote), PUBLIC)
            self.assertEqual(connected.candidate, CandidateType.PORT_MAPPED.value)
            self.doCleanups()

    def test_taken(self) -> None:
        """
        Where the port is taken, or the source says nothing, the peer is reached as ever.
        """
        for sources in ([HostCandidates(), ForwardedPort(PUBLIC)], [Nowhere()], []):
            network = self.build("port-restricted/port-restricted")
            reactor: Any = network.internet.host("bob").reactor
            taken = [
                reactor.listenTCP(40000, Factory.forProtocol(Protocol)),
                reactor.listenUDP(40000, DatagramProtocol()),
            ]
            both = {"candidateSources": sources}
            self.reach(network, SessionOptions(relay=RelayPolicy.NEVER), both, both)
            for port in taken:
                port.stopListening()
            self.doCleanups()

    def test_nomination(self) -> None:
        """
        The requester's strategy decides which pair is taken.
        """
        chosen: list[object] = []

        @attrs.frozen
        class Watched(FirstValid):
            def choose(
                self, contenders: Sequence[Contender], pending: Sequence[Pending], now: float
            ) -> Choice:
                choice = super().choose(contenders, pending, now)
                if choice.contender is not None:
                    chosen.append(choice.contender.remoteHost)
                return choice

        network = self.build("port-restricted/port-restricted")
        config = PeerConfig(nomination=Watched())
        connected = self.reach(network, SessionOptions(relay=RelayPolicy.NEVER), {"config": config})
        self.assertIn(connected.remote.host, chosen)

    def test_documented(self) -> None:
        """
        The strategy that docs/extending.md shows works, and waits for half a second at most.
        """
        [code] = re.findall(r"```python\n(@attrs.*?)```", DOCUMENT.read_text("utf-8"), re.S)
        names: dict[str, Any] = {"attrs": attrs, "Choice": Choice}
        exec(code, names)
        network = self.build("port-restricted/port-restricted")
        config = PeerConfig(nomination=names["NearestFirst"]())
        connected = self.reach(
            network, SessionOptions(transports=frozenset(Transport)), {"config": config}
        )
        self.assertLess(connected.seconds, 1.0)
