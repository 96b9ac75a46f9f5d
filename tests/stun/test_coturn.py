"""
Our STUN and coturn's, over real sockets on loopback: our client asks C{turnserver}, and coturn's
clients ask our answering core.

Needs coturn: without it these tests fail, because what they promise is unproven then.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import (
    DatagramProtocol,
)
from twisted.internet.task import deferLater

from holepunch.address import TransportAddress
from holepunch.stun import (
    Attribute,
    AttributeType,
    BindingAnswerer,
    ChangeRequest,
    LongTermClient,
    MessageClass,
    Method,
    ResponseFate,
    decode,
)
from tests.stun.coturn import HOSTS, CoturnTestCase, Program, TCPClient, UDPClient, grid

T = AttributeType
REALM = "example.org"


# --- the assist listeners that coturn's clients ask -----------------------------------------------


class _AnsweringProtocol(DatagramProtocol):
    """
    One UDP listener of L{startAssist}.
    """

    def __init__(self, answerer: BindingAnswerer, local: TransportAddress, others: Any) -> None:
        self._answerer = answerer
        self._local = local
        self._others = others

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Let the core answer, and send from where it says.
        """
        answer = self._answerer.answer(datagram, TransportAddress(*addr[:2]), self._local)
        if answer is not None:
            destination = (answer.destination.host, answer.destination.port)
            self._others[answer.origin].transport.write(answer.data, destination)


def startAssist(reactor: Any, ports: tuple[int, int]) -> Callable[[], Deferred[Any]]:
    """
    Start the assist listeners over UDP. To test others, replace this function.

    @return: What stops them.
    """
    addresses = grid(ports)
    answerer = BindingAnswerer(addresses)
    protocols: dict[TransportAddress, _AnsweringProtocol] = {}
    listening: list[IListeningPort] = []
    for local in addresses:
        protocols[local] = _AnsweringProtocol(answerer, local, protocols)
        listening.append(reactor.listenUDP(local.port, protocols[local], local.host))
    return lambda: gatherResults([maybeDeferred(port.stopListening) for port in listening])


# --- our client, their server ---------------------------------------------------------------------


