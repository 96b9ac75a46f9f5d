"""
Tests for UDP in the simulated internet.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.trial.unittest import SynchronousTestCase

from holepunch.lab import LinkSpec, SimulatedInternet, Topology
from holepunch.nat import NAMED_BEHAVIOURS, Filtering, Mapping
from tests.lab.programs import Datagrams, Trace

_RENDEZVOUS = ("5.1.0.1", 3478)


class UDPTestCase(SynchronousTestCase):
    """
    What the tests have in common.
    """

    def build(self, topology: str | Topology, **options: Any) -> None:
        """
        Begin with another network, and with a program on the rendezvous host.
        """
        if isinstance(topology, str):
            topology = Topology.parse(topology)
        self.internet = SimulatedInternet(topology, **options)
        self.server = self.listen("rendezvous", _RENDEZVOUS[1])

    def listen(self, host: str, port: int = 0, answer: bytes | None = None, **options: Any) -> Any:
        """
        Open a UDP port on a host.
        """
        protocol = Datagrams(answer)
        self.internet.host(host).reactor.listenUDP(port, protocol, **options)
        return protocol

    def send(self, protocol: Any, address: tuple[str, int], data: bytes = b"hello") -> None:
        """
        Send a datagram, and let it arrive.
        """
        protocol.transport.write(data, address)
        self.internet.advance(1.0)

    def mapped(self, protocol: Any, server: tuple[str, int] = _RENDEZVOUS) -> tuple[str, int]:
        """
        Where a program appears to the rendezvous host.
        """
        self.send(protocol, server)
        return self.server.received[-1][1]  # type: ignore[no-any-return]


class NATTests(UDPTestCase):
    """
    Tests for datagrams through NATs.
    """

    def test_everyKind(self) -> None:
        """
        Through every kind of NAT come answers, and strangers' datagrams as its filtering has it.
        """
        for name, behaviour in NAMED_BEHAVIOURS.items():
            self.build(f"{name}/none")
            alice, bob = self.listen("alice", 5000), self.listen("bob", 5000)
            mapped = self.mapped(alice)
            self.send(self.server, mapped, b"answer")
            self.send(bob, mapped, b"stranger")
            received = [data for data, _ in alice.received]
            isOpen = behaviour.filtering is Filtering.ENDPOINT_INDEPENDENT
            self.assertEqual(received, [b"answer", b"stranger"] if isOpen else [b"answer"], name)

    def test_mapping(self) -> None:
        """
        The mapped port depends on the destination as the NAT's mapping has it.
        """
        for name in ("full-cone", "symmetric", "symmetric-by-address", "symmetric-random"):
            self.build(f"{name}/none")
            second = self.listen("rendezvous", 3479)
            alice = self.listen("alice", 5000)
            first = self.mapped(alice)
            other = self.mapped(alice, ("5.2.0.1", 3478))
            self.send(alice, ("5.1.0.1", 3479))
            port = second.received[-1][1]
            mapping = NAMED_BEHAVIOURS[name].mapping
            self.assertEqual(first == other, mapping is Mapping.ENDPOINT_INDEPENDENT, name)
            self.assertEqual(first == port, mapping is not Mapping.ADDRESS_AND_PORT_DEPENDENT, name)

    def test_punching(self) -> None:
        """
        Two programs behind port-restricted NATs reach each other once both have sent.
        """
        self.build("port-restricted/port-restricted")
        alice, bob = self.listen("alice", 5000), self.listen("bob", 5000)
        forAlice, forBob = self.mapped(alice), self.mapped(bob)
        self.send(alice, forBob, b"lost")
        self.assertEqual(bob.received, [])
        self.send(bob, forAlice, b"one")
        self.send(alice, forBob, b"two")
        self.assertEqual(alice.received, [(b"one", forBob)])
        self.assertEqual(bob.received, [(b"two", forAlice)])

    def test_expiry(self) -> None:
        """
        A mapping that nobody uses is forgotten.
        """
        self.build("port-restricted-impatient/none")
        alice = self.listen("alice")
        mapped = self.mapped(alice)
        self.internet.advance(25.0)
        self.send(self.server, mapped)
        self.assertEqual(alice.received, [])

    def test_rebind(self) -> None:
        """
        After a NAT got another address, the program appears there.
        """
        self.build("full-cone/none")
        alice = self.listen("alice")
        before = self.mapped(alice)
        self.internet.fabric.rebindNAT("nat-alice", ["31.1.0.200"])
        self.assertEqual(before[0], "31.1.0.1")
        self.assertEqual(self.mapped(alice)[0], "31.1.0.200")

    def test_decoy(self) -> None:
        """
        At the peer's private address, the decoy on the own LAN is reached.
        """
        cone = NAMED_BEHAVIOURS["full-cone"]
        self.build(Topology.sameSubnet(cone, cone))
        alice = self.listen("alice")
        bob, decoy = self.listen("bob", 5000), self.listen("decoy-bob", 5000)
        self.send(alice, ("192.168.1.20", 5000))
        self.assertEqual(len(decoy.received), 1)
        self.assertEqual(bob.received, [])

    def test_hairpin(self) -> None:
        """
        Two homes behind one carrier meet at its hairpin, and the sender appears with its mapping.
        """
        self.build("port-restricted/port-restricted/full-cone")
        alice, bob = self.listen("alice"), self.listen("bob")
        forAlice, forBob = self.mapped(alice), self.mapped(bob)
        self.assertEqual(forAlice[0], forBob[0])
        self.send(alice, forBob)
        self.send(bob, forAlice)
        self.assertEqual(alice.received, [(b"hello", forBob)])


class PortTests(UDPTestCase):
    """
    Tests for UDP ports.
    """

    def setUp(self) -> None:
        self.build("none/none")

    def test_answer(self) -> None:
        """
        A program hears who sent, and its answer comes from the address that was sent to.
        """
        self.listen("bob", 5000, b"answer")
        alice = self.listen("alice")
        self.send(alice, ("31.2.0.10", 5000))
        self.assertEqual(alice.received, [(b"answer", ("31.2.0.10", 5000))])

    def test_inUse(self) -> None:
        """
        A port has one user; on another address it is another port.
        """
        self.assertRaises(CannotListenError, self.listen, "rendezvous", 3478)
        self.listen("rendezvous", 3479, interface="5.1.0.1")
        second = self.listen("rendezvous", 3479, interface="5.2.0.1")
        alice = self.listen("alice")
        self.send(alice, ("5.2.0.1", 3479))
        self.assertEqual(len(second.received), 1)
        self.assertRaises(CannotListenError, self.listen, "alice", interface="9.9.9.9")

    def test_stop(self) -> None:
        """
        A port that was closed can be opened again, and its protocol hears nothing more.
        """
        alice = self.listen("alice")
        stopped: Any = self.server.transport.stopListening()
        self.internet.waitFor(stopped)
        again = self.listen("rendezvous", 3478)
        self.send(alice, _RENDEZVOUS)
        self.assertEqual((len(self.server.received), len(again.received)), (0, 1))

    def test_addresses(self) -> None:
        """
        The transport knows its port; 0 became a free one.
        """
        alice = self.listen("alice", interface="31.1.0.10")
        host = alice.transport.getHost()
        self.assertEqual((host.type, host.host), ("UDP", "31.1.0.10"))
        self.assertEqual(self.mapped(alice), ("31.1.0.10", host.port))

    def test_refused(self) -> None:
        """
        Only a connected program hears that nobody is at the port it sends to.
        """
        connected, other = self.listen("alice"), self.listen("alice")
        connected.transport.connect("31.2.0.10", 9)
        for protocol in (connected, other):
            self.send(protocol, ("31.2.0.10", 9))
        self.assertEqual((connected.refusals, other.refusals), (1, 0))

    def test_connected(self) -> None:
        """
        A connected program hears nobody else.
        """
        alice, bob = self.listen("alice", 5000), self.listen("bob")
        alice.transport.connect(*_RENDEZVOUS)
        self.send(bob, ("31.1.0.10", 5000), b"stranger")
        self.send(self.server, ("31.1.0.10", 5000), b"friend")
        self.assertEqual([data for data, _ in alice.received], [b"friend"])

    def test_tooLong(self) -> None:
        """
        A datagram has at most 65,507 bytes.
        """
        alice = self.listen("alice")
        self.assertRaises(MessageLengthError, self.send, alice, _RENDEZVOUS, b"x" * 65508)

    def test_noRoute(self) -> None:
        """
        Without an address of the family, nothing can be sent.
        """
        alice = self.listen("alice", interface="::")
        self.assertRaises(OSError, self.send, alice, ("2001:db8::1", 9))

    def test_flood(self) -> None:
        """
        More datagrams at one moment than fit into the buffer are lost.
        """
        alice = self.listen("alice")
        for _ in range(500):
            alice.transport.write(b"x" * 1000, _RENDEZVOUS)
        self.internet.advance(1.0)
        self.assertTrue(200 < len(self.server.received) < 500)

    def test_loopback(self) -> None:
        """
        Programs of one host reach each other on the loopback interface.
        """
        trace = Trace(self.internet.fabric)
        one, other = self.listen("alice"), self.listen("alice", 5000)
        self.send(one, ("127.0.0.1", 5000))
        self.assertEqual(other.received[0][1][0], "127.0.0.1")
        self.assertEqual(trace.lines, [])

    def test_noLatency(self) -> None:
        """
        Over links without latency, no program is called while it sends.
        """
        self.build(Topology.parse("none/none", LinkSpec(latency=0.0)))
        alice, bob = self.listen("alice", 5000, b"x"), self.listen("bob", 5000)
        bob.transport.write(b"hello", ("31.1.0.10", 5000))
        self.assertEqual(bob.received, [])
        self.internet.advance(0.0)
        self.assertEqual(len(alice.received), 1)
        self.assertEqual(len(bob.received), 1)
