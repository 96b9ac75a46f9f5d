"""
A session's other side that has the credentials, and says what it likes on the punching port.
"""

from __future__ import annotations

import contextlib
import os
import random
from typing import Any

from OpenSSL import SSL
from twisted.internet.protocol import ClientFactory

from holepunch.address import Transport
from holepunch.identity import Identity
from holepunch.peer.events import Connected, Failed, Registered
from holepunch.punch import CandidateType
from holepunch.punch.checks import Authenticator
from holepunch.punch.priority import gatheredCandidate
from holepunch.punch.role import Role
from holepunch.stun import frameRfc4571
from holepunch.tls import IdentityTLS
from tests.peer.network import EchoFactory, Network, Recorder
from tests.peer.test_hostileservice import Puppet, introductionTo
from tests.peer.test_scenarios import ScenarioTestCase


class PunchingPortTests(ScenarioTestCase):
    """
    Bob listens in the public; mallory has the session, and no peer of her own.
    """

    def start(self) -> Network:
        self.network = network = self.build("none/none")

        class Lines(Puppet):
            registeredLines = {}

        network.service.factory.protocol = Lines
        self.bob = network.peer("bob", "bob")
        self.echo = EchoFactory()
        network.listen(self.bob, self.echo)
        self.line = Lines.registeredLines["bob"]
        (registered,) = (e for e in network.events["bob"] if isinstance(e, Registered))
        self.target = registered.observed
        self.expected = Identity.generate()
        self.count = 0
        return network

    def attack(self, said: bytes, isNominated: bool = True) -> Recorder:
        """
        Get a session, and say C{said} behind its check.
        """
        self.count += 1
        introduction = introductionTo(self.expected.peerID, self.count, transports=(Transport.TCP,))
        self.network.waitFor(self.line.offer(introduction))
        own = gatheredCandidate(CandidateType.HOST, Transport.TCP, self.target)
        mallory = Authenticator(introduction.remoteCredentials, Role(True, 1), os.urandom)
        mallory.setRemote(introduction.local)
        check = mallory.build(own, isNominated).data
        recorder = Recorder()

        class Connecting(ClientFactory):
            buildProtocol = lambda factory, addr: recorder  # noqa: E731

        reactor: Any = self.network.internet.host("alice").reactor
        reactor.connectTCP(self.target.host, self.target.port, Connecting())
        self.network.internet.advance(0.2)
        recorder.transport.write(frameRfc4571(check) + said)  # type: ignore[union-attr]
        self.network.internet.advance(0.2)
        return recorder

    def clientHello(self, identity: Identity) -> bytes:
        connection = IdentityTLS(identity, self.bob.peerID, [b"holepunch"]).newConnection(True)
        with contextlib.suppress(SSL.WantReadError):
            connection.do_handshake()
        return bytes(connection.bio_read(65536))

    def test_rubbish(self) -> None:
        """
        Whatever follows the nominating check, and wherever it breaks off, the session ends alone.
        """
        network = self.start()
        hello = self.clientHello(self.expected)
        source = random.Random(1)
        rubbish = [hello[:length] for length in range(0, len(hello), 97)]
        rubbish += [hello * 50, b"\x16\x03\x01\xff\xff" + bytes(70_000), b"GET / HTTP/1.1\r\n\r\n"]
        rubbish += [b"\x15\x03\x03\x00\x02\x01\x00", b"\x17\x03\x03\x00\x00" * 5000]
        for _ in range(30):
            mutated = bytearray(hello)
            for _ in range(5):
                mutated[source.randrange(len(mutated))] = source.randrange(256)
            rubbish.append(bytes(mutated))
        for said in rubbish:
            for isNominated in (True, False):
                recorder = self.attack(said, isNominated)
                transport: Any = recorder.transport
                if source.random() < 0.5:
                    transport.abortConnection()
                else:
                    transport.loseConnection()
                network.internet.advance(0.2)
        network.internet.advance(60.0)
        kinds = [type(event) for event in network.events["bob"]]
        self.assertNotIn(Connected, kinds)
        self.assertEqual(kinds.count(Failed), self.count)
        self.assertEqual(self.echo.built, [])

    def test_silence(self) -> None:
        """
        A connection on which TLS is begun and never ended is closed, and so is its session.
        """
        network = self.start()
        for isNominated in (True, False):
            recorder = self.attack(b"", isNominated)
            network.internet.advance(60.0)
            self.assertTrue(recorder.lost.called)
        kinds = [type(event) for event in network.events["bob"]]
        self.assertEqual(kinds.count(Failed), 2)