class TurnserverTests(CoturnTestCase):
    """
    Our client and coturn's server.
    """

    async def prepare(self) -> None:
        """
        Start a C{turnserver} that leaves nothing behind, and wait until it answers.
        """
        await super().prepare()
        self.server = TransportAddress(HOSTS[0], self.ports[0])
        self.other = TransportAddress(HOSTS[1], self.ports[1])
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        config = os.path.join(directory.name, "turnserver.conf")
        with open(config, "w") as file:
            file.write(
                "\n".join(
                    [
                        *(f"listening-ip={host}" for host in HOSTS),
                        f"relay-ip={HOSTS[0]}",
                        f"listening-port={self.ports[0]}",
                        f"alt-listening-port={self.ports[1]}",
                        f"realm={REALM}",
                        "lt-cred-mech",
                        "user=alice:rabbit hole",
                        "fingerprint",
                        "no-tls",
                        "no-dtls",
                        "no-cli",
                        "log-file=stdout",
                        f"userdb={os.path.join(directory.name, 'turndb')}",
                        f"pidfile={os.path.join(directory.name, 'pid')}",
                    ]
                )
            )
        program = Program.start(self.reactor, "turnserver", "-c", config)
        self.addCleanup(program.stop)
        self.client = UDPClient(self.reactor)
        port = self.reactor.listenUDP(0, self.client, HOSTS[0])
        self.addCleanup(port.stopListening)
        self.local = TransportAddress(HOSTS[0], port.getHost().port)
        await self.client.ask(self.request().encode(), self.server)

    async def test_binding(self) -> None:
        """
        The server tells our address, its own, and the other one of its own.
        """
        for fingerprint in (False, True):
            data = self.request().encode(fingerprint=fingerprint)
            heard = await self.client.ask(data, self.server)
            response = heard.message
            self.assertIs(response.messageClass, MessageClass.SUCCESS)
            self.assertEqual(response.get(T.XOR_MAPPED_ADDRESS), self.local)
            self.assertEqual(response.get(T.RESPONSE_ORIGIN), self.server)
            self.assertEqual(response.get(T.OTHER_ADDRESS), self.other)
            self.assertEqual(heard.source, self.server)
            self.assertIn("Coturn", response.get(T.SOFTWARE))

    async def test_changeRequest(self) -> None:
        """
        The server understands our CHANGE-REQUEST, and our core would have answered from the same
        listeners.
        """
        ours = BindingAnswerer(
            [TransportAddress(host, port) for host in HOSTS for port in self.ports]
        )
        for change in (2, 4, 6):
            data = self.request(
                Method.BINDING, Attribute(T.CHANGE_REQUEST, ChangeRequest(change))
            ).encode()
            heard = await self.client.ask(data, self.server)
            answer = ours.answer(data, self.local, self.server)
            assert answer is not None
            self.assertEqual(heard.source, answer.origin)

    async def test_responsePort(self) -> None:
        """
        The server understands our RESPONSE-PORT.
        """
        listener = UDPClient(self.reactor)
        port = self.reactor.listenUDP(0, listener, HOSTS[0])
        self.addCleanup(port.stopListening)
        data = self.request(
            Method.BINDING, Attribute(T.RESPONSE_PORT, port.getHost().port)
        ).encode()
        heard = listener.expect(data)
        self.client.transport.write(data, (self.server.host, self.server.port))
        response = (await heard).message
        self.assertEqual(response.get(T.XOR_MAPPED_ADDRESS), self.local)

    async def test_unknownAttribute(self) -> None:
        """
        The server and our core list the same unknown attributes in error 420.
        """
        data = self.request(Method.BINDING, Attribute(0x7FFF, b"?")).encode(fingerprint=False)
        response = (await self.client.ask(data, self.server)).message
        answer = BindingAnswerer([self.server]).answer(data, self.local, self.server)
        assert response.error is not None and answer is not None
        self.assertEqual((response.error.code, answer.errorCode), (420, 420))
        self.assertEqual(
            response.get(T.UNKNOWN_ATTRIBUTES), decode(answer.data).get(T.UNKNOWN_ATTRIBUTES)
        )

    async def test_tcp(self) -> None:
        """
        Over TCP the server tells our address, in a stream of messages.
        """
        client = TCPClient()
        endpoint = TCP4ClientEndpoint(
            self.reactor, self.server.host, self.server.port, bindAddress=(HOSTS[0], 0)
        )
        for _ in range(50):
            # UDP answers a moment before TCP listens.
            try:
                await connectProtocol(endpoint, client)
                break
            except ConnectError:
                await deferLater(self.reactor, 0.1)
        client.transport.write(self.request().encode())
        response = await client.received
        here = client.transport.getHost()
        self.assertEqual(response.get(T.XOR_MAPPED_ADDRESS), TransportAddress(here.host, here.port))
        client.transport.loseConnection()
        await client.lost

    async def test_longTermCredential(self) -> None:
        """
        The server accepts our long-term credential for an allocation, and ends it again.
        """
        credential = LongTermClient("alice", "rabbit hole")
        udp = Attribute(T.REQUESTED_TRANSPORT, 17)
        fates = []
        for _ in range(2):
            data = credential.encode(self.request(Method.ALLOCATE, udp))
            response = (await self.client.ask(data, self.server)).message
            fates.append(credential.receiveResponse(response))
        self.assertEqual(fates, [ResponseFate.RETRY, ResponseFate.ACCEPTED])
        self.assertIs(response.messageClass, MessageClass.SUCCESS)
        self.assertEqual(response.get(T.XOR_RELAYED_ADDRESS).host, HOSTS[0])
        self.assertEqual(response.get(T.XOR_MAPPED_ADDRESS), self.local)
        self.assertGreater(response.get(T.LIFETIME), 0)
        data = credential.encode(self.request(Method.REFRESH, Attribute(T.LIFETIME, 0)))
        response = (await self.client.ask(data, self.server)).message
        self.assertIs(credential.receiveResponse(response), ResponseFate.ACCEPTED)
        self.assertEqual(response.get(T.LIFETIME), 0)

    async def test_wrongPassword(self) -> None:
        """
        With a wrong password we give up after the second refusal.
        """
        credential = LongTermClient("alice", "white queen")
        udp = Attribute(T.REQUESTED_TRANSPORT, 17)
        fates = []
        for _ in range(2):
            data = credential.encode(self.request(Method.ALLOCATE, udp))
            response = (await self.client.ask(data, self.server)).message
            fates.append(credential.receiveResponse(response))
        self.assertEqual(fates, [ResponseFate.RETRY, ResponseFate.REFUSED])


