"""
Tests for L{holepunch.rendezvous.callback}: clients over TCP that want to be called from elsewhere.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import makeBinding

from holepunch.rendezvous import Limits
from holepunch.stun import Attribute, AttributeType, ChangeRequest, Message, Method, decode
from tests.rendezvous.network import Network, NetworkTestCase, RawClient, address

PRIMARY = address("5.1.0.1:3478")
OTHER_PORT = ChangeRequest.PORT
OTHER_HOST = ChangeRequest.HOST | ChangeRequest.PORT


class Client(RawClient):
    """
    Asks on one connection, from a port that is listened on.

    @ivar callers: Who connects to that port.
    """

    def __init__(self) -> None:
        super().__init__()
        self.callers: list[str] = []

    def buildProtocol(self, caller: Any) -> Protocol:
        self.callers.append(caller.host)
        return Protocol()


class CallTests(NetworkTestCase):
    """
    What becomes of CHANGE-REQUEST over TCP.
    """

    def connect(self, topology: str, **limits: Any) -> Client:
        self.network = Network(f"{topology}/none", limits=Limits(**limits))
        return self.another()

    def another(self) -> Client:
        client = Client()
        reactor = self.network.reactor("alice")
        alice = self.network.internet.host("alice").addresses[0]
        factory: Any = Factory()
        factory.buildProtocol = client.buildProtocol
        port = reactor.listenTCP(
            makeBinding(alice, 0, reuseAddress=True, reusePort=True), factory, interface=alice
        )
        binding = makeBinding(alice, port.getHost().port, reuseAddress=True, reusePort=True)
        endpoint = TCP4ClientEndpoint(reactor, PRIMARY.host, PRIMARY.port, bindAddress=binding)
        self.waitFor(endpoint.connect(Factory.forProtocol(lambda: client)))
        return client

    def ask(self, client: Client, change: int) -> str | None:
        """
        Ask to be called.

        @return: The reason phrase; C{""} where the call came through, C{None} without an answer.
        """
        client.received = b""
        attribute = Attribute(AttributeType.CHANGE_REQUEST, ChangeRequest(change))
        request = Message.request(Method.BINDING, bytes(12), [attribute])
        client.transport.write(request.encode())  # type: ignore[union-attr]
        self.network.advance(3.0)
        if not client.received:
            return None
        error = decode(client.received).error
        return "" if error is None else f"{error.code} {error.reason}"

    def test_letIn(self) -> None:
        """
        Who lets strangers in is called from the other port, and from the other host.
        """
        client = self.connect("full-cone")
        for change, caller in ((OTHER_PORT, "5.1.0.1"), (OTHER_HOST, "5.2.0.1")):
            self.assertEqual(self.ask(client, change), "")
            self.assertEqual(client.callers.pop(), caller)
        self.assertEqual(client.lost, [])

    def test_keptOut(self) -> None:
        """
        Otherwise the answer says what became of the call.
        """
        for topology, reason in (
            ("port-restricted", "447 Timeout"),
            ("port-restricted-rst", "447 Refused"),
            ("port-restricted-icmp", "447 Unreachable"),
        ):
            client = self.connect(topology)
            self.assertEqual(self.ask(client, OTHER_HOST), reason)
            self.assertEqual(client.callers, [])

    def test_oneHalf(self) -> None:
        """
        From the other host and the same port, nobody can be called.
        """
        client = self.connect("full-cone")
        self.assertEqual(self.ask(client, ChangeRequest.HOST), "420 Unknown Attribute")

    def test_twice(self) -> None:
        """
        Two calls a connection are all.
        """
        client = self.connect("full-cone")
        answers = [self.ask(client, OTHER_PORT) for _ in range(3)]
        self.assertEqual(answers, ["", "", None])
        self.assertEqual(len(client.callers), 2)

    def test_tooOften(self) -> None:
        """
        An address that asks too often is called no more for a while, on any connection.
        """
        client = self.connect("full-cone", assistCallsPerSecond=0.01, assistCallBurst=1)
        self.assertEqual(self.ask(client, OTHER_PORT), "")
        other = self.another()
        self.assertEqual(self.ask(other, OTHER_PORT), "500 Asked Too Often")
        self.network.advance(100.0)
        self.assertEqual(self.ask(other, OTHER_PORT), "")

    def test_gone(self) -> None:
        """
        A client that leaves is called no further.
        """
        client = self.connect("port-restricted")
        attribute = Attribute(AttributeType.CHANGE_REQUEST, OTHER_HOST)
        request = Message.request(Method.BINDING, bytes(12), [attribute])
        client.transport.write(request.encode())  # type: ignore[union-attr]
        self.network.advance(0.5)
        client.transport.loseConnection()  # type: ignore[union-attr]
        self.network.advance(0.5)
        self.assertEqual(len(client.lost), 1)
        self.network.advance(3.0)