# --- their clients, our server --------------------------------------------------------------------


class TurnutilsTests(CoturnTestCase):
    """
    Coturn's clients and our answering core.
    """

    async def prepare(self) -> None:
        """
        Start our listeners.
        """
        await super().prepare()
        self.addCleanup(startAssist(self.reactor, self.ports))

    def runClient(self, name: str, *arguments: str) -> Deferred[str]:
        """
        Run one of coturn's clients towards our listeners; fires with what it prints.
        """
        program = Program.start(self.reactor, name, *arguments, "-p", str(self.ports[0]), HOSTS[0])
        self.addCleanup(program.stop)
        return program.ended

    def check(self, output: str, responses: int) -> None:
        """
        The client understood that many answers, and each told it an address of this machine.
        """
        self.assertEqual(len(re.findall(r"RFC 5780 response \d", output)), responses, output)
        mapped = re.findall(r"UDP reflexive addr: (\S+):\d+", output)
        self.assertEqual(len(mapped), responses, output)
        self.assertLessEqual(set(mapped), {"127.0.0.1", "127.0.0.3"})
        self.assertIn(f"Response origin: : {HOSTS[0]}:{self.ports[0]}", output)
        self.assertIn(f"Other addr: : {HOSTS[1]}:{self.ports[1]}", output)
        for trouble in ("timeout", "error", "wrong"):
            self.assertNotIn(trouble, output.lower())

    async def test_stunclient(self) -> None:
        """
        C{turnutils_stunclient} gets its three answers: plain, from the other listener to another
        port, and padded.
        """
        output = await self.runClient("turnutils_stunclient")
        self.check(output, 3)
        self.assertIn(f"Response origin: : {HOSTS[1]}:{self.ports[1]}", output)

    async def test_mappingAndFiltering(self) -> None:
        """
        C{turnutils_natdiscovery} finds out how loopback maps and filters.
        """
        output = await self.runClient("turnutils_natdiscovery", "-m", "-f")
        self.check(output, 4)
        self.assertIn("Endpoint Independent Mapping", output)
        self.assertIn("Endpoint Independent Filtering", output)

    async def test_padding(self) -> None:
        """
        The same with requests of more than 1,500 bytes.
        """
        output = await self.runClient("turnutils_natdiscovery", "-m", "-f", "-P")
        self.check(output, 4)
        self.assertIn("Endpoint Independent Mapping", output)
        self.assertIn("Endpoint Independent Filtering", output)

    async def test_hairpinning(self) -> None:
        """
        C{turnutils_natdiscovery} reaches itself at the mapped address that we told it.
        """
        output = await self.runClient("turnutils_natdiscovery", "-H")
        self.check(output, 1)
        self.assertIn("successful hairpinning", output)

    async def test_lifetime(self) -> None:
        """
        C{turnutils_natdiscovery} measures lifetimes by having the answer sent to another port.
        """
        output = await self.runClient("turnutils_natdiscovery", "-t", "-T", "1")
        self.check(output, 2)

    async def test_collision(self) -> None:
        """
        C{turnutils_natdiscovery} sees that two hosts with one port are kept apart.
        """
        output = await self.runClient(
            "turnutils_natdiscovery", "-c", "-L", "127.0.0.1", "-A", "127.0.0.3"
        )
        self.check(output, 2)
